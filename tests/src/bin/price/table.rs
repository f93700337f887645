//! The figures as a table.

use std::collections::{BTreeMap, BTreeSet};

use crate::{bounds::Bounds, figures::Measured, journeys::Journey};

/// One line a figure, one column a journey, and what the figure may be; figures that are zero everywhere are left out.
pub(crate) fn render(section: &str, measured: &Measured, bounds: &Bounds) -> String {
    let names: BTreeSet<&String> = measured.values().flat_map(BTreeMap::keys).collect();
    let mut lines = vec![line(section, &Journey::ALL.map(|journey| journey.name().to_owned()), "price.toml")];
    for name in names {
        let of = Journey::ALL.map(|journey| measured.get(journey.name()).and_then(|of| of.get(name)).copied());
        let of = of.map(Option::unwrap_or_default);
        if of.iter().any(|value| *value >= 0.1) {
            lines.push(line(name, &of.map(|value| value.to_string()), &bounds.shown(section, name)));
        }
    }
    lines.concat()
}

fn line(name: &str, columns: &[String; 3], bound: &str) -> String {
    let [one, two, three] = columns;
    format!("{name:<28}{one:>12}{two:>12}{three:>12}  {bound}\n")
}
