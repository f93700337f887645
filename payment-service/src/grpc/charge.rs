//! `Charge`: takes the money, once per step key.

use amends_protos::payments::v1::{ChargeRequest, ChargeResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;
use tracing::Span;

use super::{Api, fields, message, note};
use crate::domain::{Charge, CustomerId, Mode, Payment, PaymentMethod};

pub(super) async fn answer(api: &Api, request: ChargeRequest) -> Result<ChargeResponse, Status> {
    let payment = make(api, &request, Mode::Charge).await?;
    Ok(ChargeResponse { payment: Some(message::payment(&payment)) })
}

/// Charges or authorizes: the two ask for the same, in two modes.
pub(super) async fn make(api: &Api, request: &ChargeRequest, mode: Mode) -> Result<Payment, Status> {
    let charge = read(request, mode)?;
    Span::current().record("order.id", charge.order_id.to_string());
    let payments = api.payments.clone();
    let payment = api.run_detached(async move { payments.charge(&charge).await }).await?;
    note(&payment);
    Ok(payment)
}

fn read(request: &ChargeRequest, mode: Mode) -> Result<Charge, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = fields::action(&mut fields, "step_key", request.step_key.as_ref());
    let order_id = fields.parsed("order_id", &request.order_id);
    let customer_id = fields.check("customer_id", CustomerId::try_new(&request.customer_id));
    let amount = fields
        .given("amount", request.amount.as_ref())
        .and_then(|amount| fields::amount(&mut fields, "amount", amount));
    let method = fields.check("payment_method", PaymentMethod::try_new(&request.payment_method));
    let charge = || {
        let (key, fingerprint) = key?;
        let (order_id, customer_id, amount, method) = (order_id?, customer_id?, amount?, method?);
        Some(Charge { key, fingerprint, order_id, customer_id, amount, method, mode })
    };
    let charge = charge();
    fields.finish(charge)
}
