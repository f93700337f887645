//! `proof AREA`: what a promise rests on, shown with the tools that it takes. Installs them, runs the tests that need them too, and ends with
//! what was seen and what was not run.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    cargo::{Workspace, cargo},
    commands::build_all,
    environment,
    packages::{self, Need},
    process::{Failure, Result, run, which},
    servers::{self, Held},
    setup::build_tools,
};

mod collector;

/// Names the file to which the tests of the machine's faults add a line for each result.
const REPORT: &str = "AMENDS_MACHINE_REPORT";

/// Shows one area.
pub(crate) fn proof(arguments: &[String]) -> Result {
    match arguments {
        [area] if area == "machine" => machine(),
        [area] if area == "observability" => observability(),
        _ => Err(Failure::message("say `cargo xtask proof machine` or `cargo xtask proof observability`")),
    }
}

/// Every fault that this machine can have, one after the other, since some measure time and some take all of the processor.
fn machine() -> Result {
    let tools = build_tools()?;
    let lacking: Vec<Need> = [(Need::Faketime, has_faketime()), (Need::UtilLinux, which("mount").is_some())]
        .into_iter()
        .filter_map(|(need, is_here)| (!is_here).then_some(need))
        .collect();
    if !lacking.is_empty()
        && let Err(why) = packages::install(&lacking)
    {
        eprintln!("{why}: what needs it is not run, and is listed");
    }
    build_all(&tools)?;
    let report = Report::new()?;
    let mut command = cargo(&tools);
    command.args(["test", "--workspace", "--test", "machine", "--", "--include-ignored", "--test-threads", "1"]);
    command.env("AMENDS_BIN_DIR", Workspace::read()?.program("debug", ""));
    report.apply(&mut command);
    let result = run(&mut command);
    println!("\n{}", report.table());
    result
}

/// What an operator sees, by real programs: the files are checked with their own tools, then a Prometheus watches five services through an
/// outage, and a collector makes metrics of spans.
fn observability() -> Result {
    let tools = build_tools()?;
    let lacking: Vec<Need> = [
        (Need::Prometheus, which("prometheus").is_some() && which("promtool").is_some()),
        (Need::Alertmanager, which("amtool").is_some()),
    ]
    .into_iter()
    .filter_map(|(need, is_here)| (!is_here).then_some(need))
    .collect();
    if !lacking.is_empty() {
        packages::install(&lacking)?;
    }
    run(Command::new("sh").arg(environment::root().join("observability/check.sh")))?;
    let located = servers::locate()?;
    build_all(&tools)?;
    let held = Held::start(&located.specs, located.given)?;
    let mut command = cargo(&tools);
    command.args(["test", "--workspace", "--test", "observability", "--", "--include-ignored", "--nocapture"]);
    command.args(["--test-threads", "1"]).env("AMENDS_BIN_DIR", Workspace::read()?.program("debug", ""));
    if let Some(prometheus) = which("prometheus") {
        command.env("AMENDS_PROMETHEUS", prometheus);
    }
    let collector = collector::program();
    match &collector {
        Ok(program) => drop(command.env("AMENDS_OTELCOL", program)),
        Err(why) => eprintln!("{why}: what needs the OpenTelemetry Collector is not run, and is listed"),
    }
    held.apply(&mut command);
    let result = run(&mut command);
    drop(held);
    if let Err(why) = collector {
        println!("*** NOT RUN: the OpenTelemetry Collector: {why} ***");
    }
    result
}

fn has_faketime() -> bool {
    let architectures = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = architectures.chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    folders.into_iter().any(|folder| folder.join("faketime/libfaketimeMT.so.1").is_file())
}

/// What the tests told besides passing or failing.
pub(crate) struct Report(PathBuf);

impl Report {
    /// An empty one.
    pub(crate) fn new() -> Result<Self> {
        let file = environment::root().join("target/machine-report.tsv");
        if file.exists() {
            fs::remove_file(&file).map_err(crate::process::about(file.display()))?;
        }
        Ok(Self(file))
    }

    /// The command's tests write into it.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env(REPORT, &self.0);
    }

    /// How soon orders were accepted after each fault; then what was not run, and why.
    pub(crate) fn table(&self) -> String {
        render(&fs::read_to_string(&self.0).unwrap_or_default())
    }

    /// Only what was not run; nothing where all was.
    pub(crate) fn not_run(&self) -> String {
        list(&fs::read_to_string(&self.0).unwrap_or_default())
    }
}

fn rows<'a>(report: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    report.lines().filter_map(move |line| {
        let mut fields = line.splitn(3, '\t');
        (fields.next() == Some(kind)).then_some(())?;
        Some((fields.next()?, fields.next()?))
    })
}

fn render(report: &str) -> String {
    let width = rows(report, "healed").map(|(what, _)| what.chars().count()).max().unwrap_or_default();
    let mut table = String::from("From the end of the fault until an order was accepted:\n");
    let lines: Vec<String> =
        rows(report, "healed").map(|(what, took)| format!("  {what:<width$}  {took:>10}\n")).collect();
    table.push_str(&lines.concat());
    table + &list(report)
}

fn list(report: &str) -> String {
    let lines: Vec<String> =
        rows(report, "NOT RUN").map(|(what, why)| format!("*** NOT RUN: {what}: {why} ***\n")).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_at_the_end() {
        let report = "healed\ta full disk\t31 ms\nNOT RUN\ta clock set back\tno libfaketime\nhealed\tno time\t9 ms\n";
        let expected = "From the end of the fault until an order was accepted:\n  a full disk       31 ms\n  no time            9 ms\n\
                        *** NOT RUN: a clock set back: no libfaketime ***\n";
        assert_eq!(render(report), expected);
        assert_eq!(list("healed\tx\t1 ms\n"), "");
    }

    #[test]
    fn a_report_is_kept_with_what_is_built() {
        assert!(Report::new().unwrap().0.ends_with("target/machine-report.tsv"));
    }
}
