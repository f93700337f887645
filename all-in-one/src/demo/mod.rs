//! `amends demo`: the whole of Amends in a temporary directory, used by a real client over real HTTP, shown as a story.

pub mod story;

use std::io::Write;

use amends_telemetry::LogTo;
use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use service_base::config::Sources;
use service_kit::Runtime;

use crate::{
    audit,
    client::Client,
    embedded::{self, DEMO_USER, Embedded},
    stores,
};

/// Plays the story and checks the books.
///
/// # Errors
/// When anything is not as promised; the log of the run is then kept.
pub async fn demo() -> anyhow::Result<()> {
    let dir = tempfile::Builder::new().prefix("amends-demo-").tempdir()?;
    match Box::pin(play_in(dir.path())).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let kept = dir.keep();
            Err(error.context(format!("the demo failed; its data and log are kept in {}", kept.display())))
        }
    }
}

async fn play_in(dir: &std::path::Path) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    let mut out = std::io::stdout().lock();
    let runtime = Runtime::new();
    let (mut settings, secrets, _) = Embedded::settings(dir, Sources::none(), None)?;
    settings.on_free_ports();
    settings.telemetry.log = LogTo::File;
    settings.telemetry.log_file = dir.join("amends.log");
    "amends-demo".clone_into(&mut settings.telemetry.service_name);
    let guard = amends_telemetry::init(settings.telemetry.clone()).context("could not set up telemetry")?;
    runtime.shutdown.on_signals(std::time::Duration::ZERO)?;

    let embedded = Embedded::build(settings, &runtime).await?;
    let gateway = embedded.addresses().gateway;
    let services = tokio::spawn(embedded.run());
    let ready = begun.elapsed().as_millis();
    writeln!(out, "\n amends demo · everything in one process, at http://{gateway}, bound in {ready} ms")?;

    let client = Client::new(gateway)?.log_in(DEMO_USER, secrets.demo_password.expose_secret()).await?;
    writeln!(out, " logged in as {DEMO_USER} over HTTP")?;
    let told = story::play(&client, &mut out).await;

    // Its connections need no last call then.
    drop(client);
    runtime.shutdown.trigger();
    services.await?.context("a service failed")?;
    drop(guard);
    told?;

    writeln!(out, "\n The books: orders, stock and payments reconciled")?;
    let mut sources = Sources::none();
    embedded::base(dir, &mut sources, None)?;
    let report = audit::run(&stores::open(&sources).await?, &mut audit::progress::Progress::silent()).await?;
    write!(out, "   {}", report.to_text().replace('\n', "\n   ").trim_end())?;
    writeln!(out, "\n")?;
    ensure!(report.is_clean(), "the books do not balance");
    Ok(())
}
