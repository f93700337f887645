//! `GetPayment`: one payment by its id.

use amends_protos::payments::v1::{GetPaymentRequest, GetPaymentResponse};
use tonic::Status;
use tracing::Span;

use super::{Api, fields::Fields, message, status};

pub(super) fn span(_: &GetPaymentRequest) -> Span {
    Span::current()
}

pub(super) async fn answer(api: &Api, request: GetPaymentRequest) -> Result<GetPaymentResponse, Status> {
    let mut fields = Fields::default();
    let id = fields.parsed("payment_id", &request.payment_id);
    let payment = api.payments.get(fields.finish(id)?).await.map_err(|error| status::of(&error))?;
    Ok(GetPaymentResponse { payment: Some(message::payment(&payment)) })
}
