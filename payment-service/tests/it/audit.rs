//! What the audit reads: everything once, from every place on, on every backend; also what our own programs cannot read any more.

use amends_sql::{Database, Options};
use mongodb::bson::doc;
use payment_service::store::audit::{AuditPayment, AuditRefundState, AuditStore, Start};

use crate::support::{Place, charge_of, on_every_backend, refund_of, saga, step};

on_every_backend![
    every_record_is_read_once_by_key_and_by_order,
    a_record_says_what_is_stored,
    an_unreadable_record_is_read_all_the_same,
];

/// As many as make several pages of two.
const PAYMENTS: usize = 5;

async fn by_key(store: &dyn AuditStore) -> Vec<AuditPayment> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.by_key(&after, 2).await.unwrap();
        let Some(last) = page.last() else { return all };
        after.clone_from(&last.key);
        all.extend(page);
    }
}

async fn by_order(store: &dyn AuditStore, from: Start<'_>, upto: Option<&str>) -> Vec<AuditPayment> {
    let mut all: Vec<AuditPayment> = Vec::new();
    loop {
        let last = all.last().map(|last| (last.order.clone(), last.id.clone()));
        let from = last.as_ref().map_or(from, |(order, payment)| Start::After { order, payment });
        let page = store.by_order(from, upto, 2).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

async fn every_record_is_read_once_by_key_and_by_order(place: &Place) {
    let world = place.world().await;
    let mut paid = Vec::new();
    for _ in 0..PAYMENTS {
        paid.push(world.payments.charge(&charge_of(100, "pm_ok")).await.unwrap());
    }
    // A second payment of one order, and a tombstone, which is of none.
    let mut again = charge_of(100, "pm_ok");
    again.order_id = paid[0].charge.order_id;
    paid.push(world.payments.charge(&again).await.unwrap());
    world.payments.compensate_charge(&step(saga(), "charge_payment")).await.unwrap();
    let audit = &*world.opened.audit;
    let keys: Vec<String> = by_key(audit).await.into_iter().map(|record| record.key).collect();
    assert_eq!(keys.len(), PAYMENTS + 2);
    assert!(keys.is_sorted());
    assert_eq!(by_key(audit).await.iter().filter(|record| record.tombstone).count(), 1);

    let mut expected: Vec<(String, String)> =
        paid.iter().map(|payment| (payment.charge.order_id.to_string(), payment.id.to_string())).collect();
    expected.sort();
    let places = |payments: Vec<AuditPayment>| -> Vec<(String, String)> {
        payments.into_iter().map(|payment| (payment.order, payment.id)).collect()
    };
    assert_eq!(places(by_order(audit, Start::Order(""), None).await), expected);
    let (first, third) = (&expected[0].0, &expected[3].0);
    let range: Vec<_> = expected.iter().filter(|(order, _)| order > first && order <= third).cloned().collect();
    assert_eq!(places(by_order(audit, Start::AfterOrder(first), Some(third)).await), range);
    let twice = paid[0].charge.order_id.to_string();
    assert_eq!(by_order(audit, Start::Order(&twice), Some(&twice)).await.len(), 2);
    assert_eq!(audit.breaches().await.unwrap(), []);
}

async fn a_record_says_what_is_stored(place: &Place) {
    let world = place.world().await;
    let paid = world.payments.charge(&charge_of(100, "pm_ok")).await.unwrap();
    world.payments.refund(&refund_of(&paid, Some(30))).await.unwrap();
    let read = world.opened.audit.of_key(&paid.charge.key.to_string()).await.unwrap().unwrap();
    assert_eq!((read.status.as_str(), read.captured_minor, read.refunded_minor), ("partially_refunded", 100, 30));
    assert_eq!((read.tombstone, read.closed, read.unreadable.clone()), (false, false, None));
    assert!(
        matches!(&read.refunds[..], [one] if one.amount_minor == 30 && matches!(one.state, AuditRefundState::Done { .. }))
    );
    assert_eq!(world.opened.audit.of_key("none").await.unwrap(), None);
}

async fn an_unreadable_record_is_read_all_the_same(place: &Place) {
    let world = place.world().await;
    let spoilt = world.payments.charge(&charge_of(100, "pm_ok")).await.unwrap();
    world.payments.charge(&charge_of(100, "pm_ok")).await.unwrap();
    let id = spoilt.id.to_string();
    match place {
        Place::Sqlite(dir) => {
            let url = format!("sqlite://{}?mode=rwc", dir.path().join("payment.db").display());
            let database = Database::connect_lazy(&url, &Options::default()).unwrap();
            let sql =
                "UPDATE payments SET document = json_set(document, '$.refunds', 'nonsense') WHERE payment_id = $1";
            sqlx::query(sql).bind(id.clone()).execute(database.writer()).await.unwrap();
        }
        Place::Mongo { uri, database, .. } => {
            let client = mongodb::Client::with_uri_str(uri).await.unwrap();
            let payments = client.database(database).collection::<mongodb::bson::Document>("payments");
            let spoil = doc! { "$set": { "refunds": "nonsense" } };
            let update = payments.update_one(doc! { "payment_id": &id }, spoil).bypass_document_validation(true);
            update.await.unwrap();
        }
    }
    let audit = &*world.opened.audit;
    let read = by_key(audit).await;
    assert_eq!(read.len(), 2);
    let unreadable: Vec<_> = read.iter().filter(|record| record.unreadable.is_some()).collect();
    assert!(
        matches!(&unreadable[..], [one] if one.id == id && one.order == spoilt.charge.order_id.to_string()),
        "{read:?}"
    );
}
