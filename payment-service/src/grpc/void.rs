//! `Void`: releases what is held, once per step key.

use amends_protos::payments::v1::{VoidRequest, VoidResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{Api, capture, message};
use crate::domain::SettlementVerb;

pub(super) async fn answer(api: &Api, request: VoidRequest) -> Result<VoidResponse, Status> {
    let (key, payment_id) = (request.step_key.as_ref(), &request.payment_id);
    let payment = capture::end(api, Fields::of(super::DOMAIN), key, payment_id, SettlementVerb::Void).await?;
    Ok(VoidResponse { payment: Some(message::payment(&payment)) })
}
