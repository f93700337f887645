//! `GetReservation`: one reservation.

use amends_primitives::ReservationId;
use amends_protos::inventory::v1::{GetReservationRequest, GetReservationResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::{app::Inventory, domain::Rejection};

pub(super) async fn answer(
    inventory: &Inventory,
    request: GetReservationRequest,
) -> Result<GetReservationResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let id = fields.parsed::<ReservationId>("reservation_id", &request.reservation_id);
    let id = fields.finish(id)?;
    let found = inventory.reservation(id).await.map_err(|error| status::failed(&error))?;
    let reservation = found.ok_or_else(|| status::rejected(&Rejection::ReservationNotFound { reservation: id }))?;
    Ok(GetReservationResponse { reservation: Some(parse::reservation(reservation)) })
}
