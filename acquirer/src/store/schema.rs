//! Tables. Forwards only; expand before contract.

use amends_sql::{Migration, Schema};

/// The ledger and the statement.
pub const SCHEMA: Schema = Schema { component: "acquirer", migrations: &[LEDGER, FEWER_TREES] };

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

/// A line is found by its key and a movement by its number: as keys of their tables, each is in one b-tree and no longer in two. One process
/// has the file, so old code does not run against it.
const FEWER_TREES: Migration = Migration {
    version: 2,
    description: "fewer b-trees",
    postgres: None,
    sql: "
CREATE TABLE acquirer_lines_2 (
    idempotency_key TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL CHECK (version >= 1),
    line TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO acquirer_lines_2 (idempotency_key, version, line)
    SELECT idempotency_key, version, line FROM acquirer_lines ORDER BY idempotency_key;
CREATE TABLE acquirer_movements_2 (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 1),
    at BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('capture', 'refund')),
    idempotency_key TEXT NOT NULL,
    charge_key TEXT NOT NULL REFERENCES acquirer_lines_2 (idempotency_key),
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    currency TEXT NOT NULL,
    receipt TEXT NOT NULL,
    UNIQUE (idempotency_key, kind)
);
INSERT INTO acquirer_movements_2 (seq, at, kind, idempotency_key, charge_key, amount_minor, currency, receipt)
    SELECT seq, at, kind, idempotency_key, charge_key, amount_minor, currency, receipt FROM acquirer_movements ORDER BY seq;
DROP TABLE acquirer_movements;
DROP TABLE acquirer_lines;
-- References follow the name.
ALTER TABLE acquirer_lines_2 RENAME TO acquirer_lines;
ALTER TABLE acquirer_movements_2 RENAME TO acquirer_movements;
CREATE UNIQUE INDEX acquirer_captures ON acquirer_movements (charge_key) WHERE kind = 'capture';
",
};
