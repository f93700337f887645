//! Tables. Forwards only; expand before contract.

use amends_sql::{Migration, Schema};

/// The ledger and the statement.
pub const SCHEMA: Schema = Schema { component: "acquirer", migrations: &[LEDGER] };

const LEDGER: Migration = Migration {
    version: 1,
    description: "ledger",
    postgres: None,
    // One key, one movement: a mistake in the rules stops here instead of becoming money.
    sql: "
CREATE TABLE acquirer_lines (
    idempotency_key TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL CHECK (version >= 1),
    line TEXT NOT NULL
);
CREATE TABLE acquirer_movements (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 1),
    at BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('capture', 'refund')),
    idempotency_key TEXT NOT NULL,
    charge_key TEXT NOT NULL REFERENCES acquirer_lines (idempotency_key),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    receipt TEXT NOT NULL,
    UNIQUE (idempotency_key, kind)
);
-- One charge is captured once.
CREATE UNIQUE INDEX acquirer_captures ON acquirer_movements (charge_key) WHERE kind = 'capture';
",
};
