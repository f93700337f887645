//! Refresh families, which are the sessions. A rotation locks its family's row, decides by the pure rule, and writes: so of any number that present
//! the same token at once exactly one rotates, and none slips past a revocation.

use uuid::Uuid;

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError, Tx};

use amends_auth::session_name;

use super::{principals::read_scopes, revocations};
use crate::{
    domain::refresh::{Decision, Family, IssuedAccess, RefreshPolicy, decide},
    ports::{Revocation, Rotated, Rotation, accepted_until},
};

/// A family that is over tells nothing any more: its tokens are refused with or without it.
pub(super) const PURGE: &str = "DELETE FROM refresh_families WHERE family_id IN
    (SELECT family_id FROM refresh_families WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

pub(super) const PURGE_ACCESS: &str = "DELETE FROM family_access_tokens WHERE jti IN
    (SELECT jti FROM family_access_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)";

const SELECT: &str =
    "SELECT family_id, username, client_id, scopes, generation, rotated_at, created_at, expires_at, revoked_at,
        password_of, access_generation, access_jti, access_iat, access_exp, access_scopes
    FROM refresh_families WHERE family_id = $1";

#[derive(sqlx::FromRow)]
pub(super) struct FamilyRow {
    family_id: String,
    username: String,
    client_id: String,
    scopes: String,
    generation: i64,
    rotated_at: i64,
    created_at: i64,
    expires_at: i64,
    revoked_at: Option<i64>,
    password_of: Option<i64>,
    access_generation: Option<i64>,
    access_jti: Option<String>,
    access_iat: Option<i64>,
    access_exp: Option<i64>,
    access_scopes: Option<String>,
}

pub(super) async fn begin(database: &Database, family: &Family) -> Result<(), SqlError> {
    let mut tx = database.begin().await?;
    sqlx::query(
        "INSERT INTO refresh_families
             (family_id, username, client_id, scopes, generation, rotated_at, created_at, expires_at, revoked_at, password_of)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, $9)",
    )
    .bind(family.family_id.to_string())
    .bind(&family.username)
    .bind(&family.client_id)
    .bind(family.scopes.to_string())
    .bind(i64::from(family.generation))
    .bind(family.rotated_at.as_micros())
    .bind(family.created_at.as_micros())
    .bind(family.expires_at.as_micros())
    .bind(family.password_of.map(Timestamp::as_micros))
    .execute(&mut *tx)
    .await?;
    if let Some(access) = &family.access {
        put_access_in_tx(&mut tx, family.family_id, family.generation, access).await?;
    }
    tx.commit().await?;
    Ok(())
}

pub(super) async fn read(database: &Database, family_id: Uuid) -> Result<Option<Family>, SqlError> {
    let row: Option<FamilyRow> =
        sqlx::query_as(SELECT).bind(family_id.to_string()).fetch_optional(database.reader()).await?;
    row.map(family_of).transpose()
}

pub(super) async fn rotate(
    database: &Database,
    rotation: Rotation<'_>,
    policy: &RefreshPolicy,
    now: Timestamp,
) -> Result<Rotated, SqlError> {
    let family_id = rotation.presented.family_id;
    if let Some(known) = rotation.known
        && known.family_id == family_id
        && let Decision::Rotate { generation, expires_at } =
            decide(known, rotation.presented.generation, rotation.client_id, policy, now)
        && swap(database, known, generation, expires_at, rotation.access, now).await?
    {
        return Ok(Rotated::Current { generation, access: rotation.access.clone(), repeated: false });
    }
    let mut tx = database.begin().await?;
    let Some(family) = lock_in_tx(database, &mut tx, family_id).await? else { return Ok(Rotated::Unknown) };
    let rotated = match decide(&family, rotation.presented.generation, rotation.client_id, policy, now) {
        Decision::Rotate { generation, expires_at } => {
            rotated(&family, generation, expires_at, rotation.access, now).execute(&mut *tx).await?;
            Rotated::Current { generation, access: rotation.access.clone(), repeated: false }
        }
        Decision::Repeat => {
            let access = if let Some(access) = family.living_access(now) {
                access.clone()
            } else {
                put_access_in_tx(&mut tx, family_id, family.generation, rotation.access).await?;
                rotation.access.clone()
            };
            Rotated::Current { generation: family.generation, access, repeated: true }
        }
        Decision::Reused => Rotated::Reused(revoke_in_tx(&mut tx, &family, rotation.revoked_until, now).await?),
        Decision::Refused(refusal) => return Ok(Rotated::Refused(refusal)),
    };
    tx.commit().await?;
    Ok(rotated)
}

