//! Idempotency keys: claimed in the order's own transaction, given back only by a saga that undid everything because a
//! dependency was missing.

use amends_primitives::{OrderId, Timestamp};
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

/// Claims the key for an order, or says who has it. A twin whose transaction is still open is waited for: PostgreSQL's unique
/// index does that, and SQLite has one writer.
pub(super) async fn claim_in_tx(
    tx: &mut Tx,
    customer: &CustomerId,
    key: &IdempotencyKey,
    mine: &Claim,
    expires_at: Timestamp,
) -> Result<Option<Claim>, SqlError> {
    let claimed = sqlx::query(
        "INSERT INTO idempotency_keys (customer_id, idempotency_key, fingerprint, order_id, expires_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (customer_id, idempotency_key) DO NOTHING",
    )
    .bind(customer.as_str())
    .bind(key.as_str())
    .bind(mine.fingerprint.as_str())
    .bind(mine.order.to_string())
    .bind(expires_at.as_micros())
    .execute(&mut **tx)
    .await?
    .rows_affected();
    if claimed == 1 {
        return Ok(None);
    }
    match sqlx::query(FIND).bind(customer.as_str()).bind(key.as_str()).fetch_optional(&mut **tx).await? {
        Some(row) => read(&row).map(Some),
        // Given back or swept between the two statements: as good as a lost race.
        None => Err(SqlError::Contended(sqlx::Error::RowNotFound)),
    }
}

/// Gives the key back, so that the same request may be tried anew.
pub(super) async fn release_in_tx(tx: &mut Tx, customer: &str, key: &str, order: OrderId) -> Result<(), SqlError> {
    sqlx::query("DELETE FROM idempotency_keys WHERE customer_id = $1 AND idempotency_key = $2 AND order_id = $3")
        .bind(customer)
        .bind(key)
        .bind(order.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

const FIND: &str = "SELECT fingerprint, order_id FROM idempotency_keys
    WHERE customer_id = $1 AND idempotency_key = $2";

fn read(row: &AnyRow) -> Result<Claim, SqlError> {
    let corrupt = |_| SqlError::Corrupt { what: "idempotency_keys.order_id" };
    Ok(Claim {
        fingerprint: Fingerprint::stored(row.try_get("fingerprint")?),
        order: row.try_get::<String, _>("order_id")?.parse().map_err(corrupt)?,
    })
}
