//! `ReserveStock`: sets an order's goods aside, all or none.

use amends_protos::inventory::v1::{ReserveStockRequest, ReserveStockResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;
use tracing::Span;

use super::{parse, status};
use crate::app::{Inventory, ReserveRequest};

pub(super) async fn answer(
    inventory: &Inventory,
    request: ReserveStockRequest,
) -> Result<ReserveStockResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = parse::action_key(&mut fields, "step_key", request.step_key.as_ref());
    let order = fields.parsed("order_id", &request.order_id);
    let lines = parse::lines(&mut fields, &request.lines);
    let hold_for = parse::hold_for(&mut fields, request.hold_for.as_ref());
    let request = key.zip(order).zip(lines).map(|((key, order), lines)| ReserveRequest { key, order, lines, hold_for });
    let request = fields.finish(request)?;
    Span::current().record("order.id", request.order.to_string());
    let answer = inventory.reserve(request).await.map_err(|error| status::failed(&error))?;
    let reservation = answer.map_err(|refusal| status::refused(&refusal))?;
    Span::current().record("reservation.id", reservation.id.to_string());
    Ok(ReserveStockResponse { reservation: Some(parse::reservation(reservation)) })
}
