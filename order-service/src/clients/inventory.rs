//! The inventory participant over gRPC.

use amends_auth::ServiceToken;
use amends_primitives::ReservationId;
use amends_protos::inventory::v1::{
    BatchGetItemsRequest, CloseCommitRequest, CommitStockRequest, GetItemRequest, Line, ListItemsRequest,
    ReleaseStockRequest, ReserveStockRequest, RestockRequest, inventory_service_client::InventoryServiceClient,
};
use amends_resilience::{Deadline, Guard, GuardError};
use async_trait::async_trait;
use saga_engine::{Closed, Outcome, StepContext, Undo};
use service_base::code::Code;
use service_kit::grpc::Channels;
use tokio::time::Instant;
use tonic::{Code as Grpc, Status};

use super::{Link, Transport, convert, fingerprint::step_key, outcome, transport};
use crate::{
    domain::{CatalogueItem, Sku},
    ports::{Catalogue, Inventory, ItemsPage, ListItemsError, Reserve, Unavailable},
};

const NAME: &str = "inventory-service";

/// Nothing was reserved, and asking again would not change that.
pub(super) const RESERVE_REFUSALS: &[Code] =
    &[Code::InsufficientStock, Code::PriceMismatch, Code::UnknownSku, Code::StepCompensated, Code::InvalidArgument];
/// Nothing was sold, and asking again would not change that.
pub(super) const COMMIT_REFUSALS: &[Code] = &[Code::ReservationExpired, Code::ReservationReleased, Code::CommitClosed];

/// The inventory participant over gRPC.
pub struct GrpcInventory {
    client: InventoryServiceClient<Transport>,
    link: Link,
}

impl GrpcInventory {
    /// Behind connections and a guard, whose number of attempts is of reads.
    pub fn new(channels: Channels, guard: Guard, token: ServiceToken) -> Self {
        Self { client: InventoryServiceClient::new(transport(channels)), link: Link::new(guard, token) }
    }
}

fn reserve_request(ask: &Reserve<'_>, step: &StepContext) -> ReserveStockRequest {
    let bare = ReserveStockRequest {
        step_key: None,
        order_id: ask.order.to_string(),
        lines: ask
            .lines
            .iter()
            .map(|line| Line {
                sku: line.sku.as_str().to_owned(),
                quantity: line.quantity.get(),
                // Always sent: the price charged is the price seen, whatever happens to the catalogue in between.
                expected_unit_price: Some(convert::money(line.unit_price)),
            })
            .collect(),
        hold_for: None,
    };
    ReserveStockRequest { step_key: Some(step_key(step, &bare)), ..bare }
}

fn unavailable(error: &GuardError<Status>) -> Unavailable {
    let retry_after = match error {
        GuardError::Open { retry_after } => Some(*retry_after),
        GuardError::Failed(status) => service_base::status::retry_after(status),
        GuardError::Full | GuardError::TooLate | GuardError::TimedOut | GuardError::Starved => None,
    };
    Unavailable { dependency: NAME, message: error.to_string(), retry_after }
}

fn unreadable() -> Unavailable {
    Unavailable {
        dependency: NAME,
        message: "the catalogue sent an item that cannot be read".to_owned(),
        retry_after: None,
    }
}

#[async_trait]
impl Inventory for GrpcInventory {
    async fn items(&self, skus: &[Sku], until: Instant) -> Result<Catalogue, Unavailable> {
        let request = BatchGetItemsRequest { skus: skus.iter().map(|sku| sku.as_str().to_owned()).collect() };
        let until = Deadline::at(until);
        let answer =
            call!(self.read("amends.inventory.v1.InventoryService/BatchGetItems", until, &request) by batch_get_items);
        answer
            .map_err(|error| unavailable(&error))?
            .items
            .into_iter()
            .map(|item| convert::item(item).map(|item| (item.sku.clone(), item)).ok_or_else(unreadable))
            .collect()
    }

