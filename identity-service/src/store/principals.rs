//! Users and clients.

use amends_primitives::Timestamp;
use amends_sql::{Database, SqlError};

use crate::domain::{
    principal::{Client, GrantSet, User},
    scope::ScopeSet,
};

pub(super) type UserRow = (String, String, String, i64, i64);

pub(super) async fn user(database: &Database, username: &str) -> Result<Option<User>, SqlError> {
    let row: Option<UserRow> = sqlx::query_as(
        "SELECT username, password_hash, scopes, disabled, password_changed_at FROM users WHERE username = $1",
    )
    .bind(username)
    .fetch_optional(database.reader())
    .await?;
    row.map(user_of).transpose()
}

pub(super) fn user_of(row: UserRow) -> Result<User, SqlError> {
    let (username, password_hash, scopes, disabled, password_changed_at) = row;
    Ok(User {
        username,
        password_hash,
        scopes: read_scopes(&scopes)?,
        disabled: disabled != 0,
        password_changed_at: Timestamp::from_micros(password_changed_at),
    })
}

pub(super) async fn put_user(database: &Database, user: &User, now: Timestamp) -> Result<(), SqlError> {
    sqlx::query(
        "INSERT INTO users (username, password_hash, scopes, disabled, password_changed_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (username) DO UPDATE SET password_hash = excluded.password_hash, scopes = excluded.scopes,
             disabled = excluded.disabled, password_changed_at = excluded.password_changed_at, updated_at = excluded.updated_at",
    )
    .bind(&user.username)
    .bind(&user.password_hash)
    .bind(user.scopes.to_string())
    .bind(i64::from(user.disabled))
    .bind(user.password_changed_at.as_micros())
    .bind(now.as_micros())
    .execute(database.writer())
    .await?;
    Ok(())
}

pub(super) async fn rehash_user(database: &Database, username: &str, former: &str, hash: &str) -> Result<(), SqlError> {
    sqlx::query("UPDATE users SET password_hash = $1 WHERE username = $2 AND password_hash = $3")
        .bind(hash)
        .bind(username)
        .bind(former)
        .execute(database.writer())
        .await?;
    Ok(())
}

pub(super) type ClientRow = (String, Option<String>, String, String, i64);

pub(super) async fn client(database: &Database, client_id: &str) -> Result<Option<Client>, SqlError> {
    let row: Option<ClientRow> =
        sqlx::query_as("SELECT client_id, secret_mac, scopes, grants, disabled FROM clients WHERE client_id = $1")
            .bind(client_id)
            .fetch_optional(database.reader())
            .await?;
    row.map(client_of).transpose()
}

pub(super) fn client_of(row: ClientRow) -> Result<Client, SqlError> {
    let (client_id, secret_mac, scopes, grants, disabled) = row;
    Ok(Client {
        client_id,
        secret_mac,
        scopes: read_scopes(&scopes)?,
        grants: GrantSet::parse(&grants).map_err(|_| SqlError::Corrupt { what: "grants of a client" })?,
        disabled: disabled != 0,
    })
}

pub(super) async fn put_client(database: &Database, client: &Client, now: Timestamp) -> Result<(), SqlError> {
    sqlx::query(
        "INSERT INTO clients (client_id, secret_mac, scopes, grants, disabled, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (client_id) DO UPDATE SET secret_mac = excluded.secret_mac, scopes = excluded.scopes,
             grants = excluded.grants, disabled = excluded.disabled, updated_at = excluded.updated_at",
    )
    .bind(&client.client_id)
    .bind(&client.secret_mac)
    .bind(client.scopes.to_string())
    .bind(client.grants.to_string())
    .bind(i64::from(client.disabled))
    .bind(now.as_micros())
    .execute(database.writer())
    .await?;
    Ok(())
}

pub(super) fn read_scopes(text: &str) -> Result<ScopeSet, SqlError> {
    ScopeSet::parse(text).map_err(|_| SqlError::Corrupt { what: "list of scopes" })
}
