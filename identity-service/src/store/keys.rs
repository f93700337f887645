//! Signing keys, shared by all replicas.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError};

use crate::{
    domain::key_schedule::{KeyTimes, NewKey},
    ports::StoredKey,
};

/// The newest hundred stay, two years of them as keys rotate by default: a clock that is far ahead for a while must not take away keys
/// that are needed when it is right again. Of the others a key goes a day after it was withdrawn.
pub(super) const PURGE: &str = "DELETE FROM signing_keys WHERE kid IN
    (SELECT kid FROM signing_keys WHERE retire_at < $1 - 86400000000
         AND sequence <= (SELECT MAX(sequence) FROM signing_keys) - 100 ORDER BY sequence LIMIT $2)";

type KeyRow = (String, i64, String, String, i64, i64, Option<i64>);

pub(super) async fn all(database: &Database) -> Result<Vec<StoredKey>, SqlError> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT kid, sequence, public_key, sealed_private_key, published_at, active_from, retire_at
         FROM signing_keys ORDER BY sequence",
    )
    .fetch_all(database.reader())
    .await?;
    let read = |(kid, sequence, x, sealed_private, published_at, active_from, retire_at): KeyRow| StoredKey {
        kid,
        x,
        sealed_private,
        times: KeyTimes {
            sequence,
            published_at: Timestamp::from_micros(published_at),
            active_from: Timestamp::from_micros(active_from),
            retire_at: retire_at.map(Timestamp::from_micros),
        },
    };
    Ok(rows.into_iter().map(read).collect())
}

pub(super) async fn add(database: &Database, key: &StoredKey, plan: &NewKey) -> Result<bool, SqlError> {
    let mut tx = database.begin().await?;
    let added = sqlx::query(
        "INSERT INTO signing_keys (kid, sequence, public_key, sealed_private_key, published_at, active_from, retire_at)
         VALUES ($1, $2, $3, $4, $5, $6, NULL) ON CONFLICT (sequence) DO NOTHING",
    )
    .bind(&key.kid)
    .bind(plan.times.sequence)
    .bind(&key.x)
    .bind(&key.sealed_private)
    .bind(plan.times.published_at.as_micros())
    .bind(plan.times.active_from.as_micros())
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if added == 0 {
        return Ok(false);
    }
    if let Some(retire_at) = plan.predecessor_retires_at {
        sqlx::query("UPDATE signing_keys SET retire_at = $1 WHERE sequence = $2 AND retire_at IS NULL")
            .bind(retire_at.as_micros())
            .bind(plan.times.sequence - 1)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(true)
}

pub(super) async fn reseal(database: &Database, kid: &str, sealed_private: &str) -> Result<(), SqlError> {
    sqlx::query("UPDATE signing_keys SET sealed_private_key = $1 WHERE kid = $2")
        .bind(sealed_private)
        .bind(kid)
        .execute(database.writer())
        .await?;
    Ok(())
}
