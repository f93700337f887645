//! The shipped rules, and a copy of them in which everything happens in seconds.

use std::{collections::BTreeSet, fs};

use anyhow::Result;

use crate::dashboards::shipped;

/// How much of the shipped time a window keeps, in seconds, by its name there.
const WINDOWS: [(&str, &str); 4] = [("[1h]", "[2m]"), ("[15m]", "[40s]"), ("[10m]", "[40s]"), ("[5m]", "[20s]")];

/// A rule file.
pub(crate) fn text(file: &str) -> Result<String> {
    Ok(fs::read_to_string(shipped().join("prometheus/rules").join(file))?)
}

/// The same rules, with short windows, and alerts that fire after seconds.
pub(crate) fn hurried(rules: &str) -> String {
    let line = |line: &str| {
        let indent = " ".repeat(line.len() - line.trim_start().len());
        match line.trim_start().split_once(' ') {
            Some(("for:", _)) => format!("{indent}for: 5s\n"),
            Some(("interval:", _)) => format!("{indent}interval: 1s\n"),
            _ => WINDOWS.iter().fold(line.to_owned(), |line, (long, short)| line.replace(long, short)) + "\n",
        }
    };
    rules.lines().map(line).collect()
}

/// Names of recorded series.
pub(crate) fn recorded(rules: &str) -> BTreeSet<&str> {
    rules.lines().filter_map(|line| line.trim_start().strip_prefix("- record: ")).collect()
}

/// Names of alerts, each with its expression.
pub(crate) fn alerts(rules: &str) -> Vec<(&str, String)> {
    let mut alerts: Vec<(&str, String)> = Vec::new();
    let mut is_expression = false;
    for line in rules.lines() {
        let text = line.trim_start();
        if let Some(name) = text.strip_prefix("- alert: ") {
            alerts.push((name, String::new()));
        }
        is_expression = match text {
            "expr: |" => true,
            _ => is_expression && line.starts_with("          "),
        };
        if is_expression
            && text != "expr: |"
            && let Some((_, expression)) = alerts.last_mut()
        {
            expression.push_str(text);
            expression.push(' ');
        }
    }
    alerts
}

/// Metrics and recorded series that an expression names.
pub(crate) fn names(expression: &str) -> BTreeSet<String> {
    let mut bare = String::with_capacity(expression.len());
    let (mut in_braces, mut in_quotes) = (false, false);
    for character in expression.chars() {
        match character {
            '"' => in_quotes = !in_quotes,
            '{' if !in_quotes => in_braces = true,
            '}' if !in_quotes => in_braces = false,
            _ if in_braces || in_quotes => {}
            _ => bare.push(character),
        }
    }
    let is_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    bare.split(|character| !is_name(character))
        .filter(|word| word.contains([':', '_']) || *word == "up")
        .filter(|word| !FUNCTIONS.contains(word) && !LABELS.contains(word))
        .map(str::to_owned)
        .collect()
}

const FUNCTIONS: [&str; 3] = ["histogram_quantile", "label_replace", "sum_over_time"];
const LABELS: [&str; 1] = ["peer_service"];

#[test]
fn rules_are_read_as_prometheus_reads_them() {
    let rules = "      - alert: A\n        expr: |\n          max by (peer_service) (x_y{a=\"b{\"}[5m]) > 1\n          or up == 0\n        for: 10m\n        labels: { a: b }\n      - record: a:b\n        expr: sum(c_d)\n";
    let read = alerts(rules);
    assert_eq!(read, [("A", "max by (peer_service) (x_y{a=\"b{\"}[5m]) > 1 or up == 0 ".to_owned())]);
    assert_eq!(names(&read[0].1), ["up", "x_y"].map(str::to_owned).into());
    assert_eq!(recorded(rules), ["a:b"].into());
    assert!(hurried(rules).contains("[20s]") && hurried(rules).contains("        for: 5s\n"));
}
