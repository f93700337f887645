//! Idempotency keys: a key is a part of the order that was placed under it, claimed with the order's row by a unique index. It is given
//! back only by a saga that undid everything because a dependency was missing.

use amends_sql::{Pool, SqlError, Tx};
use sqlx::{Row as _, any::AnyRow};

use crate::{
    domain::CustomerId,
    ports::{Claim, Fingerprint, IdempotencyKey},
};

/// The claim on a key. A key holds until it is swept, so that one never names two orders while the first is still in motion.
pub(super) async fn find(pool: &Pool, customer: &CustomerId, key: &IdempotencyKey) -> Result<Option<Claim>, SqlError> {
    let row = sqlx::query(FIND).bind(customer.as_str()).bind(key.as_str()).fetch_optional(pool).await?;
    row.map(|row| read(&row)).transpose()
}

/// Who has a key that could not be claimed.
pub(super) async fn find_in_tx(tx: &mut Tx, customer: &CustomerId, key: &IdempotencyKey) -> Result<Claim, SqlError> {
    match sqlx::query(FIND).bind(customer.as_str()).bind(key.as_str()).fetch_optional(&mut **tx).await? {
        Some(row) => read(&row),
        // Given back or swept between the two statements: as good as a lost race.
        None => Err(SqlError::Contended(sqlx::Error::RowNotFound)),
    }
}

const FIND: &str = "SELECT key_fingerprint, id FROM orders
    WHERE customer_id = $1 AND idempotency_key = $2 AND key_fingerprint IS NOT NULL";

fn read(row: &AnyRow) -> Result<Claim, SqlError> {
    let corrupt = |_| SqlError::Corrupt { what: "orders.id" };
    Ok(Claim {
        fingerprint: Fingerprint::stored(row.try_get("key_fingerprint")?),
        order: row.try_get::<String, _>("id")?.parse().map_err(corrupt)?,
    })
}
