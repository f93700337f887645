//! `CommitStock`: the pivot of place-order.

use amends_protos::inventory::v1::{CommitStockRequest, CommitStockResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;
use tracing::Span;

use super::{parse, status};
use crate::app::Inventory;

pub(super) async fn answer(inventory: &Inventory, request: CommitStockRequest) -> Result<CommitStockResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = parse::action_key(&mut fields, "step_key", request.step_key.as_ref());
    let id = fields.parsed("reservation_id", &request.reservation_id);
    let (key, id) = fields.finish(key.zip(id))?;
    Span::current().record("reservation.id", tracing::field::display(id));
    let answer = inventory.commit(key, id).await.map_err(|error| status::failed(&error))?;
    let reservation = answer.map_err(|refusal| status::refused(&refusal))?;
    Span::current().record("order.id", tracing::field::display(reservation.order));
    Ok(CommitStockResponse { reservation: Some(parse::reservation(reservation)) })
}
