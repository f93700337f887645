//! The ledger as the audit reads it.

use std::{sync::Arc, time::Duration};

use acquirer::{
    domain::{Entry, Key},
    ledger::LedgerError,
    store::{FormerLine, SCHEMA, SqlLedger},
};
use amends_primitives::SystemClock;
use amends_sql::{Database, Options, Schema, sqlite_url};

async fn ledger(dir: &tempfile::TempDir) -> SqlLedger {
    let url = sqlite_url(&dir.path().join("acquirer.db")).unwrap();
    let ledger = SqlLedger::open(&url, &Options::default(), Arc::new(SystemClock)).unwrap();
    ledger.migrate(Duration::ZERO).await.unwrap();
    ledger
}

#[tokio::test]
async fn lines_are_read_once_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir).await;
    let keys = ["a", "b", "c", "d", "e"];
    for key in keys {
        assert_eq!(ledger.claim(&Entry::voided(Key::try_new(key).unwrap())).await.unwrap(), None);
    }
    let read = async |after: &str, upto: Option<&str>, limit| -> Vec<String> {
        ledger.lines(after, upto, limit).await.unwrap().into_iter().map(|line| line.key).collect()
    };
    assert_eq!(read("", None, 100).await, keys);
    assert_eq!(read("", None, 2).await, keys[..2]);
    assert_eq!(read("b", Some("d"), 100).await, keys[2..4]);
    assert_eq!(ledger.line("a").await.unwrap().unwrap().key, "a");
    assert_eq!(ledger.line("none").await.unwrap(), None);
}

#[tokio::test]
async fn a_ledger_of_the_first_version_goes_on_with_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let url = sqlite_url(&dir.path().join("acquirer.db")).unwrap();
    let old = Database::connect_lazy(&url, &Options::default()).unwrap();
    old.migrate(&Schema { component: SCHEMA.component, migrations: &SCHEMA.migrations[..1] }).await.unwrap();
    let amount = r#"{"amount_minor":5,"currency":"EUR"}"#;
    let line = format!(r#"{{"fate":"captured","amount":{amount},"method":"pm_ok","refunds":[]}}"#);
    for sql in [
        format!("INSERT INTO acquirer_lines VALUES ('b', 1, '{line}'), ('a', 3, '{line}')"),
        "INSERT INTO acquirer_movements VALUES (2, 1, 'capture', 'a', 'a', 5, 'EUR', 'r'), (1, 1, 'capture', 'b', 'b', 5, 'EUR', 'r')"
            .to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(old.writer()).await.unwrap();
    }
    old.close().await;

    let ledger = ledger(&dir).await;
    let lines = ledger.lines("", None, 10).await.unwrap();
    let found: Vec<_> = lines.into_iter().map(|line| (line.key, line.entry.unwrap().version)).collect();
    assert_eq!(found, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    ledger.take_over(&[FormerLine { key: "c".into(), version: 1, line }]).await.unwrap();
    let movements = ledger.movements(0, 10).await.unwrap();
    let posted: Vec<_> = movements.iter().map(|posted| (posted.seq, posted.movement.charge.to_string())).collect();
    assert_eq!(posted, [(1, "b".to_owned()), (2, "a".to_owned()), (3, "c".to_owned())]);
}

#[tokio::test]
async fn two_charges_with_one_refund_key_are_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir).await;
    let amount = r#"{"amount_minor":5,"currency":"EUR"}"#;
    let line = |key: &str| FormerLine {
        key: key.to_owned(),
        version: 2,
        line: format!(
            r#"{{"fate":"captured","amount":{amount},"method":"pm_ok","refunds":[{{"key":"r","amount":{amount}}}]}}"#
        ),
    };
    ledger.take_over(&[line("a")]).await.unwrap();
    assert!(matches!(ledger.take_over(&[line("a"), line("b")]).await, Err(LedgerError::KeyTaken)));
    assert_eq!(ledger.line("b").await.unwrap(), None, "all of them or none");
    assert_eq!(ledger.movements(0, 10).await.unwrap().len(), 2);
}
