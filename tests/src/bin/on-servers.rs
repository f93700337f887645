//! Runs a command against five services on PostgreSQL, MongoDB and Redis, and stops them: `on-servers PROGRAM [ARGUMENT]…`. Then says how
//! much processor time each of them used meanwhile, for each order.
//!
//! The command learns where the gateway is from `AMENDS_LOAD_HOST`, and the demo user's password from `AMENDS_LOAD_PASSWORD`.

#![expect(clippy::print_stdout, reason = "a command-line tool talks to its terminal")]

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use amends_tests::{
    kit::processor,
    platform::{PASSWORD, PROGRAMS, Platform},
    process::server_process,
};
use anyhow::Context;
use serde_json::json;

/// What is not ours, and the variable that names the file with the process id.
const SERVERS: [(&str, &str); 3] = [
    ("PostgreSQL", "AMENDS_TEST_POSTGRES_PID_FILE"),
    ("MongoDB", "AMENDS_TEST_MONGODB_PID_FILE"),
    ("Redis", "AMENDS_TEST_REDIS_PID_FILE"),
];

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().context("say which program to run")?;
    // All callers have one address and are one subject: the limits per caller are not what is looked at here.
    let limits = json!({"requests_per_subject": 4096, "connections_per_address": 4096});
    let settings = json!({"gateway": {"rate_limit": {"enabled": false}, "limits": limits}});
    let platform = Platform::distributed_direct(settings).await?.context("needs PostgreSQL, MongoDB and Redis")?;
    let before = Used::by(&platform).await?;
    let status = tokio::process::Command::new(program)
        .args(arguments)
        .env("AMENDS_LOAD_HOST", format!("http://{}", platform.gateway))
        .env("AMENDS_LOAD_PASSWORD", PASSWORD)
        .kill_on_drop(true)
        .status()
        .await;
    platform.settled().await?;
    println!("{}", Used::by(&platform).await?.since(&before));
    platform.audit().await?;
    platform.stop().await?;
    Ok(if status?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Processor time so far, and the orders that it was used for.
struct Used {
    time: BTreeMap<&'static str, Option<Duration>>,
    orders: u32,
}

impl Used {
    async fn by(platform: &Platform) -> anyhow::Result<Self> {
        let mut time = BTreeMap::new();
        for program in PROGRAMS {
            time.insert(program, platform.process_id(program).and_then(processor::used_by));
        }
        for (server, variable) in SERVERS {
            time.insert(server, server_process(variable)?.and_then(processor::used_by));
        }
        let page = format!("http://{}/metrics", platform.admin_address("order")?);
        let page = service_base::client::internal().build()?.get(page).send().await?.error_for_status()?.text().await?;
        // Besides orders, requests that were answered 503 are counted there, and a cancelled order was confirmed before.
        let settled = ["confirmed", "failed"].map(|status| format!("orders_total{{status=\"{status}\"}} "));
        let settled = settled.iter().flat_map(|of| page.lines().filter_map(move |line| line.strip_prefix(of.as_str())));
        let orders = settled.filter_map(|count| count.parse::<u32>().ok()).sum();
        Ok(Self { time, orders })
    }

    /// A line for people.
    fn since(&self, before: &Self) -> String {
        let orders = self.orders.saturating_sub(before.orders);
        if orders == 0 {
            return "no order was placed: nothing to divide the processor time by".to_owned();
        }
        let names = PROGRAMS.into_iter().chain(SERVERS.map(|(server, _)| server));
        let of_each: Vec<String> = names
            .map(|name| match (self.time[name], before.time[name]) {
                (Some(now), Some(before)) => {
                    format!("{name} {:.2} ms", now.saturating_sub(before).as_secs_f64() * 1e3 / f64::from(orders))
                }
                // It is not on this machine, or this is no Linux.
                _ => format!("{name} not known"),
            })
            .collect();
        format!("processor time for each of {orders} orders: {}", of_each.join(", "))
    }
}
