//! Webhooks in MongoDB: the outbox is an array in the payment's own document, found by a partial index; each delivery is a document
//! of its own, and each change of one a single compare-and-set.
//!
//! Must not know: when a delivery is tried again.

use std::{collections::BTreeMap, future::IntoFuture as _};

use amends_primitives::{PaymentId, Timestamp};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mongodb::{
    bson::{self, doc},
    options::ReturnDocument,
};
use serde::Deserialize;

use super::{MongoStore, error::is_only_duplicate_keys};
use crate::store::{
    StoreError,
    document::webhook::{DeliveryDocument, OutgoingDocument, SettledFields, ids_of_event, ids_of_payment, payment_of},
};
use amends_webhooks::{
    delivery::{AttemptOutcome, Delivery, DeliveryState, delivery_id},
    event::Outgoing,
    store::{Backlog, DELIVERIES_PAGE_MAX, DeliveryQuery, NewDelivery, Redeliver, WebhookStore},
};

/// The collection of deliveries.
pub const WEBHOOK_DELIVERIES: &str = "webhook_deliveries";

/// Payments whose outbox is emptied at once.
const CLEARED_AT_ONCE: usize = 8;

/// What the relay reads of a payment.
#[derive(Debug, Clone, Deserialize)]
struct WithOutbox {
    payment_id: String,
    order_id: String,
    outbox: Vec<OutgoingDocument>,
}

#[derive(Debug, Clone, Deserialize)]
struct IdOnly {
    #[serde(rename = "_id")]
    id: String,
}

/// What a swap appends to the payment's outbox.
pub(super) fn append(event: &Outgoing) -> Result<bson::Document, StoreError> {
    let entry = bson::to_document(&OutgoingDocument::from(event)).map_err(|error| StoreError::Bug(Box::new(error)))?;
    Ok(doc! { "outbox": entry })
}

impl MongoStore {
    async fn ids(&self, filter: bson::Document, limit: u32) -> Result<Vec<String>, StoreError> {
        let found: Vec<IdOnly> = self
            .bounded(async {
                let cursor = self
                    .deliveries
                    .clone_with_type::<IdOnly>()
                    .find(filter)
                    .projection(doc! { "_id": 1 })
                    .limit(i64::from(limit))
                    .max_time(self.bound)
                    .await?;
                cursor.try_collect().await
            })
            .await?;
        Ok(found.into_iter().map(|found| found.id).collect())
    }
}

#[async_trait]
impl WebhookStore for MongoStore {
    type Error = StoreError;

    async fn outbox(&self, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        let found: Vec<WithOutbox> = self
            .bounded(async {
                let cursor = self
                    .payments
                    .clone_with_type::<WithOutbox>()
                    .find(doc! { "outbox.at": { "$exists": true } })
                    .projection(doc! { "_id": 0, "payment_id": 1, "order_id": 1, "outbox": 1 })
                    .sort(doc! { "outbox.at": 1 })
                    .limit(i64::from(limit))
                    .max_time(self.bound)
                    .await?;
                cursor.try_collect().await
            })
            .await?;
        let mut events = Vec::with_capacity(found.len());
        for WithOutbox { payment_id, order_id, outbox } in found {
            for event in outbox {
                events.push(event.read(&payment_id, &order_id)?);
            }
        }
        events.sort_by_key(|event| event.at);
        events.truncate(limit as usize);
        Ok(events)
    }

