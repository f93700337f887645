//! A row of `payments`: the document as JSON, and beside it the columns that are searched by, unique, or compared.

use amends_sql::SqlError;
use sqlx::{
    Any, Row,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use crate::{
    domain::Record,
    store::{StoreError, document::Document},
};

type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

/// Writes a record, unless its key has one.
pub(super) fn insert(document: &Document) -> Result<AnyQuery<'_>, StoreError> {
    let (asked, state) = (document.asked.as_ref(), document.state.as_ref());
    let sql = "INSERT INTO payments (step_key, kind, payment_id, version, created_at, order_id, customer_id, status, document) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (step_key) DO NOTHING";
    Ok(sqlx::query(sql)
        .bind(document.step_key.clone())
        .bind(document.kind.clone())
        .bind(document.payment_id.clone())
        .bind(document.version)
        .bind(document.created_at)
        .bind(asked.map(|asked| asked.order_id.clone()))
        .bind(asked.map(|asked| asked.customer_id.clone()))
        .bind(state.map(|state| state.status.clone()))
        .bind(json(document)?))
}

/// Replaces a payment, if its version is one less. That its order, its customer and its times of creation stay, the table checks.
pub(super) fn swap(document: &Document) -> Result<AnyQuery<'_>, StoreError> {
    let sql = "UPDATE payments SET version = $2, status = $3, document = $4 \
               WHERE step_key = $1 AND version = $2 - 1 AND kind = 'payment'";
    Ok(sqlx::query(sql)
        .bind(document.step_key.clone())
        .bind(document.version)
        .bind(document.state.as_ref().map(|state| state.status.clone()))
        .bind(json(document)?))
}

fn json(document: &Document) -> Result<String, StoreError> {
    serde_json::to_string(document).map_err(|error| StoreError::Bug(Box::new(error)))
}

/// The record a row stands for.
pub(super) fn read_row(row: &AnyRow) -> Result<Record, StoreError> {
    read_document(row)?.try_into()
}

/// The document of a row, which need not be a record.
pub(super) fn read_document(row: &AnyRow) -> Result<Document, StoreError> {
    let json: String = row.try_get("document").map_err(SqlError::from)?;
    serde_json::from_str(&json).map_err(|_| StoreError::Corrupt { what: "document" })
}
