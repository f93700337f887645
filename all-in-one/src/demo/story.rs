//! The demo's scenes: each places or cancels an order over HTTP as any client would, shows what the saga did, and fails when the
//! answer is not what was promised.

use std::{fmt::Write as _, io::Write, time::Instant};

use anyhow::ensure;
use serde_json::{Value, json};

use crate::{
    catalogue::REFUSED_AT_PIVOT,
    client::{Answer, Client, order_of},
    timeline,
};

/// Plays every scene in order.
///
/// # Errors
/// When an answer differs from the promise, or none came.
pub async fn play(client: &Client, out: &mut impl Write) -> anyhow::Result<()> {
    let mut stage = Stage { client, out, scene: 0 };

    let two_bags = order_of("espresso-1kg", 2, "pm_ok");
    let confirmed = stage.place("A confirmed order", "demo-1", &two_bags).await?;
    expect(&confirmed, 201, "/status", "confirmed")?;
    expect(&confirmed, 201, "/payment/status", "captured")?;
    stage.show_saga(&confirmed).await?;

    let declined = stage
        .place("A declined payment: the goods go back on sale", "demo-2", &order_of("grinder", 1, "pm_declined"))
        .await?;
    expect(&declined, 402, "/code", "payment_declined")?;
    stage.show_saga(&declined).await?;

    let before = stage.available(REFUSED_AT_PIVOT).await?;
    let refused = stage
        .place(
            "Refused at the pivot: paid, but the goods are gone, so the money goes back",
            "demo-3",
            &order_of(REFUSED_AT_PIVOT, 1, "pm_ok"),
        )
        .await?;
    expect(&refused, 409, "/code", "reservation_expired")?;
    stage.show_saga(&refused).await?;
    let after = stage.available(REFUSED_AT_PIVOT).await?;
    ensure!(before == after, "the stock of {REFUSED_AT_PIVOT} is {after} and was {before}");

    let again =
        stage.place("The first order again, under the same key: one order, one charge", "demo-1", &two_bags).await?;
    expect(&again, 201, "/id", confirmed.text("/id"))?;
    ensure!(again.header("idempotency-replayed") == "true", "the repeat was not marked as replayed");
    stage.say("   the same order, nothing charged: Idempotency-Replayed: true\n")?;

    stage.open("Cancelling the first order: refunded and restocked")?;
    let begun = Instant::now();
    let path = format!("/v1/orders/{}/cancel", confirmed.text("/id"));
    let cancelled = stage.client.post(&path).await?;
    stage.show_answer("POST", &path, &cancelled, begun)?;
    expect(&cancelled, 200, "/status", "cancelled")?;
    stage.show_saga(&cancelled).await?;

    stage.open("What the customer sees now")?;
    let begun = Instant::now();
    let list = stage.client.get("/v1/orders?limit=10").await?;
    stage.show_answer("GET", "/v1/orders?limit=10", &list, begun)?;
    let orders = list.body["orders"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(orders.len() == 3, "three orders were placed, the list has {}: {}", orders.len(), list.body);
    let mut lines = String::new();
    for order in orders {
        writeln!(
            lines,
            "   {}  {:<10} {}",
            order["id"].as_str().unwrap_or(""),
            order["status"].as_str().unwrap_or(""),
            money(&order["total"])
        )?;
    }
    stage.say(&lines)
}

struct Stage<'a, W> {
    client: &'a Client,
    out: &'a mut W,
    scene: u32,
}

impl<W: Write> Stage<'_, W> {
    async fn place(&mut self, title: &str, key: &str, order: &Value) -> anyhow::Result<Answer> {
        self.open(title)?;
        let begun = Instant::now();
        let answer = self.client.place(key, order).await?;
        self.show_answer("POST", &format!("/v1/orders  Idempotency-Key: {key}"), &answer, begun)?;
        let line = &order["items"][0];
        let total = if answer.body["total"].is_object() {
            format!(" = {}", money(&answer.body["total"]))
        } else {
            String::new()
        };
        self.say(&format!(
            "   {} × {}{total}, paid with {}\n",
            line["quantity"],
            line["sku"].as_str().unwrap_or(""),
            order["payment_method"].as_str().unwrap_or("")
        ))?;
        Ok(answer)
    }

    /// Shows the timeline of the saga behind an answer, which names the order in its body or, refused, in `Location`.
    async fn show_saga(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let order = match answer.text("/id") {
            "" => answer.header("location").to_owned(),
            id => format!("/v1/orders/{id}"),
        };
        ensure!(!order.is_empty(), "the answer names no order");
        let saga = self.client.get(&format!("{order}/saga")).await?;
        ensure!(saga.status.is_success(), "no timeline: {} {}", saga.status, saga.body);
        self.say(&timeline::render(&saga.body))
    }

    async fn available(&self, sku: &str) -> anyhow::Result<i64> {
        let item = self.client.get(&format!("/v1/items/{sku}")).await?;
        item.body["available"]
            .as_i64()
            .ok_or_else(|| anyhow::anyhow!("no stock of {sku}: {} {}", item.status, item.body))
    }

    fn open(&mut self, title: &str) -> anyhow::Result<()> {
        self.scene += 1;
        let head = format!("\n {} ─ {title}\n", self.scene);
        self.say(&head)
    }

    fn show_answer(&mut self, method: &str, what: &str, answer: &Answer, begun: Instant) -> anyhow::Result<()> {
        let problem = match answer.text("/detail") {
            "" => String::new(),
            detail => format!("   {}: {detail}\n", answer.text("/code")),
        };
        let tenths = begun.elapsed().as_micros() / 100;
        self.say(&format!("   {method} {what}\n   {} in {}.{} ms\n{problem}", answer.status, tenths / 10, tenths % 10))
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.out.write_all(text.as_bytes())?)
    }
}

fn expect(answer: &Answer, status: u16, pointer: &str, value: &str) -> anyhow::Result<()> {
    ensure!(answer.status.as_u16() == status, "expected {status}, got {}: {}", answer.status, answer.body);
    ensure!(answer.text(pointer) == value, "expected {pointer} to be {value:?}: {}", answer.body);
    Ok(())
}

fn money(value: &Value) -> String {
    serde_json::from_value::<amends_primitives::Money>(value.clone())
        .map_or_else(|_| json!(value).to_string(), |money| money.to_string())
}
