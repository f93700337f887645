//! `ListItems`: the catalogue, page by page.

use amends_protos::inventory::v1::{ListItemsRequest, ListItemsResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::{app::Inventory, domain::Sku};

pub(super) async fn answer(inventory: &Inventory, request: ListItemsRequest) -> Result<ListItemsResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let limit = parse::page_size(&mut fields, request.page_size);
    let after: Option<Sku> = fields.parsed_if_given("page_token", &request.page_token);
    fields.finish(Some(()))?;
    let page = inventory.list_items(after.as_ref(), limit).await.map_err(|error| status::failed(&error))?;
    Ok(ListItemsResponse {
        items: page.items.into_iter().map(parse::item).collect(),
        next_page_token: page.next.map(String::from).unwrap_or_default(),
    })
}
