//! The acquirer's statement against what the payment service says. Two parties' books, written on two sides of a network.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, time::Duration};

use amends_protos::payments::v1::{ListPaymentsRequest, payment_service_client::PaymentServiceClient};
use anyhow::{Context, Result};
use serde_json::Value;

use super::{Platform, settings};
use crate::process::eventually;

/// A payment whose caller has given it up may still be at work; it is not for longer than this.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// How often this amount was taken and this much of it given back.
type Moved = BTreeMap<(i64, i64), usize>;

impl Platform {
    /// What was taken and given back under each charge, on the statement, is what some payment says. Nothing to do where the
    /// processor is simulated in the payment service.
    pub(super) async fn statement_agrees(&self) -> Result<()> {
        let Some(acquirer) = self.acquirer else { return Ok(()) };
        let seen = RefCell::new(String::new());
        let agrees = || async {
            let both = async { anyhow::Ok((on_statement(acquirer).await?, self.on_record().await?)) }.await;
            *seen.borrow_mut() = format!("{both:?}");
            both.is_ok_and(|(statement, record)| statement == record)
        };
        let agreed = eventually("the statement is what the payments say", SETTLE_MAX, agrees).await;
        agreed.with_context(|| format!("statement and payments, (taken, given back) → how often: {}", seen.borrow()))
    }

    async fn on_record(&self) -> Result<Moved> {
        let mut payments = PaymentServiceClient::connect(format!("http://{}", self.payment)).await?;
        let (mut moved, mut page_token) = (Moved::new(), String::new());
        loop {
            let ask = ListPaymentsRequest { page_size: 100, page_token, ..ListPaymentsRequest::default() };
            let page = payments.list_payments(self.as_operator(ask).await?).await?.into_inner();
            for payment in page.payments {
                let minor = |money: Option<amends_protos::common::v1::Money>| money.map_or(0, |m| m.amount_minor);
                count(&mut moved, (minor(payment.captured), minor(payment.refunded)));
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(moved);
            }
        }
    }
}

async fn on_statement(acquirer: SocketAddr) -> Result<Moved> {
    let client = service_base::client::internal().timeout(Duration::from_secs(5)).build()?;
    let (mut charges, mut after) = (BTreeMap::<String, (i64, i64)>::new(), 0);
    loop {
        let url = format!("http://{acquirer}/v1/movements?after={after}");
        let page: Value = client.get(url).bearer_auth(settings::MERCHANT_SECRET).send().await?.json().await?;
        for line in page["movements"].as_array().context("no statement")? {
            let amount = line["amount"]["amount_minor"].as_i64().context("no amount")?;
            let charge = charges.entry(line["charge"].as_str().context("no charge")?.to_owned()).or_default();
            if line["kind"] == "capture" {
                charge.0 += amount;
            } else {
                charge.1 += amount;
            }
        }
        after = page["next"].as_i64().context("no next")?;
        if page["more"] == false {
            break;
        }
    }
    let mut moved = Moved::new();
    for charge in charges.into_values() {
        count(&mut moved, charge);
    }
    Ok(moved)
}

/// Payments of which nothing was taken are on no statement.
fn count(moved: &mut Moved, charge: (i64, i64)) {
    if charge != (0, 0) {
        *moved.entry(charge).or_default() += 1;
    }
}
