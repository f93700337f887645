//! The price of an order: what the program asks of its stores and of its machine for one that is confirmed, one that is declined, and one
//! that is cancelled. Prints it, and fails where it is above what `price.toml` allows. No time is measured: these figures are the same on
//! every machine, or nearly so.

mod bounds;
mod figures;
mod instructions;
mod journeys;
mod many_callers;
mod one_caller;
mod subject;
mod table;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use bounds::Bounds;
use instructions::Callgrind;
use subject::{Subject, Way};

/// Who asks, and what is counted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    OneCaller,
    ManyCallers,
    /// Of one caller, and nothing else.
    Instructions,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::OneCaller => "one_caller",
            Self::ManyCallers => "many_callers",
            Self::Instructions => "instructions",
        }
    }
}

struct Options {
    bounds: PathBuf,
    way: Way,
    mode: Mode,
    /// Requests of each kind by one caller, where they are not as many as usual.
    orders: Option<usize>,
    exact_only: bool,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self {
            bounds: "price.toml".into(),
            way: Way::OneProcess,
            mode: Mode::OneCaller,
            orders: None,
            exact_only: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bounds" => options.bounds = value()?.into(),
                "--distributed" => options.way = Way::FiveProcesses,
                "--callers" => {
                    let callers: usize = value()?.parse().context("--callers must be a number")?;
                    ensure!([1, many_callers::CALLERS].contains(&callers), "--callers: 1 or {}", many_callers::CALLERS);
                    options.mode = if callers > 1 { Mode::ManyCallers } else { Mode::OneCaller };
                }
                "--instructions" => options.mode = Mode::Instructions,
                "--orders" => options.orders = Some(value()?.parse().context("--orders must be a number")?),
                "--exact" => options.exact_only = true,
                _ => {
                    bail!(
                        "unknown argument {argument}: --distributed, --callers N, --instructions, --orders N, --exact, --bounds FILE"
                    )
                }
            }
        }
        // Pages written depend on how large the tables are: other numbers of orders have other figures.
        options.exact_only |= options.orders.is_some();
        ensure!(
            options.orders.is_none_or(|orders| (10..=10_000).contains(&orders)),
            "--orders must be from 10 to 10000"
        );
        ensure!(
            options.mode != Mode::Instructions || options.way == Way::OneProcess,
            "--instructions are counted in one process"
        );
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::from_arguments()?;
    let bounds = std::fs::read_to_string(&options.bounds).with_context(|| options.bounds.display().to_string())?;
    let bounds = Bounds::parse(&bounds).with_context(|| options.bounds.display().to_string())?;
    let callgrind = if options.mode == Mode::Instructions { Some(Callgrind::new()?) } else { None };
    let subject = match &callgrind {
        Some(callgrind) => Subject::launched(callgrind.launch()).await?,
        None => Subject::start(options.way, options.mode == Mode::ManyCallers).await?,
    };
    let orders = options.orders.unwrap_or(options.way.orders());
    let measured = match (&callgrind, options.mode) {
        (Some(callgrind), _) => instructions::measure(&subject, callgrind, orders).await,
        (None, Mode::ManyCallers) => many_callers::measure(&subject).await,
        (None, _) => one_caller::measure(&subject, orders).await,
    };
    let measured = measured.with_context(|| subject.platform.logs())?;
    subject.platform.settled().await?;
    subject.platform.audit().await?;
    subject.platform.stop().await?;
    let section = format!("{}.{}", options.way.name(), options.mode.name());
    let mut out = std::io::stdout();
    out.write_all(table::render(&section, &measured, &bounds).as_bytes())?;
    let verdict = bounds.verdict(&section, &measured, options.exact_only);
    for line in &verdict.lower {
        writeln!(out, "LOWER   {line}")?;
    }
    for line in &verdict.wrong {
        writeln!(out, "FAILED  {line}")?;
    }
    Ok(if verdict.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
