//! `ListReservations`: all reservations or those of an order, page by page, for reconciliation.

use amends_primitives::{OrderId, ReservationId};
use amends_protos::inventory::v1::{ListReservationsRequest, ListReservationsResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::app::Inventory;

pub(super) async fn answer(
    inventory: &Inventory,
    request: ListReservationsRequest,
) -> Result<ListReservationsResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let limit = parse::page_size(&mut fields, request.page_size);
    let after: Option<ReservationId> = fields.parsed_if_given("page_token", &request.page_token);
    let order: Option<OrderId> = fields.parsed_if_given("order_id", &request.order_id);
    fields.finish(Some(()))?;
    let page = inventory.reservations(order, after, limit).await.map_err(|error| status::failed(&error))?;
    Ok(ListReservationsResponse {
        reservations: page.reservations.into_iter().map(parse::reservation).collect(),
        next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
    })
}
