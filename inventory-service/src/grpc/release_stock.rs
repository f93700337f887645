//! `ReleaseStock`: undoes `ReserveStock`, whether or not it ever arrived.

use amends_protos::{
    common::v1::CompensationResult,
    inventory::v1::{ReleaseStockRequest, ReleaseStockResponse},
};
use tonic::Status;
use tracing::Span;

use super::{parse::Fields, status};
use crate::{app::Inventory, ports::Released};

pub(super) fn span(request: &ReleaseStockRequest) -> Span {
    super::step_span("release_stock", request.reserve_step_key.as_ref())
}

pub(super) async fn answer(
    inventory: &Inventory,
    request: ReleaseStockRequest,
) -> Result<ReleaseStockResponse, Status> {
    let mut fields = Fields::default();
    let key = fields.step_key("reserve_step_key", request.reserve_step_key.as_ref());
    let key = fields.finish(key)?;
    let released = inventory.release(key).await.map_err(|error| status::failed(&error))?;
    let result = match released.map_err(|rejection| status::rejected(&rejection))? {
        Released::Undone => CompensationResult::Undone,
        Released::AlreadyUndone => CompensationResult::AlreadyUndone,
        Released::NothingToUndo => CompensationResult::NothingToUndo,
    };
    Ok(ReleaseStockResponse { result: result.into() })
}
