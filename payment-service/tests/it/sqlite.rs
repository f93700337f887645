//! What only SQLite can get wrong: a file that an older version made.

use amends_primitives::Timestamp;
use amends_sql::{Database, Options, Schema, sqlite_url};
use payment_service::{
    domain::{Mode, Record, Status},
    store::{
        Claimed, PaymentStore, StoreError,
        sqlite::{SCHEMA, SqliteStore},
    },
};

use crate::support::{charge_of, place_in, refund_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_the_first_version_is_migrated_with_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", dir.path().join("payment.db").display());
    let old = Database::connect_lazy(&url, &Options::default()).unwrap();
    old.migrate(&Schema { component: SCHEMA.component, migrations: &SCHEMA.migrations[..1] }).await.unwrap();
    let order = "0198c0de-0000-7000-8000-000000000002";
    for statement in [
        format!(
            "INSERT INTO payments VALUES ('0198c0de-0000-7000-8000-000000000001/charge_payment', 'payment',
             '0198c0de-0000-7000-8000-000000000003', 3, 1, 1, NULL, '{}', '{order}', 'demo', 'pm_ok', 500, 'EUR',
             'captured', NULL, 'r', 1, 500, 0, '[]')",
            "ab".repeat(32)
        ),
        "INSERT INTO payments (step_key, kind, payment_id, version, created_at, updated_at, closed_at)
         VALUES ('0198c0de-0000-7000-8000-000000000004/charge_payment', 'tombstone',
         '0198c0de-0000-7000-8000-000000000005', 1, 1, 1, 1)"
            .to_owned(),
        "INSERT INTO payment_refund_keys VALUES ('0198c0de-0000-7000-8000-000000000006/refund_payment',
         '0198c0de-0000-7000-8000-000000000001/charge_payment')"
            .to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(old.writer()).await.unwrap();
    }
    old.close().await;

    let place = place_in(dir);
    let world = place.world().await;
    let id = "0198c0de-0000-7000-8000-000000000003".parse().unwrap();
    let payment = world.payments.get(id).await.unwrap();
    assert_eq!((payment.status(), payment.charge.mode, payment.version), (Status::Captured, Mode::Charge, 3));
    let tombstone = "0198c0de-0000-7000-8000-000000000004/charge_payment".parse().unwrap();
    assert!(world.opened.store.load(&tombstone).await.unwrap().is_some());
    // The key of its refund is still its own.
    let other = world.payments.charge(&charge_of(500, "pm_ok")).await.unwrap();
    let mut refund = refund_of(&other, None);
    refund.key = "0198c0de-0000-7000-8000-000000000006/refund_payment".parse().unwrap();
    assert!(world.payments.refund(&refund).await.is_err(), "another payment has this key");
    let refund = refund_of(&other, None);
    assert_eq!(world.payments.refund(&refund).await.unwrap().status(), Status::Refunded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_the_payments_that_meet_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = sqlite_url(&dir.path().join("payment.db")).unwrap();
    let store = SqliteStore::open(&url, &Options::default()).unwrap();
    store.migrate().await.unwrap();
    let record = |n: u32| {
        let key = format!("0198c0de-0000-7000-8000-{n:012}/charge_payment").parse().unwrap();
        let id = format!("0198c0de-0000-7000-9000-{n:012}").parse().unwrap();
        Record::Tombstone { key, id, at: Timestamp::from_millis(1) }
    };
    let mut claimed = 0;
    for ail in [Database::fill_up, Database::turn_read_only] {
        ail(store.database());
        let refused = loop {
            assert!(claimed < 10_000, "the disk never filled up");
            match store.claim(&record(claimed + 1)).await {
                Ok(first) => assert!(matches!(first, Claimed::First)),
                Err(error) => break error,
            }
            claimed += 1;
        };
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
        assert!(store.ping().await.is_err());
        // Several at once share a transaction.
        let records: Vec<_> = (0..20).map(|n| record(20_000 + n)).collect();
        let together = records.iter().map(|record| store.claim(record));
        for answer in futures::future::join_all(together).await {
            assert!(answer.as_ref().is_ok() || matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        }
        store.database().repair();
        claimed += 1;
        assert!(matches!(store.claim(&record(claimed)).await.unwrap(), Claimed::First));
        store.ping().await.unwrap();
    }
}
