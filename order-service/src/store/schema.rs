//! The tables of the order store. The saga engine's journal lives in the same database, with its own history of migrations.

use amends_sql::{Migration, Schema};

/// Orders, with their lines, the idempotency keys they were placed under, and their events.
pub const SCHEMA: Schema = Schema {
    component: "orders",
    migrations: &[
        Migration { version: 1, description: "orders, lines, idempotency keys, outbox", postgres: None, sql: V1 },
        Migration { version: 2, description: "one row an order", postgres: Some(V2_POSTGRES), sql: V2 },
    ],
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

// What is written and read with an order is in its row: its lines, the claim on its key, and its events, which are four at most. `order_lines`
// and `outbox` are views of it from now on, for queries across orders. An older program still reads through them, and fails where it would
// write; there is no view of the keys, since PostgreSQL would delete orders through it.
//
// A claim ends when both of its columns are NULL: the key itself stays with its order. `outbox_at` is for readers of the outbox: it finds the
// orders that have changed since a time, and none of their events is younger.
const V2: &str = "
ALTER TABLE orders ADD COLUMN lines TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(lines) AND json_type(lines) = 'array');
ALTER TABLE orders ADD COLUMN key_fingerprint TEXT;
ALTER TABLE orders ADD COLUMN key_expires_at BIGINT;
ALTER TABLE orders ADD COLUMN events TEXT CHECK (json_valid(events) AND json_type(events) = 'array');
UPDATE orders SET
    lines = (SELECT json_group_array(json_object('sku', sku, 'quantity', quantity, 'unit_price_minor', unit_price_minor)
            ORDER BY line_no)
        FROM order_lines l WHERE l.order_id = orders.id),
    (key_fingerprint, key_expires_at) = (SELECT fingerprint, expires_at FROM idempotency_keys k
        WHERE k.customer_id = orders.customer_id AND k.idempotency_key = orders.idempotency_key AND k.order_id = orders.id),
    events = (SELECT json_group_array(json_object('version', order_version, 'kind', kind, 'at', created_at, 'payload',
            CASE WHEN json_valid(payload) THEN json(payload) ELSE payload END) ORDER BY order_version)
        FROM outbox e WHERE e.order_id = orders.id HAVING COUNT(*) > 0);
DROP TABLE order_lines;
DROP TABLE idempotency_keys;
DROP TABLE outbox;
CREATE UNIQUE INDEX orders_by_key ON orders (customer_id, idempotency_key) WHERE key_fingerprint IS NOT NULL;
CREATE INDEX orders_by_key_expiry ON orders (key_expires_at) WHERE key_expires_at IS NOT NULL;
CREATE INDEX outbox_at ON orders (updated_at) WHERE events IS NOT NULL;
-- A number that a hand has spoilt is none.
CREATE VIEW order_lines AS SELECT o.id AS order_id, l.key + 1 AS line_no, l.value ->> '$.sku' AS sku,
    CASE json_type(l.value, '$.quantity') WHEN 'integer' THEN l.value ->> '$.quantity' END AS quantity,
    CASE json_type(l.value, '$.unit_price_minor') WHEN 'integer' THEN l.value ->> '$.unit_price_minor' END AS unit_price_minor
FROM orders o, json_each(CASE WHEN json_valid(o.lines) THEN o.lines ELSE '[]' END) l;
CREATE VIEW outbox AS SELECT o.id AS order_id,
    CASE json_type(e.value, '$.version') WHEN 'integer' THEN e.value ->> '$.version' END AS order_version,
    e.value ->> '$.kind' AS kind, e.value ->> '$.payload' AS payload,
    CASE json_type(e.value, '$.at') WHEN 'integer' THEN e.value ->> '$.at' END AS created_at, o.updated_at AS order_updated_at
FROM orders o, json_each(CASE WHEN json_valid(o.events) THEN o.events ELSE '[]' END) e WHERE o.events IS NOT NULL;
";

const V2_POSTGRES: &str = "
ALTER TABLE orders ADD COLUMN lines TEXT, ADD COLUMN key_fingerprint TEXT, ADD COLUMN key_expires_at BIGINT, ADD COLUMN events TEXT;
UPDATE orders SET
    lines = COALESCE((SELECT CAST(json_agg(json_build_object('sku', sku, 'quantity', quantity, 'unit_price_minor', unit_price_minor)
            ORDER BY line_no) AS TEXT)
        FROM order_lines l WHERE l.order_id = orders.id), '[]'),
    (key_fingerprint, key_expires_at) = (SELECT fingerprint, expires_at FROM idempotency_keys k
        WHERE k.customer_id = orders.customer_id AND k.idempotency_key = orders.idempotency_key AND k.order_id = orders.id),
    events = (SELECT CAST(json_agg(json_build_object('version', order_version, 'kind', kind, 'at', created_at, 'payload',
            CAST(payload AS json)) ORDER BY order_version) AS TEXT)
        FROM outbox e WHERE e.order_id = orders.id);
ALTER TABLE orders ALTER COLUMN lines SET NOT NULL,
    ADD CONSTRAINT orders_lines CHECK (json_typeof(CAST(lines AS json)) = 'array'),
    ADD CONSTRAINT orders_events CHECK (json_typeof(CAST(events AS json)) = 'array');
DROP TABLE order_lines;
DROP TABLE idempotency_keys;
DROP TABLE outbox;
CREATE UNIQUE INDEX orders_by_key ON orders (customer_id, idempotency_key) WHERE key_fingerprint IS NOT NULL;
CREATE INDEX orders_by_key_expiry ON orders (key_expires_at) WHERE key_expires_at IS NOT NULL;
CREATE INDEX outbox_at ON orders (updated_at) WHERE events IS NOT NULL;
-- A number that a hand has spoilt is none.
CREATE VIEW order_lines AS SELECT o.id AS order_id, l.number AS line_no, l.line ->> 'sku' AS sku,
    CASE WHEN l.line ->> 'quantity' ~ '^-?[0-9]{1,18}$' THEN CAST(l.line ->> 'quantity' AS BIGINT) END AS quantity,
    CASE WHEN l.line ->> 'unit_price_minor' ~ '^-?[0-9]{1,18}$' THEN CAST(l.line ->> 'unit_price_minor' AS BIGINT) END
        AS unit_price_minor
FROM orders o CROSS JOIN LATERAL json_array_elements(CAST(o.lines AS json)) WITH ORDINALITY AS l (line, number);
CREATE VIEW outbox AS SELECT o.id AS order_id,
    CASE WHEN e.event ->> 'version' ~ '^-?[0-9]{1,18}$' THEN CAST(e.event ->> 'version' AS BIGINT) END AS order_version,
    e.event ->> 'kind' AS kind, e.event ->> 'payload' AS payload,
    CASE WHEN e.event ->> 'at' ~ '^-?[0-9]{1,18}$' THEN CAST(e.event ->> 'at' AS BIGINT) END AS created_at,
    o.updated_at AS order_updated_at
FROM orders o CROSS JOIN LATERAL json_array_elements(CAST(o.events AS json)) AS e (event) WHERE o.events IS NOT NULL;
";
