//! What every service's `main` does: arguments, configuration, telemetry, signals, the admin listener, and an orderly end.

use std::{future::Future, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use amends_telemetry as telemetry;
use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use tokio::net::TcpListener;

use crate::{Runtime, admin};
use service_base::config::{self, ConfigError, ConfigErrors, Section, Sources};

/// How long a service may take to end once it is told to: requests in flight end within 10 s (`http::Limits::drain_max`), what is left to
/// do after the last of them within 3.5 s (see each service's `run`), and a listener may give idle connections a last call before. With the
/// bounds below it stays within the 30 s that orchestrators grant, and ends within 5 s of the last request.
const END_MAX: Duration = Duration::from_secs(15);
/// How long a service that is still starting may take to end: it serves no caller, and what it waits for may never come.
const START_END_MAX: Duration = Duration::from_millis(500);
/// How long tasks may take to end after everything else has: each service has waited for its own.
const DRAIN_MAX: Duration = Duration::from_millis(250);
/// Work that still runs then has exceeded its bound; blocking work must not hold the process.
const RUNTIME_END_MAX: Duration = Duration::from_millis(250);

/// Arguments that all our programs take.
#[derive(Debug, Clone, Default, Parser)]
pub struct CommonArgs {
    /// TOML file with the configuration.
    #[arg(long, value_name = "FILE", env = "AMENDS_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Sets one key, as `--set order.http.listen=127.0.0.1:0`. May be repeated; the last wins.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    pub sets: Vec<(String, String)>,
    /// What to log: a level, or directives such as `info,order_service=debug`.
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// Prints the configuration's keys with their defaults, and ends.
    #[arg(long)]
    pub print_defaults: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    if key.is_empty() { Err("has no key".to_owned()) } else { Ok((key.to_owned(), value.to_owned())) }
}

impl CommonArgs {
    /// Where configuration comes from, given these arguments and this process's environment.
    pub fn sources(&self) -> Sources {
        let mut sets = self.sets.clone();
        sets.extend(self.log.iter().map(|filter| ("telemetry.filter".to_owned(), filter.clone())));
        Sources::from_process(self.config.clone(), sets)
    }
}

/// Installs the one TLS provider. Two meet in our dependency graph, and without a choice the first TLS use panics.
pub fn install_crypto() {
    // Fails only if one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Runs a service: the whole of its `main`.
///
/// `section` is the service's own section (`order` for `[order]`), besides `[admin]` and `[telemetry]`. `run` builds the
/// service and serves until `runtime.shutdown`.
///
/// ```ignore
/// fn main() -> ExitCode {
///     service_kit::main::run_service("order-service", "order", |config: Config, runtime| async move {
///         order_service::build(config, &runtime).await?.run().await
///     })
/// }
/// ```
pub fn run_service<C, F, Fut>(name: &'static str, section: &'static str, run: F) -> ExitCode
where
    C: Section,
    F: FnOnce(C, Runtime) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    run_service_from(std::env::args_os(), name, section, run)
}

/// As [`run_service`], with the command line of a program that is more than this service: its first word is passed over.
pub fn run_service_from<C, F, Fut>(
    args: impl IntoIterator<Item = std::ffi::OsString>,
    name: &'static str,
    section: &'static str,
    run: F,
) -> ExitCode
where
    C: Section,
    F: FnOnce(C, Runtime) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    install_crypto();
    service_base::descriptors::raise_limit();
    let defaults = || {
        [
            config::defaults::<C>(section),
            config::defaults::<admin::Config>("admin"),
            config::defaults::<telemetry::Config>("telemetry"),
        ]
        .join("\n")
    };
    let command = CommonArgs::command()
        .name(name)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(format!("Configuration keys and their defaults:\n\n{}", defaults()));
    let args = match CommonArgs::from_arg_matches(&command.get_matches_from(args)) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    if args.print_defaults {
        say(&defaults());
        return ExitCode::SUCCESS;
    }
    let (config, admin, telemetry) = match read::<C>(section, &args.sources()) {
        Ok(read) => read,
        Err(errors) => {
            print_error(&format!("{name}: {errors}"));
            return ExitCode::from(78); // EX_CONFIG
        }
    };
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the asynchronous runtime")
        .and_then(|tokio| {
            let result = tokio.block_on(supervise(name, config, admin, telemetry, run));
            tokio.shutdown_timeout(RUNTIME_END_MAX);
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("{name}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn read<C: Section>(
    section: &'static str,
    sources: &Sources,
) -> Result<(C, admin::Config, telemetry::Config), ConfigErrors> {
    let mut errors: Vec<ConfigError> = Vec::new();
    let mut keep =
        |result: Result<(), ConfigErrors>| errors.extend(result.err().into_iter().flat_map(|errors| errors.0));
    let mut own = None;
    let mut admin = None;
    let mut telemetry = None;
    // A file and an environment may be shared by several programs; flags are given to this one.
    let flags = Sources { sets: sources.sets.clone(), ..Sources::none() };
    let unknown = config::unknown_sections(&[section, "admin", "telemetry"], &flags);
    keep(if unknown.is_empty() { Ok(()) } else { Err(ConfigErrors(unknown)) });
    keep(config::load_from::<C>(section, sources).map(|read| own = Some(read)));
    keep(config::load_from::<admin::Config>("admin", sources).map(|read| admin = Some(read)));
    keep(config::load_from::<telemetry::Config>("telemetry", sources).map(|read| telemetry = Some(read)));
    if let (Some(own), Some(admin), Some(telemetry)) = (own, admin, telemetry)
        && errors.is_empty()
    {
        return Ok((own, admin, telemetry));
    }
    errors.sort();
    errors.dedup();
    Err(ConfigErrors(errors))
}

async fn supervise<C, F, Fut>(
    name: &'static str,
    config: C,
    admin: admin::Config,
    mut telemetry: telemetry::Config,
    run: F,
) -> anyhow::Result<()>
where
    F: FnOnce(C, Runtime) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = Runtime::new();
    // Nothing of its own yet: with too few for that, nothing that follows could be said clearly.
    runtime.descriptors.reserve(name, 0)?;
    runtime.readiness.starting();
    if telemetry.service_name.is_empty() {
        name.clone_into(&mut telemetry.service_name);
    }
    runtime.faults.in_environment(&telemetry.environment);
    let guard = telemetry::init(telemetry).context("could not set up telemetry")?;
    register_telemetry(&runtime.metrics, &guard);
    runtime.metrics.register_process();
    runtime.shutdown.on_signals(admin.drain_delay()).context("could not listen to signals")?;
    let listener = TcpListener::bind(admin.listen).await.with_context(|| format!("admin.listen: {}", admin.listen))?;
    tracing::info!(service = name, admin = %listener.local_addr()?, "starting");
    let admin_stop = crate::shutdown::Shutdown::new();
    let (served_runtime, served_stop) = (runtime.clone(), admin_stop.clone());
    let served = tokio::spawn(async move { admin::serve(listener, &served_runtime, served_stop).await });
    let result = within(&runtime, run(config, runtime.clone())).await;
    if let Err(error) = &result {
        tracing::error!(error = format!("{error:#}"), "the service ends with an error");
    }
    runtime.shutdown.trigger();
    runtime.shutdown.drained(DRAIN_MAX).await;
    // The last to go, so that operators can watch the draining.
    admin_stop.trigger();
    let _ = served.await;
    tracing::info!(service = name, "stopped");
    drop(guard);
    result
}

/// Runs to the end, but for a bounded time once shutdown has begun.
async fn within(runtime: &Runtime, run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let late = async {
        runtime.shutdown.triggered().await;
        let bound = if runtime.readiness.is_starting() { START_END_MAX } else { END_MAX };
        tokio::time::sleep(bound).await;
        bound
    };
    tokio::select! {
        result = run => result,
        bound = late => {
            tracing::warn!(?bound, "the service did not end in time; ending without it");
            Ok(())
        }
    }
}

/// Shows what became of log lines among the process's metrics.
pub fn register_telemetry(metrics: &service_base::metrics::Metrics, guard: &telemetry::Guard) {
    let meters = guard.meters();
    metrics.register("log_console_lines_total", "Log lines for the console", meters.console.lines.clone());
    metrics.register(
        "log_console_dropped_total",
        "Log lines dropped because standard output or the log file did not take them",
        meters.console.dropped.clone(),
    );
    let shipper = &meters.shipper;
    metrics.register("log_shipper_lines_total", "Log lines handed to the shipper", shipper.lines.clone());
    metrics.register("log_shipper_delivered_total", "Log lines that the sink has taken", shipper.delivered.clone());
    metrics.register(
        "log_shipper_repeated_total",
        "Log lines sent again because a connection broke; the sink may have them twice",
        shipper.repeated.clone(),
    );
    metrics.register(
        "log_shipper_dropped_total",
        "Log lines that were not delivered, by reason",
        shipper.dropped.clone(),
    );
    let spans = &meters.spans;
    metrics.register("telemetry_spans_exported_total", "Spans that the collector took", spans.exported.clone());
    metrics.register(
        "telemetry_spans_dropped_total",
        "Spans that were to be sent and are lost, by reason: queue_full, collector, end_of_process",
        spans.dropped.clone(),
    );
    metrics.register("log_shipper_connected", "1 while the shipper has a connection", shipper.connected.clone());
    // Every line of a request names it, whichever part of the program writes it.
    telemetry::correlate_by(|show| service_base::context::with_correlation(show));
}

fn say(text: &str) {
    // The reader may have closed the pipe: `--print-defaults | head -1`.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn print_error(text: &str) {
    telemetry::stderr::tell(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, serde::Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Shop {
        lines_max: u16,
    }

    impl Section for Shop {
        fn validate(&self, _: &mut Vec<ConfigError>) {}
    }

    #[test]
    fn the_mistakes_of_all_sections_are_told_at_once() {
        let sources = Sources::none()
            .set("shop.lines_max", "many")
            .set("admin.listen", "here")
            .set("telemetry.filter", "x=loud")
            .set("shpo.lines_max", 1);
        let Err(ConfigErrors(errors)) = read::<Shop>("shop", &sources) else { panic!("was read") };
        let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["admin.listen", "shop.lines_max", "shpo", "telemetry.filter"]);
        assert!(read::<Shop>("shop", &Sources::none().set("shop.lines_max", 3)).is_ok());
    }

    #[test]
    fn the_command_line_is_read() {
        let line = ["x", "--set", "a.b=c=d", "--log", "debug", "--set", "e.f="];
        let args = CommonArgs::try_parse_from(line).unwrap();
        let pairs: Vec<(String, String)> = args.sources().sets;
        let shown: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["a.b=c=d", "e.f=", "telemetry.filter=debug"]);
        for bad in ["novalue", "=x"] {
            assert!(CommonArgs::try_parse_from(["x", "--set", bad]).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_end_is_left_behind() {
        let runtime = Runtime::for_testing();
        assert!(within(&runtime, async { anyhow::bail!("its own end") }).await.is_err());
        runtime.shutdown.trigger();
        let began = tokio::time::Instant::now();
        within(&runtime, std::future::pending()).await.unwrap();
        assert_eq!(began.elapsed(), END_MAX);
    }
    #[tokio::test(start_paused = true)]
    async fn a_service_that_waits_to_start_ends_at_once() {
        let runtime = Runtime::for_testing();
        runtime.readiness.starting();
        runtime.shutdown.trigger();
        let began = tokio::time::Instant::now();
        within(&runtime, std::future::pending()).await.unwrap();
        assert_eq!(began.elapsed(), START_END_MAX);
    }
}
