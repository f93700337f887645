//! `CloseCommit`: keeps a late `CommitStock` out, or tells that it came in time.

use amends_protos::inventory::v1::{CloseCommitRequest, CloseCommitResponse};
use tonic::Status;
use tracing::Span;

use super::{parse::Fields, status};
use crate::app::Inventory;

pub(super) fn span(request: &CloseCommitRequest) -> Span {
    super::step_span("close_commit", request.commit_step_key.as_ref())
}

pub(super) async fn answer(inventory: &Inventory, request: CloseCommitRequest) -> Result<CloseCommitResponse, Status> {
    let mut fields = Fields::default();
    let key = fields.step_key("commit_step_key", request.commit_step_key.as_ref());
    let key = fields.finish(key)?;
    let was_committed = inventory.close_commit(key).await.map_err(|error| status::failed(&error))?;
    Ok(CloseCommitResponse { was_committed })
}
