//! Channels to other services: lazy, kept alive, bounded in the time to connect.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

/// How to reach a gRPC service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelConfig {
    /// `http://host:port`.
    pub url: String,
    /// Milliseconds a connection may take to be made.
    pub connect_timeout_ms: u64,
    /// Milliseconds no call may exceed, whatever its own deadline says.
    pub call_timeout_ms: u64,
}

impl ChannelConfig {
    /// A service at that URL, with default bounds.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

impl Default for ChannelConfig {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:50051".to_owned(), connect_timeout_ms: 1_000, call_timeout_ms: 30_000 }
    }
}

/// A channel that connects at its first call and again whenever it must: the other service need not be up yet.
///
/// # Errors
/// When the URL is not one.
pub fn channel(config: &ChannelConfig) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(config.url.clone())?
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .timeout(Duration::from_millis(config.call_timeout_ms))
        // A peer that vanished without a word is noticed within 10 + 5 seconds, also while nothing is in flight.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    Ok(endpoint.connect_lazy())
}

/// `authorization: Bearer …`, marked so that nothing writes it out.
///
/// # Errors
/// When the token has characters that no header may have.
pub fn bearer(token: &str) -> Result<MetadataValue<Ascii>, tonic::Status> {
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| tonic::Status::internal("the token cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}
