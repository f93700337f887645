//! A file that an older version made: every state of a payment reads back as it was written.

use amends_primitives::{Currency, Money, OrderId, PaymentId, SagaId, Timestamp};
use amends_sql::{Database, Options, Schema, sqlite_url};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        Charge, CustomerId, DeclineReason, Event, Fingerprint, Mode, PaymentMethod, Receipt, RefundKey, Wanted, evolve,
    },
    store::document::Document,
};

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// The last version that had a column for each field.
const COLUMNS: usize = 4;

fn step(number: u128, name: &str) -> StepKey {
    StepKey::try_new(SagaId::new(Uuid::from_u128(number)), name).unwrap()
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::EUR)
}

fn life(number: u128, mode: Mode, events: &[Event]) -> Record {
    let charge = Charge {
        key: step(number, "charge_payment"),
        fingerprint: Fingerprint::new([0xAB; 32]),
        order_id: OrderId::new(Uuid::from_u128(number + 1_000)),
        customer_id: CustomerId::try_new("жанна 'and' \"quoted\" \\").unwrap(),
        amount: eur(3700),
        method: PaymentMethod::try_new("pm_ok").unwrap(),
        mode,
    };
    let intended = Payment::intended(PaymentId::new(Uuid::from_u128(number + 2_000)), charge, AT);
    Record::Payment(events.iter().fold(intended, |payment, event| evolve(&payment, event, AT).unwrap()))
}

/// One of each state, with whatever can be beside it.
fn lives() -> Vec<Record> {
    let receipt = || Receipt::new("r");
    let captured = |minor| Event::Captured { amount: eur(minor), receipt: receipt() };
    let refund = |name: &str| RefundKey::Step(step(77, name));
    let asked = |name, asked, minor| Event::RefundAsked {
        key: refund(name),
        fingerprint: Some(Fingerprint::new([1; 32])),
        asked,
        amount: eur(minor),
    };
    let done = |name| Event::RefundDone { key: refund(name), receipt: receipt() };
    let authorized = || Event::Authorized { amount: eur(3700), receipt: receipt() };
    let ending =
        |name, wanted| Event::SettlementAsked { key: step(78, name), fingerprint: Fingerprint::new([2; 32]), wanted };
    let part = || Wanted::Capture { asked: Some(eur(700)), amount: eur(700) };
    let undo = |number, minor| Event::RefundAsked {
        key: RefundKey::Undo(step(number, "charge_payment")),
        fingerprint: None,
        asked: None,
        amount: eur(minor),
    };
    let refused = [
        authorized(),
        ending("all", Wanted::Capture { asked: None, amount: eur(3700) }),
        Event::CaptureRefused { key: step(78, "all") },
    ];
    let after_refusal = |more: &[Event]| [&refused, more].concat();
    vec![
        Record::Tombstone { key: step(1, "charge_payment"), at: AT, id: PaymentId::new(Uuid::from_u128(1)) },
        life(2, Mode::Charge, &[]),
        life(3, Mode::Authorize, &[]),
        life(4, Mode::Charge, &[Event::Declined { reason: DeclineReason::InsufficientFunds }]),
        life(5, Mode::Charge, &[Event::BarrierClosed, Event::Voided]),
        life(6, Mode::Charge, &[captured(3700)]),
        life(7, Mode::Charge, &[captured(3700), asked("in_doubt", None, 3700)]),
        life(
            8,
            Mode::Charge,
            &[
                captured(3700),
                asked("part", Some(eur(700)), 700),
                done("part"),
                asked("refused", None, 3000),
                Event::RefundRefused { key: refund("refused") },
                Event::BarrierClosed,
                undo(8, 3000),
            ],
        ),
        life(9, Mode::Charge, &[captured(3700), asked("whole", None, 3700), done("whole")]),
        life(10, Mode::Authorize, &after_refusal(&[])),
        life(11, Mode::Authorize, &after_refusal(&[ending("capture", part())])),
        life(12, Mode::Authorize, &after_refusal(&[ending("void", Wanted::Void)])),
        life(13, Mode::Authorize, &after_refusal(&[ending("part", part()), captured(700)])),
        life(14, Mode::Authorize, &after_refusal(&[ending("voided", Wanted::Void), Event::Voided])),
    ]
}

