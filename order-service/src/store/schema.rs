//! The tables of the order store. The saga engine's journal lives in the same database, with its own history of migrations.

use amends_sql::{Migration, Schema};

/// Orders, their lines, the idempotency keys they were placed under, and the outbox.
pub const SCHEMA: Schema = Schema {
    component: "orders",
    migrations: &[Migration {
        version: 1,
        description: "orders, lines, idempotency keys, outbox",
        postgres: None,
        sql: V1,
    }],
};

// `status` and the columns beside it are the state; `store/orders.rs` alone reads and writes them together.
// No foreign keys: the tables are written in one transaction by one function, and SQLite and PostgreSQL would each check
// every insert again.
const V1: &str = "
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,
    status TEXT NOT NULL,
    version BIGINT NOT NULL,
    currency TEXT NOT NULL,
    total_minor BIGINT NOT NULL,
    payment_method TEXT NOT NULL,
    payment_id TEXT,
    reservation_id TEXT,
    failure_code TEXT,
    failure_message TEXT,
    saga_id TEXT NOT NULL,
    cancel_saga_id TEXT,
    idempotency_key TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    settled_at BIGINT,
    CHECK (status IN ('pending', 'confirmed', 'failed', 'cancelling', 'cancelled', 'shipped')),
    CHECK (total_minor > 0),
    CHECK (version > 0)
);
-- Newest first is by id, which is a version 7 UUID; each list filter has the index it pages on.
CREATE INDEX orders_of_customer ON orders (customer_id, id);
CREATE INDEX orders_of_customer_by_status ON orders (customer_id, status, id);
CREATE INDEX orders_by_status ON orders (status, id);

CREATE TABLE order_lines (
    order_id TEXT NOT NULL,
    line_no BIGINT NOT NULL,
    sku TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    unit_price_minor BIGINT NOT NULL,
    PRIMARY KEY (order_id, line_no)
);

CREATE TABLE idempotency_keys (
    customer_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    order_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (customer_id, idempotency_key)
);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- What happened to orders, for others to read in order; a row is unique by the version of the order it made.
CREATE TABLE outbox (
    order_id TEXT NOT NULL,
    order_version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (order_id, order_version)
);
CREATE INDEX outbox_by_age ON outbox (created_at);
";
