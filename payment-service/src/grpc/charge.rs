//! `Charge`: takes the money, once per step key.

use amends_protos::payments::v1::{ChargeRequest, ChargeResponse};
use tonic::Status;
use tracing::Span;

use super::{Api, fields::Fields, message, note};
use crate::domain::{Charge, CustomerId, Mode, Payment, PaymentMethod};

pub(super) fn span(request: &ChargeRequest) -> Span {
    super::step_span("charge", request.step_key.as_ref())
}

pub(super) async fn answer(api: &Api, request: ChargeRequest) -> Result<ChargeResponse, Status> {
    let payment = make(api, &request, Mode::Charge).await?;
    Ok(ChargeResponse { payment: Some(message::payment(&payment)) })
}

/// Charges or authorizes: the two ask for the same, in two modes.
pub(super) async fn make(api: &Api, request: &ChargeRequest, mode: Mode) -> Result<Payment, Status> {
    let charge = read(request, mode)?;
    Span::current().record("order_id", charge.order_id.to_string());
    let payments = api.payments.clone();
    let payment = api.run_detached(async move { payments.charge(&charge).await }).await?;
    note(&payment);
    Ok(payment)
}

fn read(request: &ChargeRequest, mode: Mode) -> Result<Charge, Status> {
    let mut fields = Fields::default();
    let key = fields.action("step_key", request.step_key.as_ref());
    let order_id = fields.parsed("order_id", &request.order_id);
    let customer_id = fields.good("customer_id", CustomerId::try_new(&request.customer_id));
    let amount = request.amount.as_ref().ok_or("must be given");
    let amount = fields.good("amount", amount).and_then(|amount| fields.amount("amount", amount));
    let method = fields.good("payment_method", PaymentMethod::try_new(&request.payment_method));
    let charge = || {
        let (key, fingerprint) = key?;
        let (order_id, customer_id, amount, method) = (order_id?, customer_id?, amount?, method?);
        Some(Charge { key, fingerprint, order_id, customer_id, amount, method, mode })
    };
    let charge = charge();
    fields.finish(charge)
}
