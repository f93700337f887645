//! `BatchGetItems`: several articles at once, those that do not exist named.

use std::collections::{BTreeSet, HashSet};

use amends_protos::inventory::v1::{BatchGetItemsRequest, BatchGetItemsResponse};
use service_kit::grpc::fields::Fields;
use tonic::Status;

use super::{parse, status};
use crate::{app::Inventory, domain::Sku};

/// As many as an order has lines.
const SKUS_MAX: usize = 100;

pub(super) async fn answer(
    inventory: &Inventory,
    request: BatchGetItemsRequest,
) -> Result<BatchGetItemsResponse, Status> {
    let mut fields = Fields::of(super::DOMAIN);
    if request.skus.len() > SKUS_MAX {
        fields.wrong("skus", format!("must be at most {SKUS_MAX}"));
    }
    fields.finish(Some(()))?;
    // An invalid SKU does not exist: it is named like any other that does not.
    let asked: BTreeSet<String> = request.skus.into_iter().collect();
    let skus: Vec<Sku> = asked.iter().filter_map(|sku| sku.parse().ok()).collect();
    let items = inventory.items(&skus).await.map_err(|error| status::failed(&error))?;
    let found: HashSet<&str> = items.iter().map(|item| item.sku.as_str()).collect();
    let unknown_skus = asked.into_iter().filter(|sku| !found.contains(sku.as_str())).collect();
    Ok(BatchGetItemsResponse { items: items.into_iter().map(parse::item).collect(), unknown_skus })
}
