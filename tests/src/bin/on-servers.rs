//! Runs a command against five services on PostgreSQL, MongoDB and Redis, and stops them: `on-servers PROGRAM [ARGUMENT]…`.
//!
//! The command learns where the gateway is from `AMENDS_LOAD_HOST`, and the demo user's password from `AMENDS_LOAD_PASSWORD`.

use std::process::ExitCode;

use amends_tests::platform::{PASSWORD, Platform};
use anyhow::Context;
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().context("say which program to run")?;
    // All callers have one address and are one subject: the limits per caller are not what is looked at here.
    let limits = json!({"requests_per_subject": 4096, "connections_per_address": 4096});
    let settings = json!({"gateway": {"rate_limit": {"enabled": false}, "limits": limits}});
    let platform = Platform::distributed_with(settings).await?.context("needs PostgreSQL, MongoDB and Redis")?;
    let status = tokio::process::Command::new(program)
        .args(arguments)
        .env("AMENDS_LOAD_HOST", format!("http://{}", platform.gateway))
        .env("AMENDS_LOAD_PASSWORD", PASSWORD)
        .kill_on_drop(true)
        .status()
        .await;
    platform.settled().await?;
    platform.audit().await?;
    platform.stop().await?;
    Ok(if status?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
