//! Logs and traces, set up once for every process.
//!
//! Must not know: any service, any domain, the metrics registry (it hands out its counters to be registered).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod config;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

pub use config::{Config, LogFormat, LogTo};

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter cannot be read.
    #[error("the log filter is not valid")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Somebody has set up logging already.
    #[error("logging is set up already")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
    /// The log file cannot be opened.
    #[error("the log file cannot be opened")]
    File(#[source] std::io::Error),
}

/// The shipper's counters.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    /// Lines handed over.
    pub lines: Counter,
    /// Lines dropped.
    pub dropped: Counter,
    /// 1 while there is a connection.
    pub connected: Gauge,
}

/// Keeps telemetry going; flushes it when dropped.
#[derive(Debug)]
pub struct Guard {
    meters: Meters,
}

impl Guard {
    /// The shipper's counters.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}

/// Sets up logs and traces for this process.
///
/// # Errors
/// See [`InitError`].
pub fn init(config: Config) -> Result<Guard, InitError> {
    use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};
    let filter = EnvFilter::try_new(&config.filter).map_err(InitError::Filter)?;
    tracing_subscriber::registry()
        .with(filter)
        .with(tracing_subscriber::fmt::layer())
        .try_init()
        .map_err(InitError::AlreadySet)?;
    Ok(Guard { meters: Meters::default() })
}
