//! `Refund`: gives money back, once per step key.

use amends_protos::payments::v1::{RefundRequest, RefundResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;
use tracing::Span;

use super::{Api, fields, message, note};
use crate::domain::RefundAsked;

pub(super) async fn answer(api: &Api, request: RefundRequest) -> Result<RefundResponse, Status> {
    let refund = read(&request)?;
    Span::current().record("payment.id", refund.payment_id.to_string());
    let payments = api.payments.clone();
    let payment = api.run_detached(async move { payments.refund(&refund).await }).await?;
    note(&payment);
    Ok(RefundResponse { payment: Some(message::payment(&payment)) })
}

fn read(request: &RefundRequest) -> Result<RefundAsked, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = fields::action(&mut fields, "step_key", request.step_key.as_ref());
    let payment_id = fields.parsed("payment_id", &request.payment_id);
    let amount = request.amount.as_ref().and_then(|amount| fields::amount(&mut fields, "amount", amount));
    let refund = key.zip(payment_id).map(|((key, fingerprint), payment_id)| RefundAsked {
        key,
        fingerprint,
        payment_id,
        amount,
    });
    fields.finish(refund)
}