    async fn enqueue(&self, deliveries: &[NewDelivery<'_>]) -> Result<(), StoreError> {
        let documents: Vec<DeliveryDocument> = deliveries.iter().map(TryFrom::try_from).collect::<Result<_, _>>()?;
        // Unordered: what is there already is no reason to leave out what follows it.
        match self.bounded(self.deliveries.insert_many(documents).ordered(false).into_future()).await {
            Err(error) if !is_only_duplicate_keys(&error) => Err(error.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn clear(&self, events: &[Outgoing]) -> Result<(), StoreError> {
        let mut by_payment: BTreeMap<PaymentId, Vec<String>> = BTreeMap::new();
        for event in events {
            by_payment.entry(payment_of(event)?).or_default().push(event.id.clone());
        }
        let cleared = stream::iter(by_payment).map(|(payment, ids)| {
            // The version stays: a swap that has read the record before is not disturbed.
            let update = doc! { "$pull": { "outbox": { "id": { "$in": ids } } } };
            self.bounded(self.payments.update_one(doc! { "payment_id": payment.to_string() }, update).into_future())
        });
        cleared.buffer_unordered(CLEARED_AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    async fn claim_due(
        &self,
        endpoint: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Delivery>, StoreError> {
        let filter = doc! {
            "endpoint": endpoint, "state": DeliveryState::Pending.name(), "due_at": { "$lte": now.as_micros() },
        };
        let update = doc! {
            "$set": { "due_at": until.as_micros(), "leased": true, "attempted_at": now.as_micros() },
            "$inc": { "attempts": 1_i64, "tries": 1_i64 },
        };
        let claim = self
            .deliveries
            .find_one_and_update(filter, update)
            .sort(doc! { "due_at": 1 })
            .return_document(ReturnDocument::After)
            .max_time(self.bound);
        self.bounded(claim.into_future()).await?.map(TryInto::try_into).transpose()
    }

    async fn settle(&self, claimed: &Delivery, settlement: &AttemptOutcome) -> Result<bool, StoreError> {
        let fields = SettledFields::from(settlement);
        let mut filter = doc! { "_id": claimed.id(), "state": DeliveryState::Pending.name() };
        if fields.newest_only {
            filter.insert("attempts", claimed.attempts);
        }
        let mut set = doc! { "state": fields.state, "leased": false, "answer": &settlement.answer };
        for (field, at) in [("due_at", fields.due_at), ("done_at", fields.done_at)] {
            if let Some(at) = at {
                set.insert(field, at);
            }
        }
        let settled = self.bounded(self.deliveries.update_one(filter, doc! { "$set": set }).into_future()).await?;
        Ok(settled.matched_count == 1)
    }

    async fn backlog(&self, endpoint: &str) -> Result<Backlog, StoreError> {
        let first = |field: &'static str| {
            let filter = doc! { "endpoint": endpoint, "state": DeliveryState::Pending.name() };
            self.bounded(self.deliveries.find_one(filter).sort(doc! { field: 1 }).into_future())
        };
        let Some(due) = first("due_at").await? else { return Ok(Backlog::default()) };
        let oldest = first("began_at").await?;
        Ok(Backlog {
            next_due: Some(Timestamp::from_micros(due.due_at)),
            oldest: oldest.map(|oldest| Timestamp::from_micros(oldest.began_at)),
        })
    }

    async fn deliveries(&self, query: &DeliveryQuery) -> Result<(Vec<Delivery>, bool), StoreError> {
        let limit = query.limit.clamp(1, DELIVERIES_PAGE_MAX);
        let mut filter = bson::Document::new();
        if let Some(state) = query.state {
            filter.insert("state", state.name());
        }
        if let Some(endpoint) = &query.endpoint {
            filter.insert("endpoint", endpoint);
        }
        if let Some(order) = query.order_id {
            filter.insert("order_id", order.to_string());
        }
        let mut range = bson::Document::new();
        if let Some((from, to)) = query.payment_id.map(ids_of_payment) {
            range.extend(doc! { "$gte": from, "$lt": to });
        }
        if let Some(after) = &query.after {
            // Of two upper bounds the cursor's is the lower one: it is of a page that this query began.
            range.insert("$lt", after);
        }
        if !range.is_empty() {
            filter.insert("_id", range);
        }
        let found: Vec<DeliveryDocument> = self
            .bounded(async {
                let wanted = limit + 1;
                let cursor = self
                    .deliveries
                    .find(filter)
                    .sort(doc! { "_id": -1 })
                    .limit(i64::from(wanted))
                    .batch_size(wanted)
                    .max_time(self.bound)
                    .await?;
                cursor.try_collect().await
            })
            .await?;
        let more = found.len() > limit as usize;
        let page: Result<_, _> = found.into_iter().take(limit as usize).map(TryInto::try_into).collect();
        Ok((page?, more))
    }

    async fn redeliver(&self, which: &Redeliver, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut filter = match which {
            Redeliver::Event { id, endpoint: Some(endpoint) } => doc! { "_id": delivery_id(id, endpoint) },
            Redeliver::Event { id, endpoint: None } => {
                let (from, to) = ids_of_event(id);
                doc! { "_id": { "$gte": from, "$lt": to } }
            }
            Redeliver::Dead { endpoint, before } => doc! {
                "endpoint": endpoint, "state": DeliveryState::Dead.name(), "done_at": { "$lt": before.as_micros() },
            },
        };
        if let Redeliver::Event { .. } = which {
            filter.insert("leased", false);
        }
        let ids = self.ids(filter.clone(), limit).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        // The condition again, and the ids: no attempt that is under way is touched.
        let filter = doc! { "$and": [filter, { "_id": { "$in": ids } }] };
        let now = now.as_micros();
        let update = doc! {
            "$set": {
                "state": DeliveryState::Pending.name(), "due_at": now, "began_at": now, "tries": 0_i64, "leased": false,
            },
            "$unset": { "done_at": "" },
        };
        let updated = self.bounded(self.deliveries.update_many(filter, update).into_future()).await?;
        Ok(updated.matched_count)
    }

    async fn rebase(&self, endpoint: &str, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let now = now.as_micros();
        let ahead = doc! {
            "endpoint": endpoint, "state": DeliveryState::Pending.name(), "due_at": { "$gt": now },
            "$or": [
                { "tries": 0_i64, "began_at": { "$gt": now } },
                { "tries": { "$gt": 0_i64 }, "attempted_at": { "$gt": now } },
            ],
        };
        let found: Vec<DeliveryDocument> = self
            .bounded(async {
                self.deliveries.find(ahead).limit(i64::from(limit)).max_time(self.bound).await?.try_collect().await
            })
            .await?;
        let mut moved = 0;
        for delivery in found {
            let wait = delivery.attempted_at.filter(|_| delivery.tries > 0).map(|at| (delivery.due_at - at).max(0));
            let mut set = doc! { "due_at": now + wait.unwrap_or(0) };
            if wait.is_some() {
                set.insert("attempted_at", now);
            }
            // Unless another worker has claimed, settled or moved it meanwhile.
            let same = doc! { "_id": delivery.id, "due_at": delivery.due_at, "attempts": delivery.attempts };
            let update = self.deliveries.update_one(same, doc! { "$set": set });
            moved += self.bounded(update.into_future()).await?.matched_count;
        }
        Ok(moved)
    }

    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let old = doc! { "done_at": { "$lt": before.as_micros() } };
        let ids = self.ids(old.clone(), limit).await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let filter = doc! { "$and": [old, { "_id": { "$in": ids } }] };
        Ok(self.bounded(self.deliveries.delete_many(filter).into_future()).await?.deleted_count)
    }
}
