//! `amends up`: every service in this process, until it is told to stop.

use std::path::Path;

use amends_telemetry::stderr;
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use service_base::{
    config::Sources,
    files::{self, Access},
};
use service_kit::Runtime;

use crate::{
    data_dir::{self, Instance},
    embedded::{Addresses, DEMO_USER, Embedded, secrets::Origin},
    settings::Settings,
    stores,
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
    data_dir::make_private(data_dir)?;
    // Before anything in the directory is read or made: of two first starts at once, one finds the other.
    let lock = data_dir::take(data_dir)?;
    let runtime = Runtime::new();
    let (settings, secrets, origin) = Embedded::settings(data_dir, sources, demo_password)?;
    let Settings { order, payment, inventory, identity, .. } = &settings;
    let locations = stores::locations_of(order, payment, inventory, identity)?;
    let paths = data_dir::files(&locations);
    // Also those outside the directory, and those of a service that runs by itself.
    let _held = data_dir::take_files(&paths)?;
    data_dir::check_whole(data_dir, &paths).await?;
    let mut telemetry = settings.telemetry.clone();
    if telemetry.service_name.is_empty() {
        "amends".clone_into(&mut telemetry.service_name);
    }
    let guard = amends_telemetry::init(telemetry).context("could not set up telemetry")?;
    service_kit::main::register_telemetry(&runtime.metrics, &guard);
    runtime.shutdown.on_signals(settings.admin.drain_delay())?;

    let embedded = tokio::select! {
        embedded = Box::pin(Embedded::build(settings, &runtime)) => {
            embedded.with_context(|| format!("the services on {} did not start", data_dir.display()))?
        }
        // No caller is served yet, and what the start waits for may never come.
        () = runtime.shutdown.triggered() => return Ok(()),
    };
    Instance::record(data_dir, paths.iter().copied())?;
    // Only to be named by another start; a full disk is no reason not to serve.
    if let Err(error) = lock.tell(&format!("http://{}", embedded.addresses().gateway)) {
        tracing::warn!(%error, file = %lock.path().display(), "the addresses could not be written to the lock");
    }
    if let Some(file) = addresses_file {
        // Drafts of a killed start must not stop this one, and the folder may belong to another user.
        if let Err(error) = files::remove_drafts(file) {
            tracing::warn!(%error, "unfinished files were left");
        }
        files::write_whole(file, &serde_json::to_vec(embedded.addresses())?, Access::Shared)?;
    }
    greet(embedded.addresses(), data_dir, (origin == Origin::Made).then_some(&secrets.demo_password));
    let result = Box::pin(embedded.run()).await;
    drop(guard);
    result
}

/// The one place where the demo password is printed, and only at the start that made it. It does not matter whether it is read.
fn greet(addresses: &Addresses, data_dir: &Path, new_password: Option<&SecretString>) {
    let Addresses { gateway, admin, .. } = addresses;
    stderr::tell(&format!("amends is up: http://{gateway} (HTTP and gRPC), metrics http://{admin}/metrics"));
    stderr::tell(&format!(
        "to look at an order: amends logs ORDER, amends trace ORDER --data-dir {0}, amends saga list --data-dir {0}",
        data_dir.display()
    ));
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
