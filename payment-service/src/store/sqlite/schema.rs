//! Tables. Forwards only; expand before contract.

use amends_sql::{Migration, Schema};

/// The payments.
pub const SCHEMA: Schema =
    Schema { component: "payment", migrations: &[PAYMENTS, AUTHORIZATIONS, WEBHOOKS, BY_TIME, DOCUMENTS] };

const PAYMENTS: Migration = Migration {
    version: 1,
    description: "payments",
    postgres: None,
    // The checks repeat what the domain guarantees: a mistake in it stops at the store instead of becoming money.
    // Listing is always in the order of ids, so each index ends with it.
    sql: "
CREATE TABLE payments (
    step_key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'tombstone')),
    payment_id TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL CHECK (version >= 1),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    closed_at BIGINT,
    fingerprint TEXT,
    order_id TEXT,
    customer_id TEXT,
    payment_method TEXT,
    amount_minor BIGINT CHECK (amount_minor > 0),
    currency TEXT,
    status TEXT CHECK (status IN ('pending', 'captured', 'partially_refunded', 'refunded', 'declined', 'voided')),
    decline_reason TEXT,
    receipt TEXT,
    captured_at BIGINT,
    captured_minor BIGINT CHECK (captured_minor >= 0 AND captured_minor <= amount_minor),
    refunded_minor BIGINT CHECK (refunded_minor >= 0 AND refunded_minor <= captured_minor),
    refunds TEXT,
    CHECK (kind <> 'tombstone' OR (closed_at IS NOT NULL AND status IS NULL AND amount_minor IS NULL)),
    CHECK (kind <> 'payment' OR (fingerprint IS NOT NULL AND order_id IS NOT NULL AND customer_id IS NOT NULL
        AND payment_method IS NOT NULL AND amount_minor IS NOT NULL AND currency IS NOT NULL AND status IS NOT NULL
        AND captured_minor IS NOT NULL AND refunded_minor IS NOT NULL AND refunds IS NOT NULL))
);
CREATE INDEX payments_by_order ON payments (order_id, payment_id);
CREATE INDEX payments_by_customer ON payments (customer_id, payment_id);
CREATE INDEX payments_by_status ON payments (status, payment_id);
-- One refund key, one payment.
CREATE TABLE payment_refund_keys (
    refund_key TEXT NOT NULL PRIMARY KEY,
    step_key TEXT NOT NULL REFERENCES payments (step_key)
);
",
};

/// SQLite cannot change a check, so the table is written anew. One process has the file, so old code does not run against it.
const AUTHORIZATIONS: Migration = Migration {
    version: 2,
    description: "authorizations",
    postgres: None,
    sql: "
CREATE TABLE payments_2 (
    step_key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'tombstone')),
    payment_id TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL CHECK (version >= 1),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    closed_at BIGINT,
    fingerprint TEXT,
    order_id TEXT,
    customer_id TEXT,
    payment_method TEXT,
    amount_minor BIGINT CHECK (amount_minor > 0),
    currency TEXT,
    status TEXT CHECK (status IN ('pending', 'authorized', 'captured', 'partially_refunded', 'refunded', 'declined', 'voided')),
    decline_reason TEXT,
    receipt TEXT,
    captured_at BIGINT,
    captured_minor BIGINT CHECK (captured_minor >= 0 AND captured_minor <= amount_minor),
    refunded_minor BIGINT CHECK (refunded_minor >= 0 AND refunded_minor <= captured_minor),
    refunds TEXT,
    mode TEXT CHECK (mode = 'authorize'),
    hold TEXT,
    CHECK (status <> 'authorized' OR (mode IS NOT NULL AND hold IS NOT NULL AND captured_minor = 0)),
    CHECK (kind <> 'tombstone' OR (closed_at IS NOT NULL AND status IS NULL AND amount_minor IS NULL)),
    CHECK (kind <> 'payment' OR (fingerprint IS NOT NULL AND order_id IS NOT NULL AND customer_id IS NOT NULL
        AND payment_method IS NOT NULL AND amount_minor IS NOT NULL AND currency IS NOT NULL AND status IS NOT NULL
        AND captured_minor IS NOT NULL AND refunded_minor IS NOT NULL AND refunds IS NOT NULL))
);
INSERT INTO payments_2 (step_key, kind, payment_id, version, created_at, updated_at, closed_at, fingerprint, order_id,
    customer_id, payment_method, amount_minor, currency, status, decline_reason, receipt, captured_at, captured_minor,
    refunded_minor, refunds)
