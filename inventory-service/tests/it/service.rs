//! The whole service on a port of its own, an issuer of tokens beside it, and a client.

use std::{sync::Arc, time::Duration};

use amends_primitives::{ManualClock, SeededIds};
use amends_protos::{
    common::v1::{Money, StepKey},
    inventory::v1::{self as pb, inventory_service_client::InventoryServiceClient},
};
use amends_testing::Issuer;
use inventory_service::{Config, build};
use service_kit::{Runtime, faults::Faults};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

/// A running service.
pub(crate) struct Service {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runtime: Runtime,
    pub(crate) client: InventoryServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) config: Config,
    pub(crate) faults: Faults,
    issuer: Issuer,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    _dir: tempfile::TempDir,
}

impl Service {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issuer = Issuer::serve().await;
        let mut config = Config::default();
        config.grpc.listen = ([127, 0, 0, 1], 0).into();
        config.database.url = amends_testing::sqlite_url(&dir, "inventory.db").into();
        config.auth.issuer.clone_from(&issuer.name);
        config.auth.jwks_url = format!("{}/jwks", issuer.name);
        change(&mut config);
        let clock = Arc::new(ManualClock::default());
        let runtime = Runtime::with(Arc::clone(&clock) as Arc<_>, Arc::new(SeededIds::new(3)));
        let app = build(config.clone(), &runtime).await.unwrap();
        let url = format!("http://{}", app.addresses().grpc);
        let channel = Channel::from_shared(url).unwrap().connect_lazy();
        let faults = app.inventory().faults().clone();
        let running = tokio::spawn(app.run());
        let client = InventoryServiceClient::new(channel.clone());
        Self { clock, runtime, client, channel, config, faults, issuer, running, _dir: dir }
    }

    /// The end of every test: the service stops when asked to.
    pub(crate) async fn stop(self) {
        let Self { runtime, running, client, channel, .. } = self;
        drop((client, channel));
        runtime.shutdown.trigger();
        running.await.unwrap().unwrap();
        assert!(runtime.shutdown.drained(Duration::from_secs(5)).await);
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        let now = amends_primitives::Clock::now(&*self.clock).as_secs();
        self.issuer.token(now, "order-service", scope, &serde_json::Value::Null)
    }

    /// A request with a token for everything.
    pub(crate) fn ask<M>(&self, message: M) -> Request<M> {
        self.ask_as("inventory:read inventory:write", message)
    }

    pub(crate) fn ask_as<M>(&self, scope: &str, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.token(scope)).parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    }

    pub(crate) async fn put(&mut self, sku: &str, on_hand: i64) -> pb::Item {
        let message =
            pb::PutItemRequest { sku: sku.into(), name: sku.to_uppercase(), unit_price: Some(eur(500)), on_hand };
        let request = self.ask(message);
        self.client.put_item(request).await.unwrap().into_inner().item.unwrap()
    }

    pub(crate) async fn item(&mut self, sku: &str) -> pb::Item {
        let request = self.ask(pb::GetItemRequest { sku: sku.into() });
        self.client.get_item(request).await.unwrap().into_inner().item.unwrap()
    }

    pub(crate) async fn reserve(&mut self, saga: u64, lines: Vec<pb::Line>) -> Result<pb::Reservation, Status> {
        let message = pb::ReserveStockRequest {
            step_key: Some(step_key(saga, "reserve_stock")),
            order_id: uuid::Uuid::from_u64_pair(9, saga).to_string(),
            lines,
            hold_for: None,
        };
        let request = self.ask(message);
        Ok(self.client.reserve_stock(request).await?.into_inner().reservation.unwrap())
    }

    pub(crate) async fn commit(&mut self, saga: u64, reservation_id: &str) -> Result<pb::Reservation, Status> {
        let message = pb::CommitStockRequest {
            step_key: Some(step_key(saga, "commit_stock")),
            reservation_id: reservation_id.into(),
        };
        let request = self.ask(message);
        Ok(self.client.commit_stock(request).await?.into_inner().reservation.unwrap())
    }

    pub(crate) async fn release(&mut self, saga: u64) -> Result<i32, Status> {
        let message = pb::ReleaseStockRequest { reserve_step_key: Some(step_key(saga, "reserve_stock")) };
        let request = self.ask(message);
        Ok(self.client.release_stock(request).await?.into_inner().result)
    }

    pub(crate) async fn close_commit(&mut self, saga: u64) -> Result<bool, Status> {
        let message = pb::CloseCommitRequest { commit_step_key: Some(step_key(saga, "commit_stock")) };
        let request = self.ask(message);
        Ok(self.client.close_commit(request).await?.into_inner().was_committed)
    }

    pub(crate) async fn restock(&mut self, saga: u64, reservation_id: &str) -> Result<pb::Reservation, Status> {
        let message =
            pb::RestockRequest { step_key: Some(step_key(saga, "restock")), reservation_id: reservation_id.into() };
        let request = self.ask(message);
        Ok(self.client.restock(request).await?.into_inner().reservation.unwrap())
    }

    pub(crate) async fn reservation(&mut self, id: &str) -> pb::Reservation {
        let request = self.ask(pb::GetReservationRequest { reservation_id: id.into() });
        self.client.get_reservation(request).await.unwrap().into_inner().reservation.unwrap()
    }
}

pub(crate) fn step_key(saga: u64, step: &str) -> StepKey {
    let saga_id = uuid::Uuid::from_u64_pair(8, saga).to_string();
    StepKey { saga_id, step: step.into(), fingerprint: vec![7; 32], attempt: 1 }
}

pub(crate) fn eur(amount_minor: i64) -> Money {
    Money { amount_minor, currency: "EUR".into() }
}

pub(crate) fn line(sku: &str, quantity: u32) -> pb::Line {
    pb::Line { sku: sku.into(), quantity, expected_unit_price: None }
}

/// Code, reason and one fact of a refusal.
pub(crate) fn why(status: &Status, fact: &str) -> (Code, String, String) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "amends.inventory");
    (status.code(), info.reason, info.metadata.get(fact).cloned().unwrap_or_default())
}

/// The fields a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument);
    status.get_details_bad_request().unwrap().field_violations.into_iter().map(|violation| violation.field).collect()
}
