//! `CompensateCharge`: undoes a charge, whatever became of it.

use amends_protos::payments::v1::{CompensateChargeRequest, CompensateChargeResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{Api, fields, message, note};

pub(super) async fn answer(api: &Api, request: CompensateChargeRequest) -> Result<CompensateChargeResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = fields::step_key(&mut fields, "charge_step_key", request.charge_step_key.as_ref());
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
