//! The gRPC surface: `amends.inventory.v1.InventoryService`. Authorises, injects the configured faults, and hands each call to the
//! file of its verb. Must not know SQL.

mod batch_get_items;
mod close_commit;
mod commit_stock;
mod get_item;
mod get_reservation;
mod list_items;
mod list_reservations;
mod parse;
mod put_item;
mod release_stock;
mod reserve_stock;
mod restock;
mod status;

use amends_auth::claims_of;
use amends_protos::inventory::v1::{self as pb, inventory_service_server::InventoryService};
use service_base::problem::Domain;
use service_kit::{
    faults::{Exit, lost_rpc},
    grpc::story::told,
};
use tonic::{Request, Response, Status, async_trait};
use tracing::Instrument as _;

use crate::app::Inventory;

/// Whose refusals they are.
const DOMAIN: Domain = Domain::Inventory;
/// What it takes to read.
const READ: &str = "inventory:read";
/// What it takes to change anything.
const WRITE: &str = "inventory:write";

/// The service's methods.
#[derive(Clone)]
pub struct Api {
    inventory: Inventory,
}

impl Api {
    /// Over an inventory.
    pub const fn new(inventory: Inventory) -> Self {
        Self { inventory }
    }

    /// Asks for the scope, and lets the configured faults come first.
    async fn enter<M>(&self, request: Request<M>, scope: &'static str) -> Result<(M, Exit), Status> {
        claims_of(&request)?.require(scope)?;
        let exit = self.inventory.faults().enter_rpc(request.extensions(), DOMAIN).await?;
        Ok((request.into_inner(), exit))
    }
}

/// The span of the step that a method's key names, if it has one.
macro_rules! span {
    ($verb:ident, $message:ident) => {
        None
    };
    ($verb:ident, $message:ident, $key:ident) => {
        Some(step_span(stringify!($verb), $message.$key.as_ref()))
    };
}

/// Implements each method as: authorise, run the verb in a span of the step that its key names, if it has one, tell it for the order's
/// story, and answer.
macro_rules! methods {
    ($($verb:ident($request:ident $(by $key:ident)?) -> $response:ident, $scope:ident;)+) => {
        #[async_trait]
        impl InventoryService for Api {
            $(async fn $verb(&self, request: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                let (message, exit) = self.enter(request, $scope).await?;
                let step: Option<tracing::Span> = span!($verb, message $(, $key)?);
                let span = step.clone().unwrap_or_else(tracing::Span::current);
                let answer = $verb::answer(&self.inventory, message).instrument(span).await;
                if let Some(step) = step {
                    told(&step, stringify!($verb), answer.as_ref().err());
                }
                exit.leave(answer.map(Response::new), || lost_rpc(DOMAIN))
            })+
        }
    };
}

methods! {
    get_item(GetItemRequest) -> GetItemResponse, READ;
    batch_get_items(BatchGetItemsRequest) -> BatchGetItemsResponse, READ;
    list_items(ListItemsRequest) -> ListItemsResponse, READ;
    put_item(PutItemRequest) -> PutItemResponse, WRITE;
    reserve_stock(ReserveStockRequest by step_key) -> ReserveStockResponse, WRITE;
    release_stock(ReleaseStockRequest by reserve_step_key) -> ReleaseStockResponse, WRITE;
    commit_stock(CommitStockRequest by step_key) -> CommitStockResponse, WRITE;
    close_commit(CloseCommitRequest by commit_step_key) -> CloseCommitResponse, WRITE;
    restock(RestockRequest by step_key) -> RestockResponse, WRITE;
    get_reservation(GetReservationRequest) -> GetReservationResponse, READ;
    list_reservations(ListReservationsRequest) -> ListReservationsResponse, READ;
}

/// A span that names the step a saga asks for.
fn step_span(verb: &'static str, key: Option<&amends_protos::common::v1::StepKey>) -> tracing::Span {
    let span = tracing::info_span!(
        "step",
        otel.name = verb,
        saga.id = tracing::field::Empty,
        saga.step = tracing::field::Empty,
        retry.attempt = tracing::field::Empty,
        order.id = tracing::field::Empty,
        reservation.id = tracing::field::Empty,
    );
    if let Some(key) = key {
        // What is not an id is refused later on, but must not fill a log before that.
        let short = |text: &str| text.chars().take(64).collect::<String>();
        span.record("saga.id", short(&key.saga_id))
            .record("saga.step", short(&key.step))
            .record("retry.attempt", i64::from(key.attempt));
    }
    span
}
