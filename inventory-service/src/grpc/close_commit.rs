//! `CloseCommit`: keeps a late `CommitStock` out, or tells that it came in time.

use amends_protos::inventory::v1::{CloseCommitRequest, CloseCommitResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::app::Inventory;

pub(super) async fn answer(inventory: &Inventory, request: CloseCommitRequest) -> Result<CloseCommitResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let key = parse::step_key(&mut fields, "commit_step_key", request.commit_step_key.as_ref());
    let key = fields.finish(key)?;
    let was_committed = inventory.close_commit(key).await.map_err(|error| status::failed(&error))?;
    Ok(CloseCommitResponse { was_committed })
}
