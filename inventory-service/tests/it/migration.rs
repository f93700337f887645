//! A store that an older version made: reservations with their lines, and step keys, are what they were.

use std::sync::Arc;

use amends_primitives::{Fingerprint, OrderId, ReservationId, SagaId, StepKey, Timestamp};
use amends_sql::{
    Database, Schema,
    checks::{Check, Slice},
};
use amends_testing::TestDatabase;
use inventory_service::{
    domain::{PricedLine, Quantity, Reservation, State},
    ports::{ActionKey, Commit, Released, StockStore},
    store::{SCHEMA, Store, checks},
};
use saga_engine::participant;
use uuid::Uuid;

use crate::bench::eur;

/// Before lines were in their reservation's row.
const TABLES_OF_LINES: usize = 1;
/// Before a key's record was in one b-tree.
const TWO_TREES: usize = 2;

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const DUE: Timestamp = Timestamp::from_millis(1_700_000_600_000);

async fn execute(database: &Database, sql: String) {
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.unwrap();
}

fn reservation(number: u128, state: State, lines: &[(&str, u32, i64)]) -> Reservation {
    let line = |&(sku, units, minor): &(&str, u32, i64)| PricedLine {
        sku: sku.parse().unwrap(),
        quantity: Quantity::try_new(units).unwrap(),
        unit_price: eur(minor),
    };
    Reservation {
        id: ReservationId::new(Uuid::from_u128(number)),
        order: OrderId::new(Uuid::from_u128(number + 100)),
        state,
        lines: lines.iter().map(line).collect(),
        expires_at: DUE,
        created_at: AT,
    }
}

fn step(number: u128, name: &str) -> StepKey {
    StepKey::try_new(SagaId::new(Uuid::from_u128(number)), name).unwrap()
}

/// As the version before wrote them.
async fn write_old(database: &Database, reservation: &Reservation) {
    let Reservation { id, order, state, lines, .. } = reservation;
    let (state, at, due) = (state.name(), AT.as_micros(), DUE.as_micros());
    execute(database, format!("INSERT INTO reservations VALUES ('{id}', '{order}', '{state}', {due}, {at}, {at})"))
        .await;
    // Not in the order of their positions.
    for (position, line) in lines.iter().enumerate().rev() {
        let (sku, units, minor) = (line.sku.as_str(), line.quantity.units(), line.unit_price.amount_minor());
        let values = format!("'{id}', {position}, '{sku}', {units}, {minor}, 'EUR'");
        execute(database, format!("INSERT INTO reservation_lines VALUES ({values})")).await;
    }
}

async fn write_key(database: &Database, key: &StepKey, state: &str, reservation: &Reservation) {
    let (id, at, print) = (reservation.id, AT.as_micros(), Fingerprint::new([1; 32]));
    let answer = format!("{{\"reservation\":\"{id}\"}}");
    let values = format!("'{key}', '{state}', '{print}', '{answer}', {at}, {at}");
    execute(database, format!("INSERT INTO saga_barrier VALUES ({values})")).await;
}

async fn breaches(database: &Database, check: &[Check]) -> Vec<String> {
    let mut found = Vec::new();
    for check in check {
        let breaches = database.breaches(check, &Slice::whole(), 0).await.unwrap();
        found.extend(breaches.into_iter().map(|breach| format!("{}: {}", breach.code, breach.detail)));
    }
    found
}