/// The rotation of a family that was read a moment ago, if it is as it was: all that a decision rests on changes only with the generation,
/// or by a revocation.
async fn swap(
    database: &Database,
    known: &Family,
    generation: u32,
    expires_at: Timestamp,
    access: &IssuedAccess,
    now: Timestamp,
) -> Result<bool, SqlError> {
    let done = rotated(known, generation, expires_at, access, now).execute(database.writer()).await?;
    Ok(done.rows_affected() == 1)
}

fn rotated<'q>(
    family: &Family,
    generation: u32,
    expires_at: Timestamp,
    access: &IssuedAccess,
    now: Timestamp,
) -> sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments> {
    sqlx::query(
        "UPDATE refresh_families SET generation = $1, rotated_at = $2, expires_at = $3, access_generation = $1,
            access_jti = $4, access_iat = $5, access_exp = $6, access_scopes = $7
         WHERE family_id = $8 AND generation = $9 AND revoked_at IS NULL",
    )
    .bind(i64::from(generation))
    .bind(now.as_micros())
    .bind(expires_at.as_micros())
    .bind(access.jti.clone())
    .bind(access.iat)
    .bind(access.exp)
    .bind(access.scopes.to_string())
    .bind(family.family_id.to_string())
    .bind(i64::from(family.generation))
}

pub(super) async fn revoke(
    database: &Database,
    family_id: Uuid,
    until: Timestamp,
    now: Timestamp,
) -> Result<Option<Revocation>, SqlError> {
    let mut tx = database.begin().await?;
    // The row's lock, so that a rotation in flight is finished and what it issued is seen.
    let Some(family) = lock_in_tx(database, &mut tx, family_id).await? else { return Ok(None) };
    let revoked = revoke_in_tx(&mut tx, &family, until, now).await?;
    tx.commit().await?;
    Ok(Some(revoked))
}

async fn lock_in_tx(database: &Database, tx: &mut Tx, family_id: Uuid) -> Result<Option<Family>, SqlError> {
    let locking = sqlx::AssertSqlSafe(format!("{SELECT}{}", database.dialect().for_update()));
    let row: Option<FamilyRow> = sqlx::query_as(locking).bind(family_id.to_string()).fetch_optional(&mut **tx).await?;
    row.map(family_of).transpose()
}

/// One row, however many tokens the session has.
async fn revoke_in_tx(tx: &mut Tx, family: &Family, until: Timestamp, now: Timestamp) -> Result<Revocation, SqlError> {
    sqlx::query("UPDATE refresh_families SET revoked_at = COALESCE(revoked_at, $1) WHERE family_id = $2")
        .bind(now.as_micros())
        .bind(family.family_id.to_string())
        .execute(&mut **tx)
        .await?;
    // The clock may have been set back since the last token was issued.
    let last = family.access.as_ref().map(|access| accepted_until(access.exp));
    let revoked =
        Revocation { name: session_name(&family.sid()), expires_at: last.map_or(until, |last| last.max(until)) };
    revocations::add_in_tx(tx, &revoked, now).await?;
    Ok(revoked)
}

async fn put_access_in_tx(
    tx: &mut Tx,
    family_id: Uuid,
    generation: u32,
    access: &IssuedAccess,
) -> Result<(), SqlError> {
    sqlx::query(
        "UPDATE refresh_families SET access_generation = $1, access_jti = $2, access_iat = $3, access_exp = $4, access_scopes = $5
         WHERE family_id = $6",
    )
    .bind(i64::from(generation))
    .bind(&access.jti)
    .bind(access.iat)
    .bind(access.exp)
    .bind(access.scopes.to_string())
    .bind(family_id.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) fn family_of(row: FamilyRow) -> Result<Family, SqlError> {
    let access = match (row.access_generation, row.access_jti, row.access_iat, row.access_exp, row.access_scopes) {
        (Some(generation), Some(jti), Some(iat), Some(exp), Some(scopes)) if generation == row.generation => {
            Some(IssuedAccess { jti, iat, exp, scopes: read_scopes(&scopes)? })
        }
        _ => None,
    };
    Ok(Family {
        family_id: Uuid::try_parse(&row.family_id).map_err(|_| SqlError::Corrupt { what: "family id" })?,
        username: row.username,
        client_id: row.client_id,
        scopes: read_scopes(&row.scopes)?,
        generation: u32::try_from(row.generation).map_err(|_| SqlError::Corrupt { what: "generation" })?,
        rotated_at: Timestamp::from_micros(row.rotated_at),
        created_at: Timestamp::from_micros(row.created_at),
        expires_at: Timestamp::from_micros(row.expires_at),
        revoked: row.revoked_at.is_some(),
        password_of: row.password_of.map(Timestamp::from_micros),
        access,
    })
}
