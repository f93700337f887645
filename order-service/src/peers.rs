//! The way to each participant: over connections to its URL, or, where it is in this process, to its server.

use anyhow::Context as _;
use service_kit::grpc::{self, ChannelConfig, Channels, Local};

use crate::config::Config;

/// The participants in this process. Their URLs are not used.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    /// Stock.
    pub inventory: Option<Local>,
    /// Payments.
    pub payment: Option<Local>,
}

/// How a probe is connected. A connection of its own: it must not wait behind orders, nor be counted by what guards them.
pub(crate) fn for_probes(channel: &ChannelConfig) -> ChannelConfig {
    ChannelConfig { connections: 1, ..channel.clone() }
}

impl Peers {
    pub(crate) fn inventory(&self, channel: &ChannelConfig) -> anyhow::Result<Channels> {
        channels(self.inventory.as_ref(), channel).context("order.inventory.channel.url")
    }

    pub(crate) fn payment(&self, channel: &ChannelConfig) -> anyhow::Result<Channels> {
        channels(self.payment.as_ref(), channel).context("order.payment.channel.url")
    }

    /// Connections to those that are elsewhere, those of the probes apart.
    pub(crate) fn connections(&self, config: &Config) -> usize {
        let to = |local: &Option<Local>, channel: &ChannelConfig| if local.is_some() { 0 } else { channel.connections };
        to(&self.inventory, &config.inventory.channel) + to(&self.payment, &config.payment.channel)
    }
}

fn channels(local: Option<&Local>, channel: &ChannelConfig) -> Result<Channels, tonic::transport::Error> {
    match local {
        Some(server) => Ok(Channels::local(server.clone(), channel)),
        None => grpc::channels(channel),
    }
}
