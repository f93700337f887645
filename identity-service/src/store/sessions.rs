//! A session with its user and a client, in one question: what every refresh asks.

use amends_sql::{Database, SqlError};
use uuid::Uuid;

use super::{
    families::{FamilyRow, family_of},
    principals::{client_of, user_of},
};
use crate::ports::Session;

const SELECT: &str =
    "SELECT f.family_id, f.username, f.client_id, f.scopes, f.generation, f.rotated_at, f.created_at, f.expires_at, f.revoked_at,
        f.password_of, f.access_generation, f.access_jti, f.access_iat, f.access_exp, f.access_scopes,
        u.username AS user_name, u.password_hash, u.scopes AS user_scopes, u.disabled AS user_disabled, u.password_changed_at,
        c.client_id AS client_name, c.secret_mac, c.scopes AS client_scopes, c.grants, c.disabled AS client_disabled
    FROM refresh_families f
    LEFT JOIN users u ON u.username = f.username
    LEFT JOIN clients c ON c.client_id = $2
    WHERE f.family_id = $1";

#[derive(sqlx::FromRow)]
struct SessionRow {
    #[sqlx(flatten)]
    family: FamilyRow,
    user_name: Option<String>,
    password_hash: Option<String>,
    user_scopes: Option<String>,
    user_disabled: Option<i64>,
    password_changed_at: Option<i64>,
    client_name: Option<String>,
    secret_mac: Option<String>,
    client_scopes: Option<String>,
    grants: Option<String>,
    client_disabled: Option<i64>,
}

pub(super) async fn read(database: &Database, family_id: Uuid, client_id: &str) -> Result<Option<Session>, SqlError> {
    let row: Option<SessionRow> =
        sqlx::query_as(SELECT).bind(family_id.to_string()).bind(client_id).fetch_optional(database.reader()).await?;
    row.map(session_of).transpose()
}

fn session_of(row: SessionRow) -> Result<Session, SqlError> {
    let user = (row.user_name, row.password_hash, row.user_scopes, row.user_disabled, row.password_changed_at);
    let user = match user {
        (Some(name), Some(hash), Some(scopes), Some(disabled), Some(changed_at)) => {
            Some(user_of((name, hash, scopes, disabled, changed_at))?)
        }
        _ => None,
    };
    let client = match (row.client_name, row.client_scopes, row.grants, row.client_disabled) {
        (Some(name), Some(scopes), Some(grants), Some(disabled)) => {
            Some(client_of((name, row.secret_mac, scopes, grants, disabled))?)
        }
        _ => None,
    };
    Ok(Session { family: family_of(row.family)?, user, client })
}
