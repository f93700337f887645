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

/// So few names are looked up sooner than a text is read.
const LOOKED_UP_MAX: usize = 16;

/// Binds `$1`, `$2`, … to the values of that number; SQLite takes them for names, and numbers them as they come.
pub(super) fn bind(statement: &mut Statement<'_>, sql: &str, values: &[AnyValueKind]) -> rusqlite::Result<()> {
    let parameters = statement.parameter_count();
    if parameters > LOOKED_UP_MAX && parameters == values.len() && come_in_order(sql, parameters) {
        for (index, value) in (1..).zip(values) {
            statement.raw_bind_parameter(index, Bound(value))?;
        }
        return Ok(());
    }
    for index in 1..=parameters {
        // Which SQLite looks up by going through all names.
        let name = statement.parameter_name(index);
        let number = name.map_or(Some(index), |name| name.get(1..)?.parse().ok());
        let value = number.and_then(|number| values.get(number.checked_sub(1)?));
        let value = value.ok_or_else(|| rusqlite::Error::InvalidParameterCount(values.len(), index))?;
        statement.raw_bind_parameter(index, Bound(value))?;
    }
    Ok(())
}

/// Whether a text surely names `$1` first, then `$2`, and so on to the last. A text with quotes or comments, in which a name may be none,
/// need not be understood: false.
fn come_in_order(sql: &str, parameters: usize) -> bool {
    let mut found = 0;
    let mut parts = sql.split('$');
    let mut unclear = parts.next().is_some_and(is_unclear);
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        match part[..digits].parse::<usize>() {
            Ok(number) if number == found + 1 => found = number,
            Ok(number) if (1..=found).contains(&number) => {}
            _ => return false,
        }
        unclear |= found < parameters && is_unclear(part);
    }
    !unclear && found == parameters
}

fn is_unclear(text: &str) -> bool {
    text.contains(['"', '`', '[']) || text.contains("--") || text.contains("/*") || text.matches('\'').count() % 2 == 1
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(sql: &str, values: i64) -> Vec<i64> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let values: Vec<_> = (1..=values).map(|value| AnyValueKind::BigInt(value * 10)).collect();
        let mut statement = connection.prepare(sql).unwrap();
        bind(&mut statement, sql, &values).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let row = rows.next().unwrap().unwrap();
        (0..columns).map(|column| row.get(column).unwrap()).collect()
    }

    #[test]
    fn values_go_to_the_names_with_their_numbers() {
        assert_eq!(bound("SELECT $1, $2, $3", 3), [10, 20, 30]);
        assert_eq!(bound("SELECT $2, $1", 2), [20, 10]);
        assert_eq!(bound("SELECT $1, $1 + $2, $2", 2), [10, 30, 20]);
        assert_eq!(bound("SELECT $1 WHERE '$2' <> '' AND 'held' = 'held'", 1), [10]);
        assert_eq!(bound("SELECT $2, $1 WHERE '$1' <> ''", 2), [20, 10]);
        assert_eq!(bound("SELECT length('$1') * 0 + $2, $1", 2), [20, 10]);
        assert_eq!(bound("SELECT -- $1\n $2, $1", 2), [20, 10]);
        assert_eq!(bound("SELECT $2 AS \"$1\", $1", 2), [20, 10]);
        let names: Vec<String> = (1..=20).map(|number| format!("${number}")).collect();
        assert_eq!(bound(&format!("SELECT {}", names.join(", ")), 20).last(), Some(&200));
    }

    #[test]
    fn only_what_is_surely_in_order_is_taken_for_it() {
        assert!(come_in_order("INSERT INTO t VALUES ($1, 'held', $2), ($3, $1, $4)", 4));
        for unclear in ["SELECT $2, $1", "SELECT $1, $3, $2", "SELECT '$1', $2", "SELECT $1, $2x, \"$3\"", "SELECT $01"]
        {
            assert!(!come_in_order(unclear, 2), "{unclear}");
        }
    }

    #[test]
    fn a_missing_value_is_refused() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let sql = "SELECT $1, $2";
        let mut statement = connection.prepare(sql).unwrap();
        assert!(bind(&mut statement, sql, &[AnyValueKind::BigInt(1)]).is_err());
    }
}