SELECT step_key, kind, payment_id, version, created_at, updated_at, closed_at, fingerprint, order_id, customer_id,
    payment_method, amount_minor, currency, status, decline_reason, receipt, captured_at, captured_minor, refunded_minor,
    refunds FROM payments;
-- One key, one payment: of a refund, and of what ends a hold.
CREATE TABLE payment_effect_keys (
    kind TEXT NOT NULL CHECK (kind IN ('refund', 'ending')),
    effect_key TEXT NOT NULL,
    step_key TEXT NOT NULL REFERENCES payments_2 (step_key),
    PRIMARY KEY (kind, effect_key)
);
INSERT INTO payment_effect_keys (kind, effect_key, step_key) SELECT 'refund', refund_key, step_key FROM payment_refund_keys;
DROP TABLE payment_refund_keys;
DROP TABLE payments;
-- References follow the name.
ALTER TABLE payments_2 RENAME TO payments;
CREATE INDEX payments_by_order ON payments (order_id, payment_id);
CREATE INDEX payments_by_customer ON payments (customer_id, payment_id);
CREATE INDEX payments_by_status ON payments (status, payment_id);
",
};

/// The outbox is a table here, since a transaction spans them; it is empty but for the moment until an event is relayed.
const WEBHOOKS: Migration = Migration {
    version: 3,
    description: "webhooks",
    postgres: None,
    sql: "
CREATE TABLE webhook_outbox (
    event_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('payment.captured', 'payment.refunded', 'payment.declined')),
    at BIGINT NOT NULL,
    payment_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    body TEXT NOT NULL CHECK (body <> '')
);
CREATE TABLE webhook_deliveries (
    delivery_id TEXT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('payment.captured', 'payment.refunded', 'payment.declined')),
    payment_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    due_at BIGINT NOT NULL,
    leased BIGINT NOT NULL CHECK (leased IN (0, 1)),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    tries BIGINT NOT NULL CHECK (tries >= 0),
    attempted_at BIGINT,
    answer TEXT,
    done_at BIGINT,
    CHECK ((state = 'pending') = (done_at IS NULL))
);
-- Only what is pending is looked for by time: these stay small, however much was delivered.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, due_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_oldest ON webhook_deliveries (endpoint, began_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (state, delivery_id);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint, delivery_id);
CREATE INDEX webhook_deliveries_by_order ON webhook_deliveries (order_id, delivery_id);
CREATE INDEX webhook_deliveries_by_end ON webhook_deliveries (done_at) WHERE done_at IS NOT NULL;
",
};

const BY_TIME: Migration = Migration {
    version: 4,
    description: "payments by time",
    postgres: None,
    sql: "CREATE INDEX payments_by_time ON payments (created_at, payment_id);",
};

