//! `Capture`: takes what is held, or a part of it, once per step key.

use amends_protos::{
    common::v1::StepKey,
    payments::v1::{CaptureRequest, CaptureResponse},
};
use service_kit::grpc::fields::Fields;
use tonic::Status;
use tracing::Span;

use super::{Api, fields, message, note};
use crate::domain::{Payment, SettlementAsked, SettlementVerb};

pub(super) async fn answer(api: &Api, request: CaptureRequest) -> Result<CaptureResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let amount = request.amount.as_ref().and_then(|amount| fields::amount(&mut fields, "amount", amount));
    let verb = SettlementVerb::Capture(amount);
    let payment = end(api, fields, request.step_key.as_ref(), &request.payment_id, verb).await?;
    Ok(CaptureResponse { payment: Some(message::payment(&payment)) })
}

/// Captures or voids: the two ways in which a hold ends.
pub(super) async fn end(
    api: &Api,
    mut fields: Fields,
    key: Option<&StepKey>,
    payment_id: &str,
    verb: SettlementVerb,
) -> Result<Payment, Status> {
    let key = fields::action(&mut fields, "step_key", key);
    let payment_id = fields.parsed("payment_id", payment_id);
    let asked = key.zip(payment_id);
    let ((key, fingerprint), payment_id) = fields.finish(asked)?;
    let asked = SettlementAsked { key, fingerprint, payment_id, verb };
    Span::current().record("payment.id", asked.payment_id.to_string());
    let payments = api.payments.clone();
    let payment = api.run_detached(async move { payments.end(&asked).await }).await?;
    note(&payment);
    Ok(payment)
}
