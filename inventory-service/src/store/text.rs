//! Building the few statements whose length depends on the request, and reading text columns back into domain types.

use std::{fmt::Write, str::FromStr};

use amends_primitives::{Currency, Money};
use amends_sql::SqlError;

/// `($1, $2), ($3, $4), …`: `rows` rows of `columns` placeholders, counting from `first`.
pub(super) fn rows(first: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{comma}${}", first + row * columns + column);
        }
        text.push(')');
    }
    text
}

/// `($1, $2, …)`: `count` placeholders, counting from `first`.
pub(super) fn list(first: usize, count: usize) -> String {
    rows(first, 1, count)
}

/// What this program wrote, read back.
pub(super) fn parsed<T: FromStr>(text: &str, what: &'static str) -> Result<T, SqlError> {
    text.parse().map_err(|_| SqlError::Corrupt { what })
}

/// A price from its two columns.
pub(super) fn money(minor: i64, currency: &str) -> Result<Money, SqlError> {
    Ok(Money::new(minor, parsed::<Currency>(currency, "currency")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_count_up() {
        assert_eq!(rows(3, 2, 2), "($3, $4), ($5, $6)");
        assert_eq!(list(1, 3), "($1, $2, $3)");
    }
}
