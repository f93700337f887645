//! `Authorize`: holds the money, once per step key.

use amends_protos::payments::v1::{AuthorizeRequest, AuthorizeResponse, ChargeRequest};
use tonic::Status;

use super::{Api, charge, message};
use crate::domain::Mode;

pub(super) async fn answer(api: &Api, request: AuthorizeRequest) -> Result<AuthorizeResponse, Status> {
    let AuthorizeRequest { step_key, order_id, customer_id, amount, payment_method } = request;
    let request = ChargeRequest { step_key, order_id, customer_id, amount, payment_method };
    let payment = charge::make(api, &request, Mode::Authorize).await?;
    Ok(AuthorizeResponse { payment: Some(message::payment(&payment)) })
}
