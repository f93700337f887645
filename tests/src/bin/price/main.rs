//! The price of an order: what the program asks of its stores and of its machine for one that is confirmed, one that is declined, and one
//! that is cancelled. Prints it, and fails where it is above what `price.toml` allows. No time is measured: these figures are the same on
//! every machine, or nearly so.

mod bounds;
mod figures;
mod journeys;
mod one_caller;
mod table;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};

use bounds::Bounds;

/// Requests of each kind. Pages written depend on how large the tables are: other numbers of orders have other figures.
const ORDERS: usize = 100;

struct Options {
    bounds: PathBuf,
    orders: usize,
    exact_only: bool,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self { bounds: "price.toml".into(), orders: ORDERS, exact_only: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bounds" => options.bounds = value()?.into(),
                "--orders" => options.orders = value()?.parse().context("--orders must be a number")?,
                "--exact" => options.exact_only = true,
                _ => bail!("unknown argument {argument}: --bounds FILE, --orders N, --exact"),
            }
        }
        options.exact_only |= options.orders != ORDERS;
        ensure!((10..=10_000).contains(&options.orders), "--orders must be from 10 to 10000");
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::from_arguments()?;
    let bounds = std::fs::read_to_string(&options.bounds).with_context(|| options.bounds.display().to_string())?;
    let bounds = Bounds::parse(&bounds).with_context(|| options.bounds.display().to_string())?;
    let measured = one_caller::measure(options.orders).await?;
    let section = "one_process.one_caller";
    let mut out = std::io::stdout();
    out.write_all(table::render(section, &measured, &bounds).as_bytes())?;
    let verdict = bounds.verdict(section, &measured, options.exact_only);
    for line in &verdict.lower {
        writeln!(out, "LOWER   {line}")?;
    }
    for line in &verdict.wrong {
        writeln!(out, "FAILED  {line}")?;
    }
    Ok(if verdict.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
