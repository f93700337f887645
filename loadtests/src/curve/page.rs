//! The page that shows a curve: its figures, between two marks.

use std::path::Path;

use anyhow::Context as _;

use super::{Curve, Plan, table};

/// Puts the curve of that name into the page.
///
/// # Errors
/// When the file cannot be read or written, or has no marks for that name.
pub fn put(file: &Path, name: &str, plan: &Plan, curve: &Curve) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let page = with(&page, name, &figures(plan, curve)).with_context(|| file.display().to_string())?;
    std::fs::write(file, page).with_context(|| file.display().to_string())
}

/// The figures, in Markdown.
pub fn figures(plan: &Plan, curve: &Curve) -> String {
    let (seconds, patience) = (plan.seconds, plan.patience.as_secs());
    let best = curve.best;
    format!("Best: {best:.0} orders a second; {seconds} s a stage, callers wait {patience} s.\n\n{}", table(curve))
}

fn with(page: &str, name: &str, figures: &str) -> anyhow::Result<String> {
    let mark = |end: &str| format!("<!-- cargo xtask load --curve, {name}: {end} -->");
    let (begin, end) = (mark("begin"), mark("end"));
    let (before, rest) = page.split_once(&begin).with_context(|| format!("no mark {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no mark {end}"))?;
    Ok(format!("{before}{begin}\n{figures}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_between_their_own_marks() {
        let marks = |name: &str, what: &str| {
            format!(
                "<!-- cargo xtask load --curve, {name}: begin -->\n{what}<!-- cargo xtask load --curve, {name}: end -->\n"
            )
        };
        let page = format!("before\n{}between\n{}after\n", marks("one", "old\n"), marks("five", "old\n"));
        let expected = format!("before\n{}between\n{}after\n", marks("one", "old\n"), marks("five", "new\n"));
        assert_eq!(with(&page, "five", "new\n").unwrap(), expected);
        assert!(with(&page, "six", "new\n").is_err());
    }
}