/// The document as JSON instead of a column for each of its fields: as it is written in MongoDB, absent fields absent. A value that was
/// spoilt by hand stays as it is; a row that makes no document (a BLOB in it, no list of refunds) stops the migration, and nothing is changed.
const DOCUMENTS: Migration = Migration {
    version: 5,
    description: "payments as documents",
    postgres: None,
    sql: "
CREATE TABLE payments_5 (
    step_key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'tombstone')),
    payment_id TEXT NOT NULL UNIQUE,
    version BIGINT NOT NULL CHECK (version >= 1),
    created_at BIGINT NOT NULL,
    order_id TEXT,
    customer_id TEXT,
    status TEXT CHECK (status IN ('pending', 'authorized', 'captured', 'partially_refunded', 'refunded', 'declined', 'voided')),
    document TEXT NOT NULL CHECK (json_valid(document)),
    -- The columns say what the document says.
    CHECK (step_key IS document ->> '$._id' AND kind IS document ->> '$.kind' AND payment_id IS document ->> '$.payment_id'
        AND version IS document ->> '$.version' AND created_at IS document ->> '$.created_at'
        AND order_id IS document ->> '$.order_id' AND customer_id IS document ->> '$.customer_id'
        AND status IS document ->> '$.status'),
    CHECK (document ->> '$.amount_minor' > 0),
    CHECK (document ->> '$.captured_minor' BETWEEN 0 AND document ->> '$.amount_minor'),
    CHECK (document ->> '$.refunded_minor' BETWEEN 0 AND document ->> '$.captured_minor'),
    CHECK (status <> 'authorized' OR (document ->> '$.mode' IS 'authorize' AND document ->> '$.hold' IS NOT NULL
        AND document ->> '$.captured_minor' = 0)),
    CHECK (kind <> 'tombstone' OR (document ->> '$.closed_at' IS NOT NULL AND status IS NULL
        AND document ->> '$.amount_minor' IS NULL)),
    CHECK (kind <> 'payment' OR (order_id IS NOT NULL AND customer_id IS NOT NULL AND status IS NOT NULL
        AND document ->> '$.fingerprint' IS NOT NULL AND document ->> '$.payment_method' IS NOT NULL
        AND document ->> '$.amount_minor' IS NOT NULL AND document ->> '$.currency' IS NOT NULL
        AND document ->> '$.captured_minor' IS NOT NULL AND document ->> '$.refunded_minor' IS NOT NULL
        AND document ->> '$.refunds' IS NOT NULL))
);
INSERT INTO payments_5 (step_key, kind, payment_id, version, created_at, order_id, customer_id, status, document)
SELECT step_key, kind, payment_id, version, created_at, order_id, customer_id, status,
    -- Merging into nothing drops what is NULL.
    json_patch('{}', json_object('_id', step_key, 'kind', kind, 'payment_id', payment_id, 'version', version,
        'created_at', created_at, 'updated_at', updated_at, 'closed_at', closed_at, 'fingerprint', fingerprint,
        'order_id', order_id, 'customer_id', customer_id, 'payment_method', payment_method, 'amount_minor', amount_minor,
        'currency', currency, 'mode', mode, 'status', status, 'decline_reason', decline_reason, 'receipt', receipt,
        'captured_at', captured_at, 'captured_minor', captured_minor, 'refunded_minor', refunded_minor,
        'refunds', CASE WHEN json_valid(refunds) THEN json(refunds) ELSE refunds END,
        'hold', CASE WHEN json_valid(hold) THEN json(hold) ELSE hold END))
FROM payments;
CREATE TABLE payment_effect_keys_5 (
    kind TEXT NOT NULL CHECK (kind IN ('refund', 'ending')),
    effect_key TEXT NOT NULL,
    step_key TEXT NOT NULL REFERENCES payments_5 (step_key),
    PRIMARY KEY (kind, effect_key)
);
INSERT INTO payment_effect_keys_5 SELECT kind, effect_key, step_key FROM payment_effect_keys;
DROP TABLE payment_effect_keys;
DROP TABLE payments;
-- References follow the name.
ALTER TABLE payments_5 RENAME TO payments;
ALTER TABLE payment_effect_keys_5 RENAME TO payment_effect_keys;
CREATE INDEX payments_by_order ON payments (order_id, payment_id);
CREATE INDEX payments_by_customer ON payments (customer_id, payment_id);
CREATE INDEX payments_by_status ON payments (status, payment_id);
CREATE INDEX payments_by_time ON payments (created_at, payment_id);
-- For queries across payments: one that a hand has spoilt does not end them.
CREATE VIEW payment_documents AS SELECT step_key, kind, payment_id, order_id, status,
    CASE WHEN json_valid(document) THEN document ELSE '{}' END AS document FROM payments;
",
};
