//! Values and rows, from sqlx's `Any` to SQLite and back. The fields used here are sqlx's own, kept from its documentation; its version
//! is therefore pinned in the workspace's manifest.

use std::sync::Arc;

use rusqlite::{
    Row, Statement, ToSql,
    types::{ToSqlOutput, ValueRef},
};
use sqlx::any::{AnyRow, AnyTypeInfo, AnyTypeInfoKind, AnyValue};
use sqlx_core::{
    HashMap,
    any::{AnyColumn, AnyValueKind},
    ext::ustr::UStr,
};

/// Binds `$1`, `$2`, … to the values of that number; SQLite takes them for names, and numbers them as they come.
pub(super) fn bind(statement: &mut Statement<'_>, values: &[AnyValueKind]) -> rusqlite::Result<()> {
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index);
        let number = name.map_or(Some(index), |name| name.get(1..)?.parse().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let value = value.ok_or_else(|| rusqlite::Error::InvalidParameterCount(values.len(), index))?;
        statement.raw_bind_parameter(index, Bound(value))?;
    }
    Ok(())
}

struct Bound<'a>(&'a AnyValueKind);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            AnyValueKind::Null(_) => ValueRef::Null,
            AnyValueKind::Bool(value) => ValueRef::Integer(i64::from(*value)),
            AnyValueKind::SmallInt(value) => ValueRef::Integer(i64::from(*value)),
            AnyValueKind::Integer(value) => ValueRef::Integer(i64::from(*value)),
            AnyValueKind::BigInt(value) => ValueRef::Integer(*value),
            AnyValueKind::Real(value) => ValueRef::Real(f64::from(*value)),
            AnyValueKind::Double(value) => ValueRef::Real(*value),
            AnyValueKind::Text(value) => ValueRef::Text(value.as_bytes()),
            AnyValueKind::TextSlice(value) => ValueRef::Text(value.as_bytes()),
            AnyValueKind::Blob(value) => ValueRef::Blob(value),
            _ => return Err(rusqlite::Error::ToSqlConversionFailure("a value of an unknown kind".into())),
        }))
    }
}

/// The names of a statement's columns, which all of its rows share.
pub(super) struct Columns {
    names: Vec<UStr>,
    places: Arc<HashMap<UStr, usize>>,
}

impl Columns {
    pub(super) fn of(statement: &Statement<'_>) -> Self {
        let names: Vec<UStr> = statement.column_names().into_iter().map(UStr::new).collect();
        let places = Arc::new(names.iter().cloned().zip(0..).collect());
        Self { names, places }
    }

    /// The row, each value in the kind that SQLite has stored it in.
    pub(super) fn read(&self, row: &Row<'_>) -> rusqlite::Result<AnyRow> {
        let (mut columns, mut values) = (Vec::with_capacity(self.names.len()), Vec::with_capacity(self.names.len()));
        for (ordinal, name) in self.names.iter().enumerate() {
            let (value, kind) = match row.get_ref(ordinal)? {
                ValueRef::Null => (AnyValueKind::Null(AnyTypeInfoKind::Null), AnyTypeInfoKind::Null),
                ValueRef::Integer(value) => (AnyValueKind::BigInt(value), AnyTypeInfoKind::BigInt),
                ValueRef::Real(value) => (AnyValueKind::Double(value), AnyTypeInfoKind::Double),
                ValueRef::Text(bytes) => {
                    let text = str::from_utf8(bytes).map_err(|error| rusqlite::Error::Utf8Error(ordinal, error))?;
                    (AnyValueKind::Text(Arc::new(text.to_owned())), AnyTypeInfoKind::Text)
                }
                ValueRef::Blob(bytes) => (AnyValueKind::Blob(Arc::new(bytes.to_vec())), AnyTypeInfoKind::Blob),
            };
            values.push(AnyValue { kind: value });
            columns.push(AnyColumn { ordinal, name: name.clone(), type_info: AnyTypeInfo { kind } });
        }
        Ok(AnyRow { column_names: Arc::clone(&self.places), columns, values })
    }
}
