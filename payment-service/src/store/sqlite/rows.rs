//! A row of `payments` and the document it stands for.

use amends_sql::SqlError;
use serde::Serialize;
use sqlx::{
    Any, Row,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use crate::{
    domain::Record,
    store::{
        StoreError,
        document::{AskedFields, Document, StateFields},
    },
};

/// In the order of [`bind_all`].
pub(super) const COLUMNS: &str = "step_key, kind, payment_id, version, created_at, updated_at, closed_at, fingerprint, \
order_id, customer_id, payment_method, amount_minor, currency, status, decline_reason, receipt, captured_at, captured_minor, \
refunded_minor, refunds, mode, hold";

/// As many as [`COLUMNS`].
pub(super) const PLACEHOLDERS: &str =
    "$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22";

pub(super) type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

/// Binds a whole document.
pub(super) fn bind_all<'q>(query: AnyQuery<'q>, document: &Document) -> Result<AnyQuery<'q>, StoreError> {
    let (asked, state) = (document.asked.as_ref(), document.state.as_ref());
    Ok(query
        .bind(document.step_key.clone())
        .bind(document.kind.clone())
        .bind(document.payment_id.clone())
        .bind(document.version)
        .bind(document.created_at)
        .bind(document.updated_at)
        .bind(document.closed_at)
        .bind(asked.map(|asked| asked.fingerprint.clone()))
        .bind(asked.map(|asked| asked.order_id.clone()))
        .bind(asked.map(|asked| asked.customer_id.clone()))
        .bind(asked.map(|asked| asked.payment_method.clone()))
        .bind(asked.map(|asked| asked.amount_minor))
        .bind(asked.map(|asked| asked.currency.clone()))
        .bind(state.map(|state| state.status.clone()))
        .bind(state.and_then(|state| state.decline_reason.clone()))
        .bind(state.and_then(|state| state.receipt.clone()))
        .bind(state.and_then(|state| state.captured_at))
        .bind(state.map(|state| state.captured_minor))
        .bind(state.map(|state| state.refunded_minor))
        .bind(state.map(|state| json(&state.refunds)).transpose()?)
        .bind(asked.and_then(|asked| asked.mode.clone()))
        .bind(state.map(hold_json).transpose()?.flatten()))
}

/// What a swap changes; `$1` is the key, `$2` the new version.
pub(super) const SWAP: &str = "UPDATE payments SET version = $2, updated_at = $3, closed_at = $4, status = $5, \
decline_reason = $6, receipt = $7, captured_at = $8, captured_minor = $9, refunded_minor = $10, refunds = $11, hold = $12 \
WHERE step_key = $1 AND version = $2 - 1 AND kind = 'payment'";

/// Binds what [`SWAP`] needs.
pub(super) fn bind_swap<'q>(
    query: AnyQuery<'q>,
    document: &Document,
    state: &StateFields,
) -> Result<AnyQuery<'q>, StoreError> {
    Ok(query
        .bind(document.step_key.clone())
        .bind(document.version)
        .bind(document.updated_at)
        .bind(document.closed_at)
        .bind(state.status.clone())
        .bind(state.decline_reason.clone())
        .bind(state.receipt.clone())
        .bind(state.captured_at)
        .bind(state.captured_minor)
        .bind(state.refunded_minor)
        .bind(json(&state.refunds)?)
        .bind(hold_json(state)?))
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Bug(Box::new(error)))
}

fn hold_json(state: &StateFields) -> Result<Option<String>, StoreError> {
    state.hold.as_ref().map(json).transpose()
}

/// The record a row stands for.
pub(super) fn read_row(row: &AnyRow) -> Result<Record, StoreError> {
    read_document(row)?.try_into()
}

/// The document a row stands for, which need not be a record.
pub(super) fn read_document(row: &AnyRow) -> Result<Document, StoreError> {
    let (asked, state) = match row.try_get::<Option<String>, _>("status").map_err(SqlError::from)? {
        None => (None, None),
        Some(status) => (Some(read_asked(row)?), Some(read_state(row, status)?)),
    };
    Ok(Document {
        step_key: column(row, "step_key")?,
        kind: column(row, "kind")?,
        payment_id: column(row, "payment_id")?,
        version: column(row, "version")?,
        created_at: column(row, "created_at")?,
        updated_at: column(row, "updated_at")?,
        closed_at: column(row, "closed_at")?,
        asked,
        state,
    })
}

fn read_asked(row: &AnyRow) -> Result<AskedFields, StoreError> {
    Ok(AskedFields {
        fingerprint: column(row, "fingerprint")?,
        order_id: column(row, "order_id")?,
        customer_id: column(row, "customer_id")?,
        payment_method: column(row, "payment_method")?,
        amount_minor: column(row, "amount_minor")?,
        currency: column(row, "currency")?,
        mode: column(row, "mode")?,
    })
}

fn read_state(row: &AnyRow, status: String) -> Result<StateFields, StoreError> {
    let refunds: String = column(row, "refunds")?;
    let hold: Option<String> = column(row, "hold")?;
    let hold = hold.map(|hold| serde_json::from_str(&hold)).transpose();
    Ok(StateFields {
        status,
        decline_reason: column(row, "decline_reason")?,
        receipt: column(row, "receipt")?,
        captured_at: column(row, "captured_at")?,
        captured_minor: column(row, "captured_minor")?,
        refunded_minor: column(row, "refunded_minor")?,
        refunds: serde_json::from_str(&refunds).map_err(|_| StoreError::Corrupt { what: "refunds" })?,
        hold: hold.map_err(|_| StoreError::Corrupt { what: "hold" })?,
    })
}

fn column<'r, T>(row: &'r AnyRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
{
    Ok(row.try_get(name).map_err(SqlError::from)?)
}
