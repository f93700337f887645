//! Runs the scenario against `AMENDS_LOAD_HOST` and judges it by `budgets.toml`. `cargo xtask load` starts both ends.

#![expect(clippy::print_stdout, reason = "a command-line tool talks to its terminal")]

use std::process::ExitCode;

use amends_loadtests::{
    budgets::{Budgets, Figures, Shape},
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
    /// The gateway, such as http://127.0.0.1:8080.
    #[arg(long, env = "AMENDS_LOAD_HOST")]
    host: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    scenario::password().map_err(anyhow::Error::msg)?;
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
