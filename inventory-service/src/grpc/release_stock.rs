//! `ReleaseStock`: undoes `ReserveStock`, whether or not it ever arrived.

use amends_protos::{
    common::v1::CompensationResult,
    inventory::v1::{ReleaseStockRequest, ReleaseStockResponse},
};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::{app::Inventory, ports::Released};

pub(super) async fn answer(
    inventory: &Inventory,
    request: ReleaseStockRequest,
) -> Result<ReleaseStockResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = parse::step_key(&mut fields, "reserve_step_key", request.reserve_step_key.as_ref());
    let key = fields.finish(key)?;
    let released = inventory.release(key).await.map_err(|error| status::failed(&error))?;
    let result = match released.map_err(|rejection| status::rejected(&rejection))? {
        Released::Undone => CompensationResult::Undone,
        Released::AlreadyUndone => CompensationResult::AlreadyUndone,
        Released::NothingToUndo => CompensationResult::NothingToUndo,
    };
    Ok(ReleaseStockResponse { result: result.into() })
}
