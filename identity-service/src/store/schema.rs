//! The tables. Times are microseconds since 1970, flags 0 or 1, ids and lists text.

use amends_sql::{Migration, Schema};

/// The schema of this service's database.
pub const SCHEMA: Schema = Schema { component: "identity", migrations: MIGRATIONS };

const MIGRATIONS: &[Migration] = &[FIRST, SESSIONS];

const FIRST: Migration = Migration {
    version: 1,
    description: "users, clients, keys, families, revocations",
    postgres: None,
    sql: "
CREATE TABLE users (
    username TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    scopes TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    password_changed_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE clients (
    client_id TEXT PRIMARY KEY,
    secret_mac TEXT,
    scopes TEXT NOT NULL,
    grants TEXT NOT NULL,
    disabled BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL UNIQUE,
    public_key TEXT NOT NULL,
    sealed_private_key TEXT NOT NULL,
    published_at BIGINT NOT NULL,
    active_from BIGINT NOT NULL,
    retire_at BIGINT
);
CREATE TABLE refresh_families (
    family_id TEXT PRIMARY KEY,
    username TEXT NOT NULL,
    client_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX refresh_families_by_end ON refresh_families (expires_at);
CREATE TABLE family_access_tokens (
    jti TEXT PRIMARY KEY,
    family_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX family_access_tokens_by_family ON family_access_tokens (family_id);
CREATE INDEX family_access_tokens_by_end ON family_access_tokens (expires_at);
CREATE TABLE revoked_tokens (
    jti TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    shared BIGINT NOT NULL
);
CREATE INDEX revoked_tokens_by_end ON revoked_tokens (expires_at);
CREATE INDEX revoked_tokens_unshared ON revoked_tokens (revoked_at) WHERE shared = 0;
CREATE TABLE login_failures (
    pair TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX login_failures_by_age ON login_failures (last_at);
",
};

/// Which password a session began with, by `users.password_changed_at`; and the access token of the newest generation, so that a lost answer is given again as it was; all or none of it is there, and it counts
/// only where `access_generation` is `generation`: a replica of the release before rotates without it. From here on tokens name their
/// session, and a session is revoked by one row in `revoked_tokens`, whose `jti` is then the session's name. `family_access_tokens` is
/// written no more; what is in it is about tokens of the release before, and a later release drops it.
const SESSIONS: Migration = Migration {
    version: 2,
    description: "the access token of a session, and sessions by their revocation",
    postgres: None,
    sql: "
ALTER TABLE refresh_families ADD COLUMN password_of BIGINT;
ALTER TABLE refresh_families ADD COLUMN access_generation BIGINT;
ALTER TABLE refresh_families ADD COLUMN access_jti TEXT;
ALTER TABLE refresh_families ADD COLUMN access_iat BIGINT;
ALTER TABLE refresh_families ADD COLUMN access_exp BIGINT;
ALTER TABLE refresh_families ADD COLUMN access_scopes TEXT;
CREATE INDEX refresh_families_by_revocation ON refresh_families (revoked_at) WHERE revoked_at IS NOT NULL;
",
};
