//! `amends trace ORDER`: what became of an order, as a tree with bars, from the journal of its sagas. It needs no sampled trace, and works
//! while every service is down.
//!
//! Must not know: how a terminal is found.

mod attempts;
mod draw;

use amends_primitives::OrderId;
use anyhow::Context;
use order_service::saga::Journal;
use saga_engine::journal::{Filter, Journal as _, Stored};
use serde_json::json;

use crate::saga::Told;

pub use attempts::{Attempt, Entry, Step, entries};
pub use draw::{Look, draw};

/// Reads an order's sagas and draws them, or writes them as JSON.
///
/// # Errors
/// When the order store cannot be asked.
pub async fn run(journal: &Journal, order: OrderId, json: bool, look: Look) -> anyhow::Result<Told> {
    let filter = Filter { subject: Some(order.to_string()), ..Filter::default() };
    let mut sagas = Vec::new();
    // The oldest first: as it happened.
    for row in journal.list(&filter).await.context("the order store could not be read")?.rows.into_iter().rev() {
        // One that ended between the two reads may have been deleted.
        sagas.extend(journal.load(row.id).await.context("the order store could not be read")?);
    }
    if sagas.is_empty() {
        let text =
            format!("there is no saga about order {order}; what has finished is kept for order.saga.kept_days\n");
        return Ok(Told::bad(text));
    }
    Ok(Told::good(if json { to_json(order, &sagas) } else { draw(order, &sagas, look) }))
}

fn to_json(order: OrderId, sagas: &[Stored]) -> String {
    let sagas: Vec<_> = sagas
        .iter()
        .map(|stored| json!({"saga": crate::saga::to_json(&stored.row), "entries": entries(&stored.records)}))
        .collect();
    format!("{:#}\n", json!({"order_id": order.to_string(), "sagas": sagas}))
}
