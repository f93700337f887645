//! What a platform said of itself while it was tested, held against the registry of telemetry: every line that its programs logged, and
//! every metric that they show.

use std::collections::BTreeMap;

use amends_registry::{Registry, check::Mistake};
use anyhow::{Context, Result, ensure};

use super::Platform;

/// Media types of the two forms in which a page of metrics may be asked for.
const FORMS: [&str; 2] = ["application/openmetrics-text", "text/plain"];

impl Platform {
    /// Every log line so far and every metric are as the registry has them; how many lines were looked at.
    ///
    /// # Errors
    /// With each thing that is wrong, once, and how often it was found.
    pub async fn telemetry_is_as_registered(&self) -> Result<usize> {
        let registry = Registry::load()?;
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = |program: &str, mistakes: Vec<Mistake>| {
            for mistake in mistakes {
                *found.entry(format!("{program}: {mistake}")).or_default() += 1;
            }
        };
        let mut lines = 0;
        for program in &self.programs {
            let process = program.process.as_ref().with_context(|| format!("{} does not run", program.name))?;
            // What is meant for people (the greeting) is no record, and is in the same file.
            for line in process.output().lines().filter(|line| line.starts_with('{')) {
                lines += 1;
                count(&program.name, registry.check_line(line));
            }
            for form in FORMS {
                count(&program.name, registry.check_page(&page(program.admin, form).await?));
            }
        }
        let told: Vec<String> = found.iter().map(|(mistake, times)| format!("{times} × {mistake}")).collect();
        ensure!(
            told.is_empty(),
            "{} things are not as observability/registry has them:\n{}",
            told.len(),
            told.join("\n")
        );
        Ok(lines)
    }
}

async fn page(admin: std::net::SocketAddr, form: &str) -> Result<String> {
    let client = service_base::client::internal().timeout(std::time::Duration::from_secs(5)).build()?;
    let answer = client.get(format!("http://{admin}/metrics")).header("accept", form).send().await?;
    ensure!(answer.status().is_success(), "{admin} shows no metrics: {}", answer.status());
    Ok(answer.text().await?)
}
