//! Checks of a store against itself: each is one SELECT of what must not be there. One statement sees one moment of the database, and
//! every transaction keeps the invariants, so that what is found is wrong however busy the store is.
//!
//! Must not know: any table; the checks are their services'.

use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};

use crate::{Database, Dialect, SqlError};

/// Rows of one slice of a table: a statement over one slice ends in far less than a second.
pub const SLICE_ROWS: u32 = 5_000;
/// What one check may find in one slice. A store where more is wrong needs no complete list.
pub const BREACHES_MAX: u32 = 1_000;

/// One invariant of a store, as a SELECT of what breaks it.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its stable name.
    pub code: &'static str,
    /// What the first column names: `order`, `item`, `saga` …
    pub about: &'static str,
    /// Selects three texts: what is wrong, the order it concerns (empty where none), and what was found. `{range:COLUMN}` becomes a
    /// condition on the slice, where the check has one; `{since}` becomes the time from which rows are kept, in microseconds.
    pub sql: &'static str,
}

/// A part of a table: keys above `after`, up to and with `upto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Exclusive.
    pub after: String,
    /// Inclusive; none is the end of the table.
    pub upto: Option<String>,
}

impl Slice {
    /// All there is.
    pub const fn whole() -> Self {
        Self { after: String::new(), upto: None }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which check.
    pub code: &'static str,
    /// What the subject is.
    pub about: &'static str,
    /// What is wrong.
    pub subject: String,
    /// The order it concerns; empty where none.
    pub order: String,
    /// What was found, both sides.
    pub detail: String,
}

impl Database {
    /// The slice of a table that begins after `after`, in the order of `key`, its unique text column.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn slice(&self, table: &str, key: &str, after: &str) -> Result<Slice, SqlError> {
        let sql =
            format!("SELECT {key} FROM {table} WHERE {key} > $1 ORDER BY {key} LIMIT 1 OFFSET {}", SLICE_ROWS - 1);
        let found = async {
            let query = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).bind(after.to_owned());
            query.fetch_optional(self.reader()).await.map_err(SqlError::from)
        };
        Ok(Slice { after: after.to_owned(), upto: self.bounded(found).await? })
    }

    /// What breaks the invariant within the slice, at most [`BREACHES_MAX`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn breaches(&self, check: &Check, slice: &Slice, since: i64) -> Result<Vec<Breach>, SqlError> {
        let sql =
            format!("{} LIMIT {BREACHES_MAX}", with_range(check.sql, slice).replace("{since}", &since.to_string()));
        let found = async {
            let mut query = sqlx::query(AssertSqlSafe(sql));
            if check.sql.contains(RANGE) {
                query = query.bind(slice.after.clone());
                if let Some(upto) = &slice.upto {
                    query = query.bind(upto.clone());
                }
            }
            let mut connection = self.reader().acquire().await?;
            if self.dialect() == Dialect::Sqlite {
                // What a statement sorts must not be held in memory.
                sqlx::query("PRAGMA temp_store = FILE").execute(&mut connection).await?;
            }
            query.fetch_all(&mut connection).await.map_err(SqlError::from)
        };
        let rows: Vec<AnyRow> = self.bounded(found).await?;
        rows.iter()
            .map(|row| {
                let text = |at: usize| row.try_get::<String, _>(at).map_err(SqlError::from);
                let (code, about) = (check.code, check.about);
                Ok(Breach { code, about, subject: text(0)?, order: text(1)?, detail: text(2)? })
            })
            .collect()
    }
}

const RANGE: &str = "{range:";

/// Replaces each `{range:COLUMN}`.
fn with_range(sql: &str, slice: &Slice) -> String {
    let mut out = String::with_capacity(sql.len() + 32);
    let mut rest = sql;
    while let Some((before, marked)) = rest.split_once(RANGE) {
        let (column, after) = marked.split_once('}').unwrap_or((marked, ""));
        out += before;
        out.extend([column, " > $1"]);
        if slice.upto.is_some() {
            out.extend([" AND ", column, " <= $2"]);
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_open_at_the_end_of_the_table() {
        let slice = Slice { after: "a".into(), upto: Some("b".into()) };
        assert_eq!(with_range("x WHERE {range:o.id} AND y", &slice), "x WHERE o.id > $1 AND o.id <= $2 AND y");
        assert_eq!(with_range("{range:k}", &Slice::whole()), "k > $1");
        assert_eq!(with_range("no range", &slice), "no range");
    }
}
