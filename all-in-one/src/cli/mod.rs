//! The command line of `amends`: which commands there are. What each does with its arguments is in the folder, a file for commands of
//! one kind.

mod args;
mod keep;
mod look;

use std::{io::Write, path::PathBuf, process::ExitCode};

use amends_primitives::OrderId;
use anyhow::Context;
use clap::{Parser, Subcommand};
use secrecy::SecretString;
use service_kit::main::run_service_from;

use self::args::{ConfigArgs, Data, Rest};
use crate::{demo, logs, saga, settings, up, webhook};

/// Orders and payments that make amends: a gateway, a token service and a durable saga over stock and payments.
#[derive(Parser)]
#[command(name = "amends", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every service in this process, with all data in one directory
    Up {
        #[command(flatten)]
        data: Data,
        /// Write the addresses of all listeners to this file as JSON, once they are bound
        #[arg(long, value_name = "FILE")]
        addresses: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Start everything in a temporary directory, place and cancel orders, show each saga, check the books
    Demo,
    /// Run the gateway alone (see `amends gateway --help`)
    #[command(disable_help_flag = true)]
    Gateway(Rest),
    /// Run the token service alone
    #[command(disable_help_flag = true)]
    Identity(Rest),
    /// Run the order service alone
    #[command(disable_help_flag = true)]
    Order(Rest),
    /// Run the payment service alone
    #[command(disable_help_flag = true)]
    Payment(Rest),
    /// Run the inventory service alone
    #[command(disable_help_flag = true)]
    Inventory(Rest),
    /// Run a simulated acquirer, for payments over HTTP (`payment.processor.kind=http`)
    #[command(disable_help_flag = true)]
    Acquirer(Rest),
    /// Bring the schema of every store up to date, and stop
    Migrate {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Reconcile the order, inventory and payment stores and the bank's books; exits 0 only when they balance, 1 when something does
    /// not, 3 when not everything could be checked
    Audit {
        #[command(flatten)]
        data: Data,
        /// Leave the bank's books out, for a processor without a statement or a copy older than it; the report says so
        #[arg(long)]
        without_bank: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Look at sagas, and help those that need a human
    Saga {
        #[command(flatten)]
        data: Data,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        verb: saga::Verb,
    },
    /// Draw what became of an order: its sagas as a tree, each attempt with its outcome and how long it took
    Trace {
        /// The order's id
        order: OrderId,
        #[command(flatten)]
        data: Data,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// The latest log lines about an order, from the memory of the running processes
    Logs {
        #[command(flatten)]
        logs: logs::LogsArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Look at webhooks, and have those sent again that were given up
    Webhook {
        #[command(flatten)]
        data: Data,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        verb: webhook::Verb,
    },
    /// Copy all stores and secrets as of one moment, also while they are served, and audit the copy
    Backup {
        #[command(flatten)]
        data: Data,
        /// The folder for the backup; made, or empty
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Put a backup into a data directory that no server has
    Restore {
        /// Where the restored shop goes
        #[arg(long, value_name = "DIR", env = "AMENDS_DATA_DIR", default_value = "data")]
        data_dir: PathBuf,
        /// The folder of the backup
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Move a shop that is in the data directory aside
        #[arg(long)]
        replace: bool,
        /// Restore also what the audit finds discrepancies in
        #[arg(long)]
        unbalanced: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Take stores that lack their -wal files as they are, after everything else has been tried
    Accept {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// For development: remove everything a data directory holds, or with --distributed empty the configured stores
    Reset {
        #[command(flatten)]
        data: Data,
        /// Confirm, in a script: the names that the command would ask for
        #[arg(long, value_name = "NAMES")]
        yes_delete: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Find what is wrong with the stores, the machine and the configuration, and say what to type
    Doctor {
        #[command(flatten)]
        data: Data,
        /// Check every page and index of the stores, however long that takes
        #[arg(long)]
        full: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print every configuration key with its default, as TOML
    Config,
}

/// Runs the program.
pub fn main() -> ExitCode {
    service_kit::main::install_crypto();
    service_base::descriptors::raise_limit();
    let own_args = || std::env::args_os().skip(1);
    macro_rules! service {
        ($module:ident, $name:literal, $section:literal) => {
            run_service_from(own_args(), $name, $section, |config, runtime| async move {
                $module::build(config, &runtime).await?.run().await
            })
        };
    }
    let done = match Cli::parse().command {
        Command::Gateway(_) => return service!(gateway, "gateway", "gateway"),
        Command::Identity(_) => return service!(identity_service, "identity-service", "identity"),
        Command::Order(_) => return service!(order_service, "order-service", "order"),
        Command::Payment(_) => return service!(payment_service, "payment-service", "payment"),
        Command::Inventory(_) => return service!(inventory_service, "inventory-service", "inventory"),
        Command::Acquirer(_) => return service!(acquirer, "acquirer", "acquirer"),
        Command::Up { data, addresses, config } => {
            block_on(up::up(&data.data_dir, addresses.as_deref(), config.into_sources(), demo_password()))
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Demo => block_on(demo::demo()).map(|()| ExitCode::SUCCESS),
        Command::Migrate { data, config } => block_on(keep::migrate(&data, config)).map(|()| ExitCode::SUCCESS),
        Command::Audit { data, without_bank, json, config } => block_on(look::audit(&data, config, without_bank, json)),
        Command::Saga { data, json, config, verb } => block_on(look::saga(&data, config, verb, json)),
        Command::Trace { order, data, json, config } => block_on(look::trace(&data, config, order, json)),
        Command::Logs { logs, json, config } => block_on(look::logs(logs, config, json)),
        Command::Webhook { data, json, config, verb } => block_on(look::webhook(&data, config, verb, json)),
        Command::Backup { data, to, json, config } => block_on(keep::backup(&data, config, &to, json)),
        Command::Restore { data_dir, from, replace, unbalanced, json, config } => {
            let allowed = crate::backup::restore::Allowed { replace, unbalanced };
            block_on(keep::restore(&data_dir, config, &from, allowed, json))
        }
        Command::Accept { data, config } => block_on(keep::accept(&data, config)),
        Command::Reset { data, yes_delete, config } => block_on(keep::reset(&data, config, yes_delete)),
        Command::Doctor { data, full, json, config } => block_on(look::doctor(&data, config, full, json)),
        Command::Config => print(&settings::defaults()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // The log may be off, or not set up yet.
        amends_telemetry::stderr::tell(&format!("amends: {error:#}"));
        ExitCode::FAILURE
    })
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the asynchronous runtime")?;
    let result = runtime.block_on(future);
    // Work that still runs has exceeded its bound.
    runtime.shutdown_timeout(std::time::Duration::from_millis(250));
    result
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

#[expect(clippy::disallowed_methods, reason = "a secret of the demo alone, which no section holds")]
fn demo_password() -> Option<SecretString> {
    std::env::var("AMENDS_DEMO_PASSWORD").ok().filter(|password| !password.is_empty()).map(Into::into)
}
