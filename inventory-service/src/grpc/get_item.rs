//! `GetItem`: one article.

use amends_protos::inventory::v1::{GetItemRequest, GetItemResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::{app::Inventory, domain::Sku};

pub(super) async fn answer(inventory: &Inventory, request: GetItemRequest) -> Result<GetItemResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let sku = fields.parsed::<Sku>("sku", &request.sku);
    let sku = fields.finish(sku)?;
    let found = inventory.items(std::slice::from_ref(&sku)).await.map_err(|error| status::failed(&error))?.pop();
    let item = found.ok_or_else(|| status::unknown_sku(sku.as_str()))?;
    Ok(GetItemResponse { item: Some(parse::item(item)) })
}
