//! `price.toml`: what each figure may be, and whether it is. Pure: figures in, verdict out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use crate::{
    figures::{Figures, Measured},
    journeys::Journey,
};

/// What one figure may be, for each journey.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    values: [f64; 3],
    /// None: exactly that.
    within_pct: Option<f64>,
}

/// The whole file, by section.
#[derive(Debug)]
pub(crate) struct Bounds(BTreeMap<String, BTreeMap<String, Bound>>);

/// What came of comparing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Dearer than allowed, or not bounded at all.
    pub(crate) wrong: Vec<String>,
    /// Cheaper than written: the file is to say so, or the next change could spend what this one saved.
    pub(crate) lower: Vec<String>,
}

impl Bounds {
    /// # Errors
    /// What in it is not as expected.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let file: Table = text.parse()?;
        let mut sections = BTreeMap::new();
        for (way, callers) in &file {
            for (callers, kinds) in callers.as_table().with_context(|| format!("{way} is no table"))? {
                let section = format!("{way}.{callers}");
                let mut bounds = BTreeMap::new();
                for (kind, figures) in kinds.as_table().with_context(|| format!("{section} is no table"))? {
                    let figures = figures.as_table().with_context(|| format!("{section}.{kind} is no table"))?;
                    let within_pct = match (kind.as_str(), figures.get("within_pct")) {
                        ("exact", None) => None,
                        (_, Some(percent)) if kind.starts_with("about") => Some(read_one(percent)?),
                        _ => anyhow::bail!("{section}.{kind}: `exact`, or `about…` with `within_pct`"),
                    };
                    for (name, values) in figures.iter().filter(|(name, _)| *name != "within_pct") {
                        let values = read(values).with_context(|| format!("{section}.{kind}.{name}"))?;
                        let before = bounds.insert(name.clone(), Bound { values, within_pct });
                        ensure!(before.is_none(), "{section}: {name} is there twice");
                    }
                }
                sections.insert(section, bounds);
            }
        }
        Ok(Self(sections))
    }

    /// How a figure is bounded, for the table.
    pub(crate) fn shown(&self, section: &str, name: &str) -> String {
        match self.0.get(section).and_then(|bounds| bounds.get(name)) {
            None => "no bound".to_owned(),
            Some(Bound { values: [a, b, c], within_pct: None }) => format!("{a} {b} {c}"),
            Some(Bound { values: [a, b, c], within_pct: Some(percent) }) => format!("{a} {b} {c} ± {percent} %"),
        }
    }

    /// What of these figures is not as written. With `exact_only` the figures that vary are not looked at.
    pub(crate) fn verdict(&self, section: &str, measured: &Measured, exact_only: bool) -> Verdict {
        let none = BTreeMap::new();
        let bounds = self.0.get(section).unwrap_or(&none);
        let mut verdict = Verdict::default();
        // What is rarer than one order in ten is done by the clock, and not for an order.
        let grown: BTreeSet<&String> = measured
            .values()
            .flat_map(|of| of.iter().filter(|(_, value)| **value >= 0.1).map(|(name, _)| name))
            .collect();
        for name in grown.into_iter().filter(|name| !bounds.contains_key(*name)) {
            verdict.wrong.push(format!("{name} is new: give it a line in [{section}]"));
        }
        for (name, bound) in bounds.iter().filter(|(_, bound)| !exact_only || bound.within_pct.is_none()) {
            for (journey, may_be) in Journey::ALL.into_iter().zip(bound.values) {
                let is = measured.get(journey.name()).and_then(|of: &Figures| of.get(name)).copied().unwrap_or(0.0);
                let slack = bound.within_pct.map_or(0.0, |percent| may_be * percent / 100.0);
                // Of what is counted in whole numbers, one more is always within a percentage.
                let slack = if slack > 0.0 && is.fract() == 0.0 { slack.ceil() } else { slack };
                let of = format!("{name} of an order that is {}: {is}, written is {may_be}", journey.name());
                if is > may_be + slack {
                    verdict.wrong.push(of);
                } else if is < may_be - slack {
                    verdict.lower.push(of);
                }
            }
        }
        verdict
    }
}

fn read_one(value: &Value) -> Result<f64> {
    let number = value.as_float().or_else(|| u32::try_from(value.as_integer()?).ok().map(f64::from));
    number.filter(|number| *number >= 0.0).context("not a count")
}

fn read(values: &Value) -> Result<[f64; 3]> {
    let values = values.as_array().context("not [confirmed, declined, cancelled]")?;
    let values: Vec<f64> = values.iter().map(read_one).collect::<Result<_>>()?;
    values.try_into().ok().context("not [confirmed, declined, cancelled]")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "[p.one.exact]\ncommits_order = [5, 6, 3]\n[p.one.about]\nwithin_pct = 10\nfutexes = [100, 100, 50]\n";

    fn measured(commits: [u32; 3], futexes: [u32; 3]) -> Measured {
        let figures = |index: usize| {
            Figures::from([
                ("commits_order".to_owned(), commits[index].into()),
                ("futexes".to_owned(), futexes[index].into()),
            ])
        };
        Journey::ALL.into_iter().enumerate().map(|(index, journey)| (journey.name(), figures(index))).collect()
    }

    fn verdict(measured: &Measured, exact_only: bool) -> Verdict {
        Bounds::parse(FILE).unwrap().verdict("p.one", measured, exact_only)
    }

    #[test]
    fn what_is_as_written_passes() {
        assert_eq!(verdict(&measured([5, 6, 3], [110, 91, 50]), false), Verdict::default());
    }

    #[test]
    fn one_commit_more_fails_and_one_fewer_asks_for_a_lower_bound() {
        let Verdict { wrong, lower } = verdict(&measured([6, 5, 3], [100, 100, 50]), false);
        assert_eq!(wrong, ["commits_order of an order that is confirmed: 6, written is 5"]);
        assert_eq!(lower, ["commits_order of an order that is declined: 5, written is 6"]);
    }

    #[test]
    fn figures_that_vary_have_room_and_can_be_left_out() {
        let dear = measured([5, 6, 3], [111, 100, 44]);
        let Verdict { wrong, lower } = verdict(&dear, false);
        assert_eq!((wrong.len(), lower.len()), (1, 1));
        assert_eq!(verdict(&dear, true), Verdict::default());
    }

    #[test]
    fn a_figure_without_a_bound_fails() {
        let mut with_more = measured([5, 6, 3], [100, 100, 50]);
        with_more.entry("declined").or_default().insert("commits_new".to_owned(), 1.0);
        assert_eq!(verdict(&with_more, true).wrong, ["commits_new is new: give it a line in [p.one]"]);
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused() {
        for bad in
            ["[p.one.exact]\na = [1, 2]", "[p.one.about]\na = [1, 2, 3]", "[p.one.exact]\na = [1, 2, -3]", "[p]\nx = 1"]
        {
            assert!(Bounds::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_committed_file_can_be_read() {
        Bounds::parse(include_str!("../../../../price.toml")).unwrap();
    }
}
