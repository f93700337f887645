//! Runs the scenario against `AMENDS_LOAD_HOST` and judges it by `budgets.toml`. `cargo xtask load` starts both ends.

#![expect(clippy::print_stdout, reason = "a command-line tool talks to its terminal")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use amends_loadtests::{
    budgets::{Budgets, Figures, Shape},
    curve::{self, Judged, Plan},
    scenario,
};
use anyhow::Context;
use clap::Parser;
use goose::{config::GooseConfiguration, metrics::GooseMetrics, prelude::*};

#[derive(Parser)]
#[command(about = "Load scenarios against a running Amends")]
struct Arguments {
    /// Short and gentle: nothing may fail, times are only shown.
    #[arg(long)]
    smoke: bool,
    /// Only place orders: how many sagas a second there are.
    #[arg(long)]
    orders_only: bool,
    /// Customers at once, instead of the budget file's number; then times are only shown.
    #[arg(long)]
    users: Option<usize>,
    /// For how long, instead of the budget file's number.
    #[arg(long)]
    seconds: Option<u64>,
    /// The overload curve instead: orders at multiples of the best throughput, whatever the answers.
    #[arg(long)]
    curve: bool,
    /// Of the curve: where it is drawn.
    #[arg(long, default_value = "target/overload.svg")]
    svg: PathBuf,
    /// Of the curve: what it is of, as picture and page call it.
    #[arg(long, default_value = "overload")]
    name: String,
    /// Of the curve: the page that shows its figures, between the marks of that name.
    #[arg(long)]
    page: Option<PathBuf>,
    /// Of the curve: orders a second to take multiples of, instead of the best throughput that is found.
    #[arg(long)]
    best: Option<f64>,
    /// Of the curve: what is offered, as multiples of the best throughput.
    #[arg(long, value_delimiter = ',', default_values_t = curve::MULTIPLES)]
    multiples: Vec<f64>,
    /// Of the curve: seconds a caller waits for its answer.
    #[arg(long, default_value_t = 5)]
    patience: u64,
    /// Of the curve: connections at once. A gateway with its own limits has 8192.
    #[arg(long, default_value_t = 2000)]
    connections: usize,
    /// The gateway, such as http://127.0.0.1:8080.
    #[arg(long, env = "AMENDS_LOAD_HOST")]
    host: String,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let password = scenario::password().map_err(anyhow::Error::msg)?;
    if arguments.curve {
        // One thread sends some thousand orders a second, and leaves the other processors to those who are asked.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(overload(&arguments, &password));
    }
    tokio::runtime::Runtime::new()?.block_on(budgeted(arguments))
}

async fn budgeted(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut budgets = Budgets::committed()?;
    if arguments.orders_only {
        budgets.p99_ms.retain(|name, _| ["login", "place"].contains(&name.as_str()));
    }
    let committed = if arguments.smoke { &budgets.smoke } else { &budgets.full };
    let shape = Shape {
        users: arguments.users.unwrap_or(committed.users),
        seconds: arguments.seconds.unwrap_or(committed.seconds),
        // Of a shape of one's own nothing is known beforehand, but that it asks at all.
        requests_min: if arguments.users.is_some() || arguments.orders_only { 1 } else { committed.requests_min },
    };
    let scenario = if arguments.orders_only { scenario::orders() } else { scenario::customer() }?;
    let metrics = attack(&shape, arguments.host, scenario).await.context("the load test could not run")?;
    let figures = figures(&metrics);
    println!("{} customers, {} s\n{}", shape.users, shape.seconds, budgets.table(&figures, shape.seconds));
    let times_count = !arguments.smoke && !arguments.orders_only && arguments.users.is_none();
    let wrong = budgets.verdict(&shape, &figures, times_count);
    for line in &wrong {
        println!("FAILED {line}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Seconds of each stage of the curve; and of the short one, which only has to work.
const CURVE_SECONDS: u64 = 10;
const CURVE_SMOKE_SECONDS: u64 = 2;

async fn overload(arguments: &Arguments, password: &str) -> anyhow::Result<ExitCode> {
    let usual = if arguments.smoke { CURVE_SMOKE_SECONDS } else { CURVE_SECONDS };
    let plan = Plan {
        seconds: arguments.seconds.unwrap_or(usual),
        patience: Duration::from_secs(arguments.patience),
        connections_max: arguments.connections,
        best: arguments.best,
        multiples: arguments.multiples.clone(),
    };
    let curve = curve::measure(&arguments.host, password, &plan, |line| println!("{line}")).await?;
    println!("\n{}", curve::figures(&plan, &curve));
    curve::write(&arguments.svg, &format!("Overload, {}", arguments.name), &curve)?;
    if let Some(page) = &arguments.page {
        curve::put(page, &arguments.name, &plan, &curve)?;
    }
    println!("drawn in {}", arguments.svg.display());
    let wrong = curve::verdict(&curve, (!arguments.smoke).then_some(Judged::PROMISED));
    for line in &wrong {
        println!("FAILED {line}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn attack(shape: &Shape, host: String, scenario: Scenario) -> Result<GooseMetrics, GooseError> {
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(host);
    configuration.users = Some(shape.users);
    // All within a second: ramping up is not what is measured.
    configuration.increase_rate = Some(shape.users.to_string());
    configuration.run_time = Some(format!("{}s", shape.seconds));
    configuration.quiet = 1;
    configuration.no_print_metrics = true;
    // The logins happen while users start, and are to be counted.
    configuration.no_reset_metrics = true;
    configuration.no_telnet = true;
    let attack = GooseAttack::initialize_with_config(configuration)?.register_scenario(scenario);
    // Its future is 20 KB.
    Box::pin(attack.execute()).await
}

fn figures(metrics: &GooseMetrics) -> Vec<Figures> {
    let mut figures: Vec<Figures> = metrics
        .requests
        .values()
        .map(|request| Figures {
            name: request.path.clone(),
            succeeded: request.success_count,
            failed: request.fail_count,
            p50_us: request.raw_data.percentile_us(0.5),
            p99_us: request.raw_data.percentile_us(0.99),
        })
        .collect();
    figures.sort_by(|one, other| one.name.cmp(&other.name));
    figures
}
