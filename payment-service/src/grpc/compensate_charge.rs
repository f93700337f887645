//! `CompensateCharge`: undoes a charge, whatever became of it.

use amends_protos::payments::v1::{CompensateChargeRequest, CompensateChargeResponse};
use tonic::Status;
use tracing::Span;

use super::{Api, fields::Fields, message, note};

pub(super) fn span(request: &CompensateChargeRequest) -> Span {
    super::step_span("compensate_charge", request.charge_step_key.as_ref())
}

pub(super) async fn answer(api: &Api, request: CompensateChargeRequest) -> Result<CompensateChargeResponse, Status> {
    let mut fields = Fields::default();
    let key = fields.step_key("charge_step_key", request.charge_step_key.as_ref());
    let key = fields.finish(key)?;
    let payments = api.payments.clone();
    let undone = api.run_detached(async move { payments.compensate_charge(&key).await }).await?;
    if let Some(payment) = &undone.payment {
        note(payment);
    }
    Ok(CompensateChargeResponse {
        result: message::compensated(undone.found).into(),
        payment: undone.payment.as_ref().map(message::payment),
    })
}
