//! What was found, as text for people and as JSON for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Well,
    /// Worth knowing; nothing fails for it now.
    Notice,
    /// Something fails, or soon will.
    Wrong,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Notice => "notice",
            Self::Wrong => "wrong",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Well => "✓",
            Self::Notice => "·",
            Self::Wrong => "✗",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// How bad.
    pub level: Level,
    /// What was seen.
    pub what: String,
    /// What to do, as far as possible what to type.
    pub remedy: String,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Them.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn passed(&mut self, check: &'static str, what: impl Into<String>) {
        self.add(check, Level::Well, what.into(), String::new());
    }

    pub(super) fn notice(&mut self, check: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Notice, what.into(), remedy.into());
    }

    pub(super) fn wrong(&mut self, check: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(check, Level::Wrong, what.into(), remedy.into());
    }

    fn add(&mut self, check: &'static str, level: Level, what: String, remedy: String) {
        self.findings.push(Finding { check, level, what, remedy });
    }

    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Wrong)
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for Finding { check, level, what, remedy } in &self.findings {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{} {check}: {what}", level.mark());
            if !remedy.is_empty() {
                let _ = writeln!(out, "    → {remedy}");
            }
        }
        let wrong = self.findings.iter().filter(|finding| finding.level == Level::Wrong).count();
        let verdict = if wrong == 0 { "doctor: nothing is wrong".to_owned() } else { format!("doctor: {wrong} wrong") };
        out + &verdict + "\n"
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|Finding { check, level, what, remedy }| {
                json!({"check": check, "level": level.name(), "what": what, "remedy": remedy})
            })
            .collect();
        json!({"well": self.is_well(), "findings": findings})
    }
}

#[cfg(test)]
impl Report {
    /// The findings of one check that are no good news, for its test.
    pub(super) fn complaints(&self) -> Vec<String> {
        let bad = self.findings.iter().filter(|finding| finding.level > Level::Well);
        bad.map(|finding| format!("{}: {} → {}", finding.level.name(), finding.what, finding.remedy)).collect()
    }
}
