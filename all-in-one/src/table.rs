//! Tables for people: boxes drawn to the width of their content. Knows nothing of sagas.

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Draws a table; each row has one cell a column.
pub fn draw(indent: &str, columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width_of = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.chain([columns[index].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width_of).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{indent}{left}{}{right}\n", bars.join(middle))
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).zip(columns).map(|((cell, &width), (_, align))| match align {
            Align::Left => format!(" {cell:<width$} "),
            Align::Right => format!(" {cell:>width$} "),
        });
        format!("{indent}│{}│\n", padded.collect::<Vec<_>>().join("│"))
    };
    let mut out = rule("┌", "┬", "┐");
    out += &line(columns.iter().map(|(title, _)| *title).collect());
    out += &rule("├", "┼", "┤");
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out + &rule("└", "┴", "┘")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let drawn = draw(
            " ",
            &[("step", Align::Left), ("n", Align::Right)],
            &[vec!["reserve".into(), "1".into()], vec!["é".into(), "12".into()]],
        );
        let expected = " ┌─────────┬────┐\n │ step    │  n │\n ├─────────┼────┤\n │ reserve │  1 │\n │ é       │ 12 │\n └─────────┴────┘\n";
        assert_eq!(drawn, expected);
    }
}
