//! Refresh families. A rotation locks its family's row, decides by the pure rule, and writes: so of any number that present
//! the same token at once exactly one rotates, and none slips past a revocation.

use uuid::Uuid;

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError, Tx};

use super::{principals::read_scopes, revocations};
use crate::{
    domain::refresh::{Decision, Family, RefreshPolicy, decide},
    ports::{Rotated, Rotation, TokenName},
};

/// A family that is over tells nothing any more: its tokens are refused with or without it.
pub(super) const PURGE: &str = "DELETE FROM refresh_families WHERE family_id IN
    (SELECT family_id FROM refresh_families WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

pub(super) const PURGE_ACCESS: &str = "DELETE FROM family_access_tokens WHERE jti IN
    (SELECT jti FROM family_access_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

const SELECT: &str =
    "SELECT family_id, username, client_id, scopes, generation, rotated_at, created_at, expires_at, revoked_at
    FROM refresh_families WHERE family_id = $1";

type FamilyRow = (String, String, String, String, i64, i64, i64, i64, Option<i64>);

pub(super) async fn begin(database: &Database, family: &Family, access: &TokenName) -> Result<(), SqlError> {
    let mut tx = database.begin().await?;
    sqlx::query(
        "INSERT INTO refresh_families
             (family_id, username, client_id, scopes, generation, rotated_at, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL)",
    )
    .bind(family.family_id.to_string())
    .bind(&family.username)
    .bind(&family.client_id)
    .bind(family.scopes.to_string())
    .bind(i64::from(family.generation))
    .bind(family.rotated_at.as_micros())
    .bind(family.created_at.as_micros())
    .bind(family.expires_at.as_micros())
    .execute(&mut *tx)
    .await?;
    add_access_in_tx(&mut tx, family.family_id, access).await?;
    tx.commit().await?;
    Ok(())
}

pub(super) async fn read(database: &Database, family_id: Uuid) -> Result<Option<Family>, SqlError> {
    let row: Option<FamilyRow> =
        sqlx::query_as(SELECT).bind(family_id.to_string()).fetch_optional(database.reader()).await?;
    row.map(from_row).transpose()
}

pub(super) async fn rotate(
    database: &Database,
    rotation: Rotation<'_>,
    policy: &RefreshPolicy,
    now: Timestamp,
) -> Result<Rotated, SqlError> {
    let family_id = rotation.presented.family_id;
    let mut tx = database.begin().await?;
    let locking = sqlx::AssertSqlSafe(format!("{SELECT}{}", database.dialect().for_update()));
    let row: Option<FamilyRow> = sqlx::query_as(locking).bind(family_id.to_string()).fetch_optional(&mut *tx).await?;
    let Some(family) = row.map(from_row).transpose()? else { return Ok(Rotated::Unknown) };
    let rotated = match decide(&family, rotation.presented.generation, rotation.client_id, policy, now) {
        Decision::Rotate { generation, expires_at } => {
            sqlx::query(
                "UPDATE refresh_families SET generation = $1, rotated_at = $2, expires_at = $3 WHERE family_id = $4",
            )
            .bind(i64::from(generation))
            .bind(now.as_micros())
            .bind(expires_at.as_micros())
            .bind(family_id.to_string())
            .execute(&mut *tx)
            .await?;
            add_access_in_tx(&mut tx, family_id, rotation.access).await?;
            Rotated::Current { generation, repeated: false }
        }
        Decision::Repeat => {
            add_access_in_tx(&mut tx, family_id, rotation.access).await?;
            Rotated::Current { generation: family.generation, repeated: true }
        }
        Decision::Reused => Rotated::Reused(revoke_in_tx(&mut tx, family_id, now).await?),
        Decision::Refused(refusal) => return Ok(Rotated::Refused(refusal)),
    };
    tx.commit().await?;
    Ok(rotated)
}

pub(super) async fn revoke(database: &Database, family_id: Uuid, now: Timestamp) -> Result<Vec<TokenName>, SqlError> {
    let mut tx = database.begin().await?;
    let revoked = revoke_in_tx(&mut tx, family_id, now).await?;
    tx.commit().await?;
    Ok(revoked)
}

async fn revoke_in_tx(tx: &mut Tx, family_id: Uuid, now: Timestamp) -> Result<Vec<TokenName>, SqlError> {
    // Takes the row's lock even where it changes nothing, so that a rotation in flight is finished and its token is seen below.
    sqlx::query("UPDATE refresh_families SET revoked_at = COALESCE(revoked_at, $1) WHERE family_id = $2")
        .bind(now.as_micros())
        .bind(family_id.to_string())
        .execute(&mut **tx)
        .await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT jti, expires_at FROM family_access_tokens WHERE family_id = $1 AND expires_at > $2 ORDER BY jti",
    )
    .bind(family_id.to_string())
    .bind(now.as_micros())
    .fetch_all(&mut **tx)
    .await?;
    let tokens: Vec<TokenName> = rows.into_iter().map(revocations::from_row).collect();
    for token in &tokens {
        revocations::add_in_tx(tx, token, now).await?;
    }
    Ok(tokens)
}

async fn add_access_in_tx(tx: &mut Tx, family_id: Uuid, access: &TokenName) -> Result<(), SqlError> {
    sqlx::query("INSERT INTO family_access_tokens (jti, family_id, expires_at) VALUES ($1, $2, $3)")
        .bind(&access.jti)
        .bind(family_id.to_string())
        .bind(access.expires_at.as_micros())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn from_row(row: FamilyRow) -> Result<Family, SqlError> {
    let (family_id, username, client_id, scopes, generation, rotated_at, created_at, expires_at, revoked_at) = row;
    Ok(Family {
        family_id: Uuid::try_parse(&family_id).map_err(|_| SqlError::Corrupt { what: "family id" })?,
        username,
        client_id,
        scopes: read_scopes(&scopes)?,
        generation: u32::try_from(generation).map_err(|_| SqlError::Corrupt { what: "generation" })?,
        rotated_at: Timestamp::from_micros(rotated_at),
        created_at: Timestamp::from_micros(created_at),
        expires_at: Timestamp::from_micros(expires_at),
        revoked: revoked_at.is_some(),
    })
}