#[tokio::test]
async fn an_old_store_keeps_its_lines_and_keys() {
    for own in TestDatabase::each().await {
        let database = own.open();
        let first = |schema: &Schema, migrations: usize| Schema {
            component: schema.component,
            migrations: &schema.migrations[..migrations],
        };
        database.migrate(&first(&SCHEMA, TABLES_OF_LINES)).await.unwrap();
        database.migrate(&first(&participant::SCHEMA, TWO_TREES)).await.unwrap();
        let items =
            "INSERT INTO items VALUES ('tea', 'Tea', 500, 'EUR', 10, 3, 1), ('mug', 'Mug', 900, 'EUR', 5, 1, 1)";
        execute(&database, items.to_owned()).await;
        let held = reservation(1, State::Held, &[("tea", 3, 500), ("mug", 1, 900)]);
        let sold = reservation(2, State::Committed, &[("mug", 2, 800)]);
        let spoilt = reservation(3, State::Released, &[]);
        for reservation in [&held, &sold, &spoilt] {
            write_old(&database, reservation).await;
        }
        write_key(&database, &step(1, "reserve_stock"), "done", &held).await;
        write_key(&database, &step(2, "commit_stock"), "done", &sold).await;

        let store = Store::new(database.clone());
        store.migrate(std::time::Duration::from_secs(10)).await.unwrap();
        let found = store.reservations(None, None, 10).await.unwrap().reservations;
        assert_eq!(found, [held.clone(), sold.clone(), spoilt]);
        assert_eq!(breaches(&database, &checks::OF_ITEMS).await, Vec::<String>::new());
        assert_eq!(breaches(&database, &checks::OF_STEPS).await, Vec::<String>::new());
        assert_eq!(
            breaches(&database, &checks::OF_RESERVATIONS).await,
            ["reservation_malformed: released, without a line"]
        );

        let commit = |number, of: &Reservation| Commit {
            key: ActionKey { step: step(number, "commit_stock"), fingerprint: Fingerprint::new([1; 32]) },
            reservation: of.id,
            now: AT,
            expire_skus: Arc::default(),
        };
        assert_eq!(store.commit(commit(2, &sold)).await.unwrap().unwrap(), sold, "answered as the first time");
        let committed = Reservation { state: State::Committed, ..held };
        assert_eq!(store.commit(commit(1, &committed)).await.unwrap().unwrap(), committed);
        let after = store.release(step(4, "reserve_stock"), AT).await.unwrap();
        assert_eq!(after, Ok(Released::NothingToUndo));
        let items = store.list_items(None, 10).await.unwrap().items;
        let stock: Vec<_> = items.iter().map(|item| (item.stock.on_hand(), item.stock.reserved())).collect();
        assert_eq!(stock, [(4, 0), (7, 0)], "mug and tea");
        drop(store);
        database.close().await;
        own.remove().await;
    }
}

#[tokio::test]
async fn lines_that_a_hand_has_spoilt_are_told_of() {
    for own in TestDatabase::each().await {
        let database = own.open();
        let store = Store::new(database.clone());
        store.migrate(std::time::Duration::from_secs(10)).await.unwrap();
        execute(&database, "INSERT INTO items VALUES ('tea', 'Tea', 500, 'EUR', 10, 0, 1)".to_owned()).await;
        let spoilt = [
            r"[]",
            r"[7]",
            r#"[{"sku":"gin","quantity":1,"price_minor":1,"currency":"EUR"}]"#,
            r#"[{"sku":"tea","quantity":"many","price_minor":1,"currency":"EUR"}]"#,
            r#"[{"sku":"tea","quantity":1,"price_minor":0.5,"currency":"EUR"}]"#,
            r#"[{"sku":"tea","quantity":1,"price_minor":1,"currency":"EUR"}]"#,
        ];
        for (number, lines) in spoilt.iter().enumerate() {
            let sql = format!("INSERT INTO reservations VALUES ('{number}', 'o', 'released', 1, 1, 1, '{lines}')");
            execute(&database, sql).await;
        }
        let mut found = breaches(&database, &checks::OF_RESERVATIONS).await;
        found.sort();
        assert_eq!(
            found,
            [
                "reservation_malformed: released, with a line of 1 gin at 1 EUR, an article that does not exist",
                "reservation_malformed: released, with a line of 1 tea at no EUR",
                "reservation_malformed: released, with a line of no no article at no currency, an article that does not exist",
                "reservation_malformed: released, with a line of no tea at 1 EUR",
                "reservation_malformed: released, without a line",
            ]
        );
        assert_eq!(store.audit_by_order(("", ""), None, 10).await.unwrap().len(), spoilt.len());
        for wrong in ["", "{", "{}", "null"] {
            let sql = format!("INSERT INTO reservations VALUES ('x', 'o', 'released', 1, 1, 1, '{wrong}')");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(database.writer()).await.unwrap_err();
        }
        drop(store);
        database.close().await;
        own.remove().await;
    }
}
