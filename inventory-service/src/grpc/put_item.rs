//! `PutItem`: creates or changes an article.

use amends_protos::inventory::v1::{PutItemRequest, PutItemResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::{
    app::Inventory,
    domain::{ItemError, NewItem},
};

pub(super) async fn answer(inventory: &Inventory, request: PutItemRequest) -> Result<PutItemResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    let sku = fields.parsed("sku", &request.sku);
    let price = fields
        .given("unit_price", request.unit_price.as_ref())
        .and_then(|price| parse::price(&mut fields, "unit_price", price));
    let item = match sku.zip(price).map(|(sku, price)| NewItem::try_new(sku, request.name, price, request.on_hand)) {
        Some(Ok(item)) => Some(item),
        Some(Err(error)) => {
            let field = match error {
                ItemError::Name => "name",
                ItemError::UnitPrice => "unit_price",
                ItemError::OnHand => "on_hand",
            };
            fields.wrong(field, error);
            None
        }
        None => None,
    };
    let item = fields.finish(item)?;
    let sku = item.sku().to_string();
    let put = inventory.put_item(item).await.map_err(|error| status::failed(&error))?;
    let item = put.map_err(|unputtable| status::unputtable(&unputtable))?;
    tracing::info!(sku, on_hand = item.stock.on_hand(), unit_price = %item.unit_price, "item put");
    Ok(PutItemResponse { item: Some(parse::item(item)) })
}
