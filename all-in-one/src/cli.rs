//! The command line of `amends`.

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use service_kit::{config::Sources, main::run_service_from};

use crate::{
    audit::{self, progress::Progress},
    demo, embedded, migrate, saga, settings, stores, up, webhook,
};

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
    /// Reconcile the order, inventory and payment stores; exits 0 only when the books balance
    Audit {
        #[command(flatten)]
        data: Data,
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
    /// Print every configuration key with its default, as TOML
    Config,
}

#[derive(Args)]
struct Data {
    /// Where the embedded stores and secrets are
    #[arg(long, global = true, value_name = "DIR", env = "AMENDS_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,
    /// Use the stores that the configuration names, not those of the data directory
    #[arg(long, global = true)]
    distributed: bool,
}

#[derive(Args)]
struct ConfigArgs {
    /// A TOML file
    #[arg(long, global = true, value_name = "FILE", env = "AMENDS_CONFIG")]
    config: Option<PathBuf>,
    /// Set one key, for example gateway.listen=127.0.0.1:0; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    sets: Vec<(String, String)>,
}

/// Handed on to the service as they are.
#[derive(Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _args: Vec<OsString>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "must be KEY=VALUE".to_owned())
}

impl ConfigArgs {
    fn into_sources(self) -> Sources {
        Sources::from_process(self.config, self.sets)
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    service_kit::main::install_crypto();
    service_kit::descriptors::raise_limit();
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
        Command::Migrate { data, config } => block_on(run_migrate(&data, config)).map(|()| ExitCode::SUCCESS),
        Command::Audit { data, json, config } => block_on(run_audit(&data, config, json)),
        Command::Saga { data, json, config, verb } => block_on(run_saga(&data, config, verb, json)),
        Command::Webhook { data, json, config, verb } => block_on(run_webhook(&data, config, verb, json)),
        Command::Config => print(&settings::defaults()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // The log may be off, or not set up yet.
        let _ = writeln!(std::io::stderr(), "amends: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run_migrate(data: &Data, config: ConfigArgs) -> anyhow::Result<()> {
    let mut sources = config.into_sources();
    if !data.distributed {
        private_dir(&data.data_dir)?;
        embedded::base(&data.data_dir, &mut sources, demo_password())?;
    }
    migrate::migrate(&sources).await
}

async fn run_audit(data: &Data, config: ConfigArgs, json: bool) -> anyhow::Result<ExitCode> {
    let report = audit::run(&stores::open(&of_existing(data, config)?).await?, &mut Progress::on_terminal()).await?;
    print(&if json { format!("{:#}\n", report.to_json()) } else { report.to_text() })?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_saga(data: &Data, config: ConfigArgs, verb: saga::Verb, json: bool) -> anyhow::Result<ExitCode> {
    let told = saga::run(&*stores::open_journal(&of_existing(data, config)?)?, verb, json).await?;
    print(&told.text)?;
    Ok(told.code)
}

async fn run_webhook(data: &Data, config: ConfigArgs, verb: webhook::Verb, json: bool) -> anyhow::Result<ExitCode> {
    let (store, configured) = stores::open_webhooks(&of_existing(data, config)?).await?;
    let told = webhook::run(&*store, &configured, verb, json).await?;
    print(&told.text)?;
    Ok(told.code)
}

/// Where existing data is. A tool that looks makes nothing, not even secrets.
fn of_existing(data: &Data, config: ConfigArgs) -> anyhow::Result<Sources> {
    let mut sources = config.into_sources();
    if !data.distributed {
        let dir = &data.data_dir;
        anyhow::ensure!(
            embedded::secrets_file(dir).exists(),
            "{} holds no data: name the directory with --data-dir",
            dir.display()
        );
        embedded::base(dir, &mut sources, None)?;
    }
    Ok(sources)
}

fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the asynchronous runtime")?;
    let result = runtime.block_on(future);
    // What still runs has had its time.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

#[expect(clippy::disallowed_methods, reason = "a secret of the demo alone, which no section holds")]
fn demo_password() -> Option<SecretString> {
    std::env::var("AMENDS_DEMO_PASSWORD").ok().filter(|password| !password.is_empty()).map(Into::into)
}

/// Makes a directory for data that only its owner can enter.
pub(crate) fn private_dir(dir: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).with_context(|| format!("cannot make {}", dir.display()))
}
