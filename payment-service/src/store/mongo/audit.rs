//! What the audit reads of MongoDB. Reads only, and of a majority: what is seen cannot be rolled back.

use std::collections::BTreeMap;

use amends_sql::checks::Breach;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use mongodb::bson::{self, doc};
use serde::Deserialize;

use super::{MongoStore, PAYMENTS};
use crate::store::{
    StoreError,
    audit::{AuditPayment, AuditStore, Start},
    document::{Document, PAYMENT},
};

/// Deliveries compared at once.
const PAGE: i64 = 500;

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "_id")]
    id: String,
    kind: String,
    payment_id: String,
    order_id: String,
}

impl MongoStore {
    async fn audited(
        &self,
        filter: bson::Document,
        sort: bson::Document,
        limit: u32,
    ) -> Result<Vec<AuditPayment>, StoreError> {
        let payments = self.database.collection::<bson::Document>(PAYMENTS);
        let found: Vec<bson::Document> = self
            .bounded(async {
                let cursor = payments
                    .find(filter)
                    .sort(sort)
                    .limit(i64::from(limit))
                    .batch_size(limit)
                    .max_time(self.bound)
                    .await?;
                cursor.try_collect().await
            })
            .await?;
        Ok(found.into_iter().map(audited).collect())
    }

    /// The payments of these ids, by id.
    async fn of_ids(&self, ids: Vec<&str>) -> Result<BTreeMap<String, AuditPayment>, StoreError> {
        let filter = doc! { "payment_id": { "$in": ids }, "kind": PAYMENT };
        let found = self.audited(filter, doc! { "payment_id": 1 }, u32::try_from(PAGE).unwrap_or(u32::MAX)).await?;
        Ok(found.into_iter().map(|payment| (payment.id.clone(), payment)).collect())
    }
}

fn audited(document: bson::Document) -> AuditPayment {
    let text = |field: &str| document.get_str(field).unwrap_or_default().to_owned();
    let (key, id, order) = (text("_id"), text("payment_id"), text("order_id"));
    match bson::from_document::<Document>(document) {
        Ok(document) => document.into(),
        Err(error) => AuditPayment { id, order, ..AuditPayment::unreadable(key, error.to_string()) },
    }
}

#[async_trait]
impl AuditStore for MongoStore {
    async fn by_order(&self, from: Start<'_>, upto: Option<&str>, limit: u32) -> Result<Vec<AuditPayment>, StoreError> {
        let mut orders = match from {
            Start::AfterOrder(order) => doc! { "$gt": order },
            Start::Order(order) | Start::After { order, .. } => doc! { "$gte": order },
        };
        if let Some(upto) = upto {
            orders.insert("$lte", upto);
        }
        let mut filter = doc! { "kind": PAYMENT, "order_id": orders };
        if let Start::After { order, payment } = from {
            let rest = doc! { "order_id": order, "payment_id": { "$gt": payment } };
            filter.insert("$or", vec![doc! { "order_id": { "$gt": order } }, rest]);
        }
        self.audited(filter, doc! { "order_id": 1, "payment_id": 1 }, limit).await
    }

    async fn by_key(&self, after: &str, limit: u32) -> Result<Vec<AuditPayment>, StoreError> {
        self.audited(doc! { "_id": { "$gt": after } }, doc! { "_id": 1 }, limit).await
    }

    async fn of_key(&self, key: &str) -> Result<Option<AuditPayment>, StoreError> {
        Ok(self.audited(doc! { "_id": key }, doc! { "_id": 1 }, 1).await?.pop())
    }

    /// Keys of refunds are in the payments themselves here, and a unique index sees to them. Deliveries are read before their payments,
    /// which only go forward.
    async fn breaches(&self) -> Result<Vec<Breach>, StoreError> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let filter = doc! { "_id": { "$gt": after.as_str() } };
            let page: Vec<Told> = self
                .bounded(async {
                    let deliveries = self.deliveries.clone_with_type::<Told>();
                    let fields = doc! { "kind": 1, "payment_id": 1, "order_id": 1 };
                    let read = deliveries.find(filter).sort(doc! { "_id": 1 }).projection(fields);
                    read.limit(PAGE).max_time(self.bound).await?.try_collect().await
                })
                .await?;
            let Some(last) = page.last() else { return Ok(found) };
            after.clone_from(&last.id);
            let payments = self.of_ids(page.iter().map(|told| told.payment_id.as_str()).collect()).await?;
            found.extend(page.iter().filter_map(|told| unfounded(told, payments.get(&told.payment_id))));
        }
    }
}

fn unfounded(told: &Told, payment: Option<&AuditPayment>) -> Option<Breach> {
    let what = match payment {
        None => "does not exist".to_owned(),
        Some(payment) if payment.order != told.order_id => format!("is for order {}", payment.order),
        Some(payment) => {
            let stands = match told.kind.as_str() {
                "payment.captured" => payment.captured_minor > 0,
                "payment.refunded" => payment.refunded_minor > 0,
                _ => payment.status == "declined",
            };
            if stands {
                return None;
            }
            format!("is {}", payment.status)
        }
    };
    Some(Breach {
        code: "webhook_unfounded",
        about: "webhook",
        subject: told.id.clone(),
        order: told.order_id.clone(),
        detail: format!("{} is told of payment {}, which {what}", told.kind, told.payment_id),
    })
}
