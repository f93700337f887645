//! `amends webhook redeliver`: makes deliveries due now. A running payment service finds them with its next sweep.

use amends_primitives::{Clock, SystemClock};
use amends_webhooks::{
    config::WebhooksConfig,
    store::{DELIVERIES_PAGE_MAX, Redeliver, WebhookStore},
};
use anyhow::Context;
use serde_json::json;

use super::RedeliverArgs;
use crate::saga::Told;

pub(super) async fn run(
    store: &dyn WebhookStore<Error = payment_service::StoreError>,
    configured: &WebhooksConfig,
    args: RedeliverArgs,
    json: bool,
) -> anyhow::Result<Told> {
    let now = SystemClock.now();
    let RedeliverArgs { id, endpoint, .. } = args;
    let known = endpoint.as_deref().is_none_or(|name| configured.enabled().any(|endpoint| endpoint.name == name));
    let stranger = endpoint.clone().filter(|_| !known);
    let which = match (id, endpoint) {
        (Some(id), endpoint) => Redeliver::Event { id, endpoint },
        (None, Some(endpoint)) => Redeliver::Dead { endpoint, before: now },
        (None, None) => anyhow::bail!("--dead needs --endpoint"),
    };
    let mut count = 0;
    loop {
        let batch = store
            .redeliver(&which, now, DELIVERIES_PAGE_MAX)
            .await
            .context("the payment store could not be changed")?;
        count += batch;
        // Of one event there are fewer than a page, and they would be found again; of the dead, none is found twice.
        if batch == 0 || matches!(which, Redeliver::Event { .. }) {
            break;
        }
    }
    let detail = match count {
        0 => "nothing to redeliver: there is none, or it is being tried at this moment".to_owned(),
        _ => format!(
            "{count} to be tried again by a running payment service, within {} seconds{}",
            configured.sweep_secs,
            stranger
                .map(|name| format!("; but no endpoint {name} is configured and enabled here, so perhaps by nobody"))
                .unwrap_or_default(),
        ),
    };
    let text =
        if json { format!("{:#}\n", json!({"redelivered": count, "detail": detail})) } else { format!("{detail}\n") };
    Ok(if count > 0 { Told::good(text) } else { Told::bad(text) })
}