async fn execute(database: &Database, sql: String) {
    sqlx::query(AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
}

/// As the version before wrote it: each field in a column of its own, what has parts as JSON.
fn columns_of(record: &Record) -> String {
    let Value::Object(fields) = serde_json::to_value(Document::from(record)).unwrap() else { unreachable!() };
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let (names, values): (Vec<&str>, Vec<String>) = fields
        .iter()
        .map(|(name, value)| {
            let literal = match value {
                Value::String(value) => text(value),
                Value::Array(_) | Value::Object(_) => text(&value.to_string()),
                number => number.to_string(),
            };
            (if name == "_id" { "step_key" } else { name.as_str() }, literal)
        })
        .unzip();
    format!("INSERT INTO payments ({}) VALUES ({})", names.join(", "), values.join(", "))
}

/// A file of the version that had columns, with these statements carried out on it.
async fn old_file(statements: Vec<String>) -> (tempfile::TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let url = sqlite_url(&dir.path().join("payment.db")).unwrap();
    let old = Database::connect_lazy(&url, &Options::default()).unwrap();
    old.migrate(&Schema { component: SCHEMA.component, migrations: &SCHEMA.migrations[..COLUMNS] }).await.unwrap();
    for statement in statements {
        execute(&old, statement).await;
    }
    old.close().await;
    (dir, SqliteStore::open(&url, &Options::default()).unwrap())
}

#[tokio::test]
async fn every_state_in_columns_reads_back_as_a_document() {
    let records = lives();
    let key =
        "INSERT INTO payment_effect_keys VALUES ('refund', 'r', '00000000-0000-0000-0000-000000000006/charge_payment')";
    let statements = records.iter().map(columns_of).chain([key.to_owned()]).collect();
    let (_dir, store) = old_file(statements).await;
    store.migrate().await.unwrap();
    for record in &records {
        assert_eq!(store.load(record.key()).await.unwrap().as_ref(), Some(record));
    }
    let written: Vec<(String,)> = sqlx::query_as("SELECT document FROM payments ORDER BY step_key")
        .fetch_all(store.database.reader())
        .await
        .unwrap();
    let mut expected: Vec<Value> = records.iter().map(|it| serde_json::to_value(Document::from(it)).unwrap()).collect();
    expected.sort_by_key(|document| document["_id"].to_string());
    let written: Vec<Value> = written.iter().map(|(json,)| serde_json::from_str(json).unwrap()).collect();
    assert_eq!(written, expected);
    let page = store.list(&ListQuery { limit: 100, ..ListQuery::default() }).await.unwrap();
    assert_eq!(page.payments.len(), records.len() - 1);
    let keys: Vec<(String, String)> = sqlx::query_as("SELECT effect_key, step_key FROM payment_effect_keys")
        .fetch_all(store.database.reader())
        .await
        .unwrap();
    assert_eq!(keys, [("r".to_owned(), step(6, "charge_payment").to_string())]);
}

#[tokio::test]
async fn a_spoilt_row_is_kept_as_it_is_and_stops_nothing() {
    let [spoilt, sound] = [8, 9].map(|at| lives().swap_remove(at - 1));
    let spoil = format!("UPDATE payments SET refunds = 'nonsense' WHERE step_key = '{}'", spoilt.key());
    let (_dir, store) = old_file(vec![columns_of(&spoilt), columns_of(&sound), spoil]).await;
    store.migrate().await.unwrap();
    assert_eq!(store.load(sound.key()).await.unwrap().as_ref(), Some(&sound));
    assert!(matches!(store.load(spoilt.key()).await, Err(StoreError::Corrupt { .. })));
    let (json,): (String,) = sqlx::query_as("SELECT document FROM payments WHERE step_key = $1")
        .bind(spoilt.key().to_string())
        .fetch_one(store.database.reader())
        .await
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["refunds"], json!("nonsense"));
}

#[tokio::test]
async fn columns_that_differ_from_the_document_are_refused() {
    let record = lives().swap_remove(5);
    let (_dir, store) = old_file(vec![columns_of(&record)]).await;
    store.migrate().await.unwrap();
    for wrong in [
        "status = 'pending'",
        "order_id = 'another'",
        "version = 9",
        "document = json_set(document, '$.customer_id', 'another')",
        "document = json_set(document, '$.refunded_minor', 3701)",
        "document = json_set(document, '$.captured_minor', -1)",
        "document = 'nonsense'",
    ] {
        let sql = format!("UPDATE payments SET {wrong}");
        let refused = sqlx::query(AssertSqlSafe(sql)).execute(store.database.writer()).await;
        assert!(refused.is_err(), "{wrong}");
    }
}
