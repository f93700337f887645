//! `amends webhook …`: what operators ask of webhooks, straight from the payment store: it works while every service is down.
//!
//! Must not know: how webhooks are sent.

mod list;
mod redeliver;

use amends_primitives::{OrderId, PaymentId};
use amends_webhooks::{
    config::WebhooksConfig,
    delivery::DeliveryState,
    store::{DELIVERIES_PAGE_MAX, WebhookStore},
};
use clap::{Args, Subcommand};

use crate::saga::Told;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Deliveries, newest payments first
    List(ListArgs),
    /// Try deliveries again, with all their attempts and the ids they had
    Redeliver(RedeliverArgs),
}

/// Which deliveries to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only in this state: pending, delivered or dead
    #[arg(long, value_name = "STATE")]
    state: Option<DeliveryState>,
    /// Only to the endpoint of this name
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Only about this order's payments
    #[arg(long, value_name = "ID")]
    order: Option<OrderId>,
    /// Only about this payment
    #[arg(long, value_name = "ID")]
    payment: Option<PaymentId>,
    /// How many at the most, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(DELIVERIES_PAGE_MAX)))]
    limit: u32,
    /// Go on after this delivery: the cursor a page ends with
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Which deliveries to try again.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["id", "dead"])))]
pub struct RedeliverArgs {
    /// A webhook's id, as `amends webhook list` and the receiver have it; delivered ones as well
    id: Option<String>,
    /// Every dead one of an endpoint
    #[arg(long, requires = "endpoint")]
    dead: bool,
    /// Only to the endpoint of this name
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
}

/// Does what was asked. `configured` is what the services are configured with.
///
/// # Errors
/// When the payment store cannot be asked.
pub async fn run(
    store: &dyn WebhookStore<Error = payment_service::StoreError>,
    configured: &WebhooksConfig,
    verb: Verb,
    json: bool,
) -> anyhow::Result<Told> {
    match verb {
        Verb::List(args) => list::run(store, args, json).await,
        Verb::Redeliver(args) => redeliver::run(store, configured, args, json).await,
    }
}
