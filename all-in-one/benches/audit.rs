//! How long an audit takes, and how much memory, over `AMENDS_BENCH_ORDERS` orders (default 20 000) in the embedded stores; one order's
//! payment is missing, and must be found. 1 000 000 orders take about 2 GB of disk.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark may stop, and tells what it measured")]

use std::{path::Path, time::Instant};

use amends::{
    audit::{self, progress::Progress},
    embedded, migrate, stores,
};
use amends_sql::{Database, Options};
use service_base::config::Sources;

/// Rows written by one statement.
const CHUNK: u64 = 100_000;
/// The order without a payment.
const UNPAID: u64 = 4_711;

#[tokio::main]
async fn main() {
    // `cargo test` runs benches to see that they start.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    service_kit::main::install_crypto();
    let orders: u64 = setting("AMENDS_BENCH_ORDERS").map_or(20_000, |orders| orders.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut sources = Sources::none();
    embedded::base(dir.path(), &mut sources, None).unwrap();
    migrate::migrate(&sources).await.unwrap();
    fill(dir.path(), orders).await;
    let books = stores::open(&sources).await.unwrap();
    let (before, begun) = (peak_megabytes(), Instant::now());
    let report = audit::run(&books, &mut Progress::silent()).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "audit of {orders} orders: {seconds:.1} s, {} µs each",
        begun.elapsed().as_micros() / u128::from(orders.max(1))
    );
    println!("peak resident memory: {before} MB before, {} MB after", peak_megabytes());
    let codes: Vec<&str> = report.findings.iter().map(|finding| finding.law.code()).collect();
    assert_eq!((report.orders, codes), (orders, vec!["not_charged"]));
}

/// Confirmed orders, each with its payment and its reservation.
async fn fill(dir: &Path, orders: u64) {
    let open = |name: &str| {
        let url = format!("sqlite://{}?mode=rwc", dir.join(name).display());
        Database::connect_lazy(&url, &Options::administration()).unwrap()
    };
    let (order, payment, inventory) = (open("order.db"), open("payment.db"), open("inventory.db"));
    let acquirer = open("acquirer.db");
    let item = "INSERT INTO items (sku, name, price_minor, currency, on_hand, updated_at) VALUES ('espresso-1kg', 'Espresso', 1850, 'EUR', 1, 0)";
    execute(&inventory, item).await;
    let mut from = 0;
    while from < orders {
        let to = (from + CHUNK).min(orders);
        let series = format!(
            "FROM (WITH RECURSIVE series (n) AS (SELECT {} UNION ALL SELECT n + 1 FROM series WHERE n < {to}) SELECT n FROM series)",
            from + 1
        );
        let id = "'01900000-0000-7000-8000-' || printf('%012x', n)";
        let at = "1700000000000000 + n";
        execute(
            &order,
            &format!(
                "INSERT INTO orders (id, customer_id, status, version, currency, total_minor, payment_method, payment_id,
                    reservation_id, saga_id, idempotency_key, trace_id, created_at, updated_at, settled_at, lines)
                 SELECT {id}, 'customer', 'confirmed', 2, 'EUR', 1850, 'pm_ok', {id}, {id}, {id}, 'key-' || n, '', {at}, {at}, {at},
                    '[{{\"sku\":\"espresso-1kg\",\"quantity\":1,\"unit_price_minor\":1850}}]' {series}"
            ),
        )
        .await;
        execute(
            &acquirer,
            &format!(
                "INSERT INTO acquirer_lines (idempotency_key, version, line)
                 SELECT {id} || '/charge_payment', 1,
                    '{{\"fate\":\"captured\",\"amount\":{{\"amount_minor\":1850,\"currency\":\"EUR\"}},\"method\":\"pm_ok\",\"refunds\":[]}}'
                 {series} WHERE n <> {UNPAID}"
            ),
        )
        .await;
        execute(
            &payment,
            &format!(
                "INSERT INTO payments (step_key, kind, payment_id, version, created_at, order_id, customer_id, status, document)
                 SELECT {id} || '/charge_payment', 'payment', {id}, 2, {at}, {id}, 'customer', 'captured',
                    json_object('_id', {id} || '/charge_payment', 'kind', 'payment', 'payment_id', {id}, 'version', 2, 'created_at', {at},
                        'updated_at', {at}, 'fingerprint', printf('%064x', n), 'order_id', {id}, 'customer_id', 'customer',
                        'payment_method', 'pm_ok', 'amount_minor', 1850, 'currency', 'EUR', 'status', 'captured',
                        'receipt', 'sim-charge-' || {id} || '/charge_payment', 'captured_at', {at}, 'captured_minor', 1850,
                        'refunded_minor', 0, 'refunds', json('[]')) {series} WHERE n <> {UNPAID}"
            ),
        )
        .await;
        execute(
            &inventory,
            &format!(
                "INSERT INTO reservations (id, order_id, state, expires_at, created_at, changed_at, lines)
                 SELECT {id}, {id}, 'committed', {at}, {at}, {at},
                    '[{{\"sku\":\"espresso-1kg\",\"quantity\":1,\"price_minor\":1850,\"currency\":\"EUR\"}}]' {series}"
            ),
        )
        .await;
        from = to;
    }
}

async fn execute(database: &Database, sql: &str) {
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(database.writer()).await.unwrap();
}

/// The most that was ever resident.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[expect(clippy::disallowed_methods, reason = "how large a benchmark is")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
