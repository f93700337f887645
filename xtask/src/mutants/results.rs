//! What cargo-mutants writes about its mutants, read.
//!
//! Must not know: which survivors are accepted.

use crate::json::{self, Value};

/// A change of the code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mutant {
    pub(super) file: String,
    /// With line and column, hence one of a kind.
    full: String,
}

impl Mutant {
    fn read(value: &Value) -> Option<Self> {
        Some(Self { file: value.get("file").text()?.to_owned(), full: value.get("name").text()?.to_owned() })
    }

    /// Without line and column, which move with every change above: `file: replace … in …`.
    pub(super) fn name(&self) -> String {
        let what = self.full.strip_prefix(&self.file).and_then(|rest| rest.split_once(": "));
        what.map_or_else(|| self.full.clone(), |(_, what)| format!("{}: {what}", self.file))
    }
}

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Caught,
    Survived,
    /// It does not compile.
    Unviable,
    /// The tests did not come to an end: noticed too.
    Timeout,
}

/// What became of those that were tried.
#[derive(Debug, Default)]
pub(super) struct Results(Vec<(Mutant, Fate)>);

impl Results {
    pub(super) fn count(&self, fate: Fate) -> usize {
        self.0.iter().filter(|(_, other)| *other == fate).count()
    }

    pub(super) fn has(&self, mutant: &Mutant) -> bool {
        self.0.iter().any(|(tried, _)| tried == mutant)
    }

    pub(super) fn tried(&self) -> usize {
        self.0.len()
    }

    pub(super) fn survivors(&self) -> Vec<String> {
        self.0.iter().filter(|(_, fate)| *fate == Fate::Survived).map(|(mutant, _)| mutant.name()).collect()
    }
}

/// Reads the list of mutants.
pub(super) fn list(text: &str) -> Result<Vec<Mutant>, String> {
    // It prints nothing where a change touches nothing.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    json::parse(text)?
        .items()
        .iter()
        .map(|value| Mutant::read(value).ok_or_else(|| "a mutant without a name".to_owned()))
        .collect()
}

/// Reads `outcomes.json`, which is written anew after each mutant.
pub(super) fn outcomes(text: &str) -> Result<Results, String> {
    let parsed = json::parse(text)?;
    let mut results = Results::default();
    for outcome in parsed.get("outcomes").items() {
        // The first is of the code as it is.
        let Some(mutant) = Mutant::read(outcome.get("scenario").get("Mutant")) else { continue };
        let fate = match outcome.get("summary").text() {
            Some("CaughtMutant") => Fate::Caught,
            Some("MissedMutant") => Fate::Survived,
            Some("Unviable") => Fate::Unviable,
            Some("Timeout") => Fate::Timeout,
            other => return Err(format!("{}: an unknown outcome {other:?}", mutant.full)),
        };
        results.0.push((mutant, fate));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outlives_the_lines_above_it() {
        let listed = list(r#"[{"file":"a/b.rs","name":"a/b.rs:7:3: replace > with >= in f: g"}]"#).unwrap();
        assert_eq!(listed[0].name(), "a/b.rs: replace > with >= in f: g");
        assert_eq!(list("\n"), Ok(Vec::new()));
    }

    #[test]
    fn every_outcome_is_counted_once() {
        let of = |line: u8, summary: &str| {
            format!(r#"{{"scenario":{{"Mutant":{{"file":"a.rs","name":"a.rs:{line}:1: x"}}}},"summary":"{summary}"}}"#)
        };
        let outcomes = |more: &str| {
            let rows =
                [r#"{"scenario":"Baseline","summary":"Success"}"#, &of(1, "CaughtMutant"), &of(2, more)].join(",");
            super::outcomes(&format!(r#"{{"outcomes":[{rows}]}}"#))
        };
        let results = outcomes("MissedMutant").unwrap();
        assert_eq!(
            (results.tried(), results.count(Fate::Caught), results.survivors()),
            (2, 1, vec!["a.rs: x".to_owned()])
        );
        assert!(outcomes("Failure").is_err());
    }
}
