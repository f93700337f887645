//! `GetPayment`: one payment by its id.

use amends_protos::payments::v1::{GetPaymentRequest, GetPaymentResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{Api, message, status};

pub(super) async fn answer(api: &Api, request: GetPaymentRequest) -> Result<GetPaymentResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let id = fields.parsed("payment_id", &request.payment_id);
    let payment = api.payments.get(fields.finish(id)?).await.map_err(|error| status::of(&error))?;
    Ok(GetPaymentResponse { payment: Some(message::payment(&payment)) })
}
