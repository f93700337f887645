//! `amends up`: every service in this process, until it is told to stop.

use std::path::Path;

use amends_telemetry::stderr;
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use service_kit::{Runtime, config::Sources};

use crate::{
    cli,
    embedded::{Addresses, DEMO_USER, Embedded, secrets::Origin},
    settings::Settings,
};

/// Runs until SIGINT, SIGTERM or SIGQUIT, then drains.
///
/// # Errors
/// With every mistake in the configuration, or when a service fails.
pub async fn up(
    data_dir: &Path,
    addresses_file: Option<&Path>,
    sources: Sources,
    demo_password: Option<SecretString>,
) -> anyhow::Result<()> {
    cli::private_dir(data_dir)?;
    let runtime = Runtime::new();
    let (settings, secrets, origin) = Embedded::settings(data_dir, sources, demo_password)?;
    let mut telemetry = settings.telemetry.clone();
    if telemetry.service_name.is_empty() {
        "amends".clone_into(&mut telemetry.service_name);
    }
    let guard = amends_telemetry::init(telemetry).context("could not set up telemetry")?;
    service_kit::main::register_telemetry(&runtime.metrics, &guard);
    runtime.shutdown.on_signals(settings.admin.drain_delay())?;

    let embedded = tokio::select! {
        embedded = Box::pin(Embedded::build(settings, &runtime)) => embedded?,
        // Nobody is served yet, and what the start waits for may never come.
        () = runtime.shutdown.triggered() => return Ok(()),
    };
    if let Some(file) = addresses_file {
        write_whole(file, &serde_json::to_vec(embedded.addresses())?)?;
    }
    greet(embedded.addresses(), data_dir, (origin == Origin::Made).then_some(&secrets.demo_password));
    let result = Box::pin(embedded.run()).await;
    drop(guard);
    result
}

/// A reader finds either no file or a whole one.
fn write_whole(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    let draft = file.with_extension("new");
    std::fs::write(&draft, content)?;
    Ok(std::fs::rename(&draft, file)?)
}

/// The one place where the demo password is told, and only at the start that made it. Whether anybody reads it changes nothing.
fn greet(addresses: &Addresses, data_dir: &Path, new_password: Option<&SecretString>) {
    let Addresses { gateway, admin, .. } = addresses;
    stderr::tell(&format!("amends is up: http://{gateway} (HTTP and gRPC), metrics http://{admin}/metrics"));
    let kept = data_dir.join("secrets.toml");
    stderr::tell(&match new_password {
        Some(password) => {
            let password = password.expose_secret();
            format!("demo user: {DEMO_USER}, password: {password} (kept in {})", kept.display())
        }
        None => format!("demo user: {DEMO_USER}, password: in {}", kept.display()),
    });
}

impl Settings {
    /// The two listeners that have a port of their own elsewhere on free ones too: for the demo and for tests.
    pub fn on_free_ports(&mut self) {
        let free = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        self.gateway.listen = free;
        self.admin.listen = free;
    }
}
