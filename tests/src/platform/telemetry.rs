//! What a platform said of itself while it was tested, held against the registry of telemetry: every line that its programs logged,
//! every metric that they show, every span that a collector got.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use amends_registry::{Registry, check::Mistake};
use anyhow::{Context, Result, ensure};
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue},
    resource::v1::Resource,
};

use super::Platform;
use crate::kit::otlp::Received;

/// Media types of the two forms in which a page of metrics may be asked for.
const FORMS: [&str; 2] = ["application/openmetrics-text", "text/plain"];

/// What was wrong, and how often.
#[derive(Default)]
struct Found(BTreeMap<String, usize>);

impl Found {
    fn count(&mut self, whose: &str, mistakes: Vec<Mistake>) {
        for mistake in mistakes {
            *self.0.entry(format!("{whose}: {mistake}")).or_default() += 1;
        }
    }

    fn nothing(&self) -> Result<()> {
        let told: Vec<String> = self.0.iter().map(|(mistake, times)| format!("{times} × {mistake}")).collect();
        ensure!(
            told.is_empty(),
            "{} things are not as observability/registry has them:\n{}",
            told.len(),
            told.join("\n")
        );
        Ok(())
    }
}

impl Platform {
    /// Every log line so far and every metric are as the registry has them; how many lines were looked at.
    ///
    /// # Errors
    /// With each thing that is wrong, once, and how often it was found.
    pub async fn telemetry_is_as_registered(&self) -> Result<usize> {
        let (registry, mut found) = (Registry::load()?, Found::default());
        let mut lines = 0;
        for program in &self.programs {
            let process = program.process.as_ref().with_context(|| format!("{} does not run", program.name))?;
            // What is meant for people (the greeting) is no record, and is in the same file.
            for line in process.output().lines().filter(|line| line.starts_with('{')) {
                lines += 1;
                found.count(&program.name, registry.check_line(line));
            }
            for form in FORMS {
                found.count(&program.name, registry.check_page(&page(program.admin, form).await?));
            }
        }
        found.nothing().map(|()| lines)
    }
}

/// Every span is as the registry has it, and what is said of its process; how many were looked at.
///
/// # Errors
/// With each thing that is wrong, once, and how often it was found.
pub fn spans_are_as_registered(spans: &[Received]) -> Result<usize> {
    let (registry, mut found) = (Registry::load()?, Found::default());
    for one in spans {
        found.count(&one.service, registry.check_span(&one.span));
        let attributes = one.resource.iter().map(|(key, value)| KeyValue {
            key: key.clone(),
            value: Some(AnyValue { value: Some(value.clone()) }),
            ..KeyValue::default()
        });
        let resource = Resource { attributes: attributes.collect(), ..Resource::default() };
        found.count(&one.service, registry.check_resource(&resource));
    }
    found.nothing().map(|()| spans.len())
}

async fn page(admin: SocketAddr, form: &str) -> Result<String> {
    let client = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
    let answer = client.get(format!("http://{admin}/metrics")).header("accept", form).send().await?;
    ensure!(answer.status().is_success(), "{admin} shows no metrics: {}", answer.status());
    Ok(answer.text().await?)
}
