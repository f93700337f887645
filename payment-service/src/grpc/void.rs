//! `Void`: releases what is held, once per step key.

use amends_protos::payments::v1::{VoidRequest, VoidResponse};
use tonic::Status;
use tracing::Span;

use super::{Api, capture, fields::Fields, message};
use crate::domain::SettlementVerb;

pub(super) fn span(request: &VoidRequest) -> Span {
    super::step_span("void", request.step_key.as_ref())
}

pub(super) async fn answer(api: &Api, request: VoidRequest) -> Result<VoidResponse, Status> {
    let (key, payment_id) = (request.step_key.as_ref(), &request.payment_id);
    let payment = capture::end(api, Fields::default(), key, payment_id, SettlementVerb::Void).await?;
    Ok(VoidResponse { payment: Some(message::payment(&payment)) })
}
