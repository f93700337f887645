//! The journal's tables. Forwards only, expand before contract: old code runs against the new schema for a while.

use amends_sql::{Migration, Schema};

/// The journal's schema. Run its migrations in the host's own database, beside the host's, so that a saga starts in the same
/// transaction as what it is about.
pub const SCHEMA: Schema = Schema { component: "saga", migrations: &[JOURNAL, FIRST_ENTRY] };

const JOURNAL: Migration = Migration {
    version: 1,
    description: "journal",
    postgres: None,
    sql: "
CREATE TABLE sagas (
    id TEXT NOT NULL PRIMARY KEY,
    definition TEXT NOT NULL,
    version BIGINT NOT NULL,
    subject TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'unwinding', 'completed', 'unwound', 'parked')),
    step TEXT,
    input TEXT NOT NULL,
    traceparent TEXT,
    failure TEXT,
    parked TEXT,
    request TEXT,
    seq BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    owner TEXT,
    wake_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT
);
-- What is unfinished is found through these, however many finished sagas there are.
CREATE INDEX sagas_active ON sagas (owner) WHERE status IN ('running', 'unwinding');
CREATE INDEX sagas_parked ON sagas (id) WHERE status = 'parked';
CREATE INDEX sagas_unwound ON sagas (id) WHERE status = 'unwound';
CREATE INDEX sagas_requests ON sagas (id) WHERE request IS NOT NULL;
-- For retention, and for finding the sagas of one subject.
CREATE INDEX sagas_finished ON sagas (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX sagas_subject ON sagas (subject);

-- One row an append, not an event: a happy saga writes one. `seq` is that of the first event in it.
CREATE TABLE saga_events (
    saga_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    events TEXT NOT NULL,
    PRIMARY KEY (saga_id, seq)
);

CREATE TABLE saga_replicas (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at BIGINT NOT NULL,
    beats BIGINT NOT NULL
);",
};

/// A saga's first entry is in its row, and a happy saga has no other. Later ones are rows of a table that no longer has its old name, so that
/// an older program, which would pass over the first, cannot write; it still reads, through a view of both.
const FIRST_ENTRY: Migration = Migration {
    version: 2,
    description: "the first entry in the saga",
    postgres: None,
    sql: "
ALTER TABLE sagas ADD COLUMN events TEXT;
ALTER TABLE saga_events RENAME TO saga_entries;
CREATE VIEW saga_events (saga_id, seq, events) AS
    SELECT id, CAST(1 AS BIGINT), events FROM sagas WHERE events IS NOT NULL
    UNION ALL SELECT saga_id, seq, events FROM saga_entries;",
};
