//! What the services count, read from `/metrics` as Prometheus reads it.

use std::net::SocketAddr;

use anyhow::{Context, Result};

/// The figures of interest, all about the payment service.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meters {
    /// Attempts of charges and of their compensations that did not settle them, and so are made again unless the saga gives up.
    pub(crate) repeats: f64,
    pub(crate) opened: f64,
    pub(crate) closed: f64,
    state: f64,
}

impl Meters {
    pub(crate) async fn read(http: &reqwest::Client, admin: SocketAddr) -> Result<Self> {
        let text = http.get(format!("http://{admin}/metrics")).send().await?.error_for_status()?.text().await?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let sum = |name: &str, labels: &[&str]| -> Result<f64> {
            let mut sum = 0.0;
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let Some((series, value)) = line.rsplit_once(' ') else { continue };
                let its_name = series.split('{').next().unwrap_or_default();
                if its_name == name && labels.iter().all(|label| series.contains(label)) {
                    sum += value.parse::<f64>().with_context(|| format!("not a figure: {line}"))?;
                }
            }
            Ok(sum)
        };
        let payment = "peer_service=\"payment-service\"";
        let transitions =
            |state: &str| sum("circuit_breaker_transitions_total", &[payment, &format!("reason=\"{state}\"")]);
        Ok(Self {
            repeats: sum("saga_step_attempts_total", &["charge_payment", "outcome=\"unknown\""])?
                + sum("saga_step_attempts_total", &["charge_payment", "outcome=\"not_yet\""])?,
            opened: transitions("open")?,
            closed: transitions("closed")?,
            state: sum("circuit_breaker_state", &[payment])?,
        })
    }

    pub(crate) fn breaker_is_closed(&self) -> bool {
        self.state == 0.0
    }

    /// What was added since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            repeats: self.repeats - before.repeats,
            opened: self.opened - before.opened,
            closed: self.closed - before.closed,
            state: self.state,
        }
    }
}