    async fn item(&self, sku: &Sku, until: Instant) -> Result<Option<CatalogueItem>, Unavailable> {
        let request = GetItemRequest { sku: sku.as_str().to_owned() };
        let until = Deadline::at(until);
        let result = call!(self.read("amends.inventory.v1.InventoryService/GetItem", until, &request) by get_item);
        match result {
            Ok(answer) => answer.item.and_then(convert::item).map(Some).ok_or_else(unreadable),
            Err(GuardError::Failed(status)) if matches!(status.code(), Grpc::NotFound | Grpc::InvalidArgument) => {
                Ok(None)
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn list_items(&self, limit: u16, cursor: Option<&str>, until: Instant) -> Result<ItemsPage, ListItemsError> {
        let request =
            ListItemsRequest { page_size: u32::from(limit), page_token: cursor.unwrap_or_default().to_owned() };
        let until = Deadline::at(until);
        let result = call!(self.read("amends.inventory.v1.InventoryService/ListItems", until, &request) by list_items);
        let answer = match result {
            Ok(answer) => answer,
            // The page size is ours and good, so it is the token.
            Err(GuardError::Failed(status)) if status.code() == Grpc::InvalidArgument => {
                return Err(ListItemsError::BadCursor);
            }
            Err(error) => return Err(unavailable(&error).into()),
        };
        let items: Option<Vec<CatalogueItem>> = answer.items.into_iter().map(convert::item).collect();
        let next = Some(answer.next_page_token).filter(|token| !token.is_empty());
        Ok(ItemsPage { items: items.ok_or_else(unreadable)?, next })
    }

    async fn reserve(&self, ask: &Reserve<'_>, step: &StepContext) -> Outcome<ReservationId> {
        let request = reserve_request(ask, step);
        let result =
            call!(self.once("amends.inventory.v1.InventoryService/ReserveStock", step, &request) by reserve_stock);
        outcome::action(result, RESERVE_REFUSALS, |answer| answer.reservation?.id.parse().ok())
    }

    async fn release(&self, ask: &Reserve<'_>, step: &StepContext) -> Undo {
        let request = ReleaseStockRequest { reserve_step_key: reserve_request(ask, step).step_key };
        let result =
            call!(self.once("amends.inventory.v1.InventoryService/ReleaseStock", step, &request) by release_stock);
        outcome::undo(result)
    }

    async fn commit(&self, reservation: ReservationId, step: &StepContext) -> Outcome<()> {
        let bare = CommitStockRequest { step_key: None, reservation_id: reservation.to_string() };
        let request = CommitStockRequest { step_key: Some(step_key(step, &bare)), ..bare };
        let result =
            call!(self.once("amends.inventory.v1.InventoryService/CommitStock", step, &request) by commit_stock);
        outcome::action(result, COMMIT_REFUSALS, |_| Some(()))
    }

    async fn close_commit(&self, reservation: Option<ReservationId>, step: &StepContext) -> Closed<()> {
        // A tombstone is by the key alone; the fingerprint, where it is known, is for people who compare.
        let reservation_id = reservation.map(|id| id.to_string()).unwrap_or_default();
        let bare = CommitStockRequest { step_key: None, reservation_id };
        let request = CloseCommitRequest { commit_step_key: Some(step_key(step, &bare)) };
        let result =
            call!(self.once("amends.inventory.v1.InventoryService/CloseCommit", step, &request) by close_commit);
        outcome::close(result, |answer| answer.was_committed)
    }

    async fn restock(&self, reservation: ReservationId, step: &StepContext) -> Outcome<()> {
        let bare = RestockRequest { step_key: None, reservation_id: reservation.to_string() };
        let request = RestockRequest { step_key: Some(step_key(step, &bare)), ..bare };
        let result = call!(self.once("amends.inventory.v1.InventoryService/Restock", step, &request) by restock);
        outcome::action(result, &[], |_| Some(()))
    }
}
