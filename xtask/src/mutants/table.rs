//! The table at the end: how many changes of each part its tests notice.

use super::results::{Fate, Results};

/// One part.
pub(super) struct Row {
    name: &'static str,
    counts: [usize; 5],
}

impl Row {
    pub(super) fn of(name: &'static str, results: &Results, accepted: usize) -> Self {
        let [caught, survived, unviable, timeouts] =
            [Fate::Caught, Fate::Survived, Fate::Unviable, Fate::Timeout].map(|fate| results.count(fate));
        Self { name, counts: [caught, survived, accepted, unviable, timeouts] }
    }
}

/// The parts, and all of them together.
pub(super) fn render(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<20}{:>8}{:>8}{:>10}{:>10}{:>10}{:>10}{:>8}\n",
        "part", "mutants", "caught", "survived", "accepted", "unviable", "timeouts", "score"
    );
    let mut sums = [0; 5];
    for row in rows {
        for (sum, count) in sums.iter_mut().zip(row.counts) {
            *sum += count;
        }
        text.push_str(&line(row.name, row.counts));
    }
    text + &line("all", sums)
}

fn line(name: &str, [caught, survived, accepted, unviable, timeouts]: [usize; 5]) -> String {
    let noticed = caught + timeouts;
    // Of those that compile; the accepted ones count against it.
    let viable = noticed + survived;
    let score = (noticed * 100).checked_div(viable).map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
    let mutants = viable + unviable;
    format!("{name:<20}{mutants:>8}{caught:>8}{survived:>10}{accepted:>10}{unviable:>10}{timeouts:>10}{score:>8}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_noticed_and_unviable_is_not_counted() {
        let told = line("order", [8, 1, 1, 5, 1]);
        assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["order", "15", "8", "1", "1", "5", "1", "90", "%"]);
        assert!(line("none", [0; 5]).trim_end().ends_with('-'));
    }
}
