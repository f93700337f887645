//! The clients against servers that do as they are told, over real connections and within the process.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use amends_auth::{ServiceToken, ServiceTokenConfig};
use amends_primitives::{Currency, ManualClock, Money, OrderId, PaymentId, ReservationId, SagaId, Timestamp};
use amends_protos::{common::v1::StepKey as ProtoKey, inventory::v1 as inventory, payments::v1 as payments};
use amends_resilience::{Edge, Guard, Resilience};
use axum::{Json, Router, routing::post};
use parking_lot::Mutex;
use saga_engine::{Closed, Failure, FailureKind, Outcome, StepContext, StepKey, TraceContext, Undo};
use service_base::{
    metrics::Metrics,
    problem::{Code, Domain, Problem},
};
use service_kit::{
    Runtime,
    grpc::{ChannelConfig, Channels, channels},
};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    GrpcInventory, GrpcPayments,
    inventory::{COMMIT_REFUSALS, RESERVE_REFUSALS},
    payments::CHARGE_REFUSALS,
};
use crate::{
    domain::{CustomerId, FailureCode, Line, PaymentMethod, Quantity, Sku},
    ports::{Charge, Inventory as _, ListItemsError, Payments as _, Reserve},
    saga::place_order::explain,
};

/// What a server is told to answer, call by call; nothing left to say is success.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    /// The metadata `authorization` and `grpc-timeout` of each call.
    seen: Mutex<Vec<(String, bool)>>,
    keys: Mutex<Vec<ProtoKey>>,
}

enum Answer {
    Refuse(Status),
    Hang,
}

#[derive(Clone, Default)]
struct Server(Arc<Script>);

impl Server {
    fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.answers.lock().extend(answers);
    }

    async fn enter<T>(&self, request: &Request<T>, key: Option<&ProtoKey>) -> Result<(), Status> {
        let text = |name: &str| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        self.0.seen.lock().push((text("authorization").unwrap_or_default(), text("grpc-timeout").is_some()));
        self.0.keys.lock().extend(key.cloned());
        let answer = self.0.answers.lock().pop_front();
        match answer {
            None => Ok(()),
            Some(Answer::Refuse(status)) => Err(status),
            Some(Answer::Hang) => std::future::pending().await,
        }
    }
}

const ID: &str = "0198c0de-0000-7000-8000-000000000007";

fn payment() -> payments::Payment {
    payments::Payment { id: ID.to_owned(), ..payments::Payment::default() }
}

#[tonic::async_trait]
impl payments::payment_service_server::PaymentService for Server {
    async fn charge(
        &self,
        request: Request<payments::ChargeRequest>,
    ) -> Result<Response<payments::ChargeResponse>, Status> {
        self.enter(&request, request.get_ref().step_key.as_ref()).await?;
        Ok(Response::new(payments::ChargeResponse { payment: Some(payment()) }))
    }

    async fn authorize(
        &self,
        _: Request<payments::AuthorizeRequest>,
    ) -> Result<Response<payments::AuthorizeResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }

    async fn capture(
        &self,
        _: Request<payments::CaptureRequest>,
    ) -> Result<Response<payments::CaptureResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }

    async fn void(&self, _: Request<payments::VoidRequest>) -> Result<Response<payments::VoidResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }

    async fn compensate_charge(
        &self,
        request: Request<payments::CompensateChargeRequest>,
    ) -> Result<Response<payments::CompensateChargeResponse>, Status> {
        self.enter(&request, request.get_ref().charge_step_key.as_ref()).await?;
        Ok(Response::new(payments::CompensateChargeResponse::default()))
    }

    async fn refund(
        &self,
        request: Request<payments::RefundRequest>,
    ) -> Result<Response<payments::RefundResponse>, Status> {
        self.enter(&request, request.get_ref().step_key.as_ref()).await?;
        Ok(Response::new(payments::RefundResponse { payment: Some(payment()) }))
    }

    async fn get_payment(
        &self,
        _: Request<payments::GetPaymentRequest>,
    ) -> Result<Response<payments::GetPaymentResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }

    async fn list_payments(
        &self,
        _: Request<payments::ListPaymentsRequest>,
    ) -> Result<Response<payments::ListPaymentsResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }
}

fn item(sku: &str, currency: &str) -> inventory::Item {
    let unit_price = amends_protos::common::v1::Money { amount_minor: 1850, currency: currency.to_owned() };
    inventory::Item { sku: sku.to_owned(), unit_price: Some(unit_price), available: 3, ..inventory::Item::default() }
}

fn reservation() -> inventory::Reservation {
    inventory::Reservation { id: ID.to_owned(), ..inventory::Reservation::default() }
}

#[tonic::async_trait]
impl inventory::inventory_service_server::InventoryService for Server {
    async fn get_item(
        &self,
        request: Request<inventory::GetItemRequest>,
    ) -> Result<Response<inventory::GetItemResponse>, Status> {
        self.enter(&request, None).await?;
        Ok(Response::new(inventory::GetItemResponse { item: Some(item("beans", "EUR")) }))
    }

    async fn batch_get_items(
        &self,
        request: Request<inventory::BatchGetItemsRequest>,
    ) -> Result<Response<inventory::BatchGetItemsResponse>, Status> {
        self.enter(&request, None).await?;
        let items = vec![item("beans", "EUR")];
        Ok(Response::new(inventory::BatchGetItemsResponse { items, unknown_skus: vec!["none".to_owned()] }))
    }

    async fn list_items(
        &self,
        request: Request<inventory::ListItemsRequest>,
    ) -> Result<Response<inventory::ListItemsResponse>, Status> {
        self.enter(&request, None).await?;
        Ok(Response::new(inventory::ListItemsResponse {
            items: vec![item("beans", "no currency")],
            ..Default::default()
        }))
    }

    async fn put_item(
        &self,
        _: Request<inventory::PutItemRequest>,
    ) -> Result<Response<inventory::PutItemResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }

    async fn reserve_stock(
        &self,
        request: Request<inventory::ReserveStockRequest>,
    ) -> Result<Response<inventory::ReserveStockResponse>, Status> {
        assert!(request.get_ref().lines.iter().all(|line| line.expected_unit_price.is_some()));
        self.enter(&request, request.get_ref().step_key.as_ref()).await?;
        Ok(Response::new(inventory::ReserveStockResponse { reservation: Some(reservation()) }))
    }

    async fn release_stock(
        &self,
        request: Request<inventory::ReleaseStockRequest>,
    ) -> Result<Response<inventory::ReleaseStockResponse>, Status> {
        self.enter(&request, request.get_ref().reserve_step_key.as_ref()).await?;
        Ok(Response::new(inventory::ReleaseStockResponse::default()))
    }

    async fn commit_stock(
        &self,
        request: Request<inventory::CommitStockRequest>,
    ) -> Result<Response<inventory::CommitStockResponse>, Status> {
        self.enter(&request, request.get_ref().step_key.as_ref()).await?;
        Ok(Response::new(inventory::CommitStockResponse { reservation: Some(reservation()) }))
    }

    async fn close_commit(
        &self,
        request: Request<inventory::CloseCommitRequest>,
    ) -> Result<Response<inventory::CloseCommitResponse>, Status> {
        self.enter(&request, request.get_ref().commit_step_key.as_ref()).await?;
        Ok(Response::new(inventory::CloseCommitResponse { was_committed: true }))
    }

    async fn restock(
        &self,
        request: Request<inventory::RestockRequest>,
    ) -> Result<Response<inventory::RestockResponse>, Status> {
        self.enter(&request, request.get_ref().step_key.as_ref()).await?;
        Ok(Response::new(inventory::RestockResponse { reservation: Some(reservation()) }))
    }

    async fn get_reservation(
        &self,
        _: Request<inventory::GetReservationRequest>,
    ) -> Result<Response<inventory::GetReservationResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }

    async fn list_reservations(
        &self,
        _: Request<inventory::ListReservationsRequest>,
    ) -> Result<Response<inventory::ListReservationsResponse>, Status> {
        Err(Status::unimplemented("not asked by us"))
    }
}

/// Both clients, the server they talk to, and a token service that numbers its tokens.
struct World {
    server: Server,
    payments: GrpcPayments,
    inventory: GrpcInventory,
    clock: Arc<ManualClock>,
    token: ServiceToken,
    address: SocketAddr,
    runtime: Runtime,
    serving: JoinHandle<anyhow::Result<()>>,
}

#[derive(Clone, Copy)]
enum Way {
    Connections,
    Memory,
}

fn guard(name: &'static str, clock: &Arc<ManualClock>) -> Guard {
    let resilience = Resilience { timeout_ms: 300, backoff_ms: 1, ..Resilience::default() };
    Guard::new(Edge::new("order-service", name), &resilience, Arc::clone(clock) as _, &Metrics::new())
}

fn channels_to(address: SocketAddr) -> Channels {
    channels(&ChannelConfig::at(format!("http://{address}"))).unwrap()
}

fn token_of(identity: SocketAddr, clock: &Arc<ManualClock>) -> ServiceToken {
    let config = ServiceTokenConfig {
        identity_url: format!("http://{identity}"),
        client_id: "order-service".to_owned(),
        client_secret: "secret".into(),
        scope: "payments:write".to_owned(),
    };
    ServiceToken::new(config, Arc::clone(clock) as _).unwrap()
}

/// An address without a listener. Bound and closed again: the port is not given out again so soon.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl World {
    fn payments_at(&self, address: SocketAddr, token: ServiceToken) -> GrpcPayments {
        GrpcPayments::new(channels_to(address), guard("payments", &self.clock), token)
    }

    async fn new() -> Self {
        Self::by(Way::Connections).await
    }

    /// One over connections, one within the process.
    async fn both() -> [Self; 2] {
        [Self::by(Way::Connections).await, Self::by(Way::Memory).await]
    }

    async fn by(way: Way) -> Self {
        service_kit::main::install_crypto();
        let server = Server::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Runtime::for_testing();
        let grpc = service_kit::grpc::Server::new("participants", &runtime)
            .add_service(payments::payment_service_server::PaymentServiceServer::new(server.clone()))
            .add_service(inventory::inventory_service_server::InventoryServiceServer::new(server.clone()));
        let channels = match way {
            Way::Connections => channels_to(address),
            Way::Memory => Channels::local(grpc.local(), &ChannelConfig::default()),
        };
        let serving = tokio::spawn(grpc.serve(listener));
        let count = Arc::new(Mutex::new(0));
        let tokens = Router::new().route(
            "/oauth2/token",
            post(move || {
                *count.lock() += 1;
                let token = format!("token-{}", count.lock());
                std::future::ready(Json(
                    serde_json::json!({"access_token": token, "token_type": "Bearer", "expires_in": 600}),
                ))
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identity = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, tokens).await });

        let clock = Arc::new(ManualClock::default());
        let token = token_of(identity, &clock);
        let payments = GrpcPayments::new(channels.clone(), guard("payments", &clock), token.clone());
        let inventory = GrpcInventory::new(channels, guard("inventory", &clock), token.clone());
        Self { server, payments, inventory, clock, token, address, runtime, serving }
    }
}

fn step(name: &'static str, attempt: u32) -> StepContext {
    StepContext {
        key: StepKey::of_definition(SagaId::new(Uuid::from_u128(1)), name),
        attempt,
        now: Timestamp::default(),
        timeout: Duration::from_millis(400),
        trace: TraceContext::none(),
    }
}

fn lines() -> Vec<Line> {
    vec![Line {
        sku: Sku::try_new("beans").unwrap(),
        quantity: Quantity::try_new(2).unwrap(),
        unit_price: Money::new(1850, Currency::EUR),
    }]
}

fn refuse(code: Code) -> Answer {
    Answer::Refuse(Problem::of(code, "no").domain(Domain::Inventory).into())
}

#[tokio::test]
async fn action_and_compensation_carry_one_key_and_fingerprint() {
    for world in World::both().await {
        let (customer, method) = (CustomerId::try_new("demo").unwrap(), PaymentMethod::try_new("pm_ok").unwrap());
        let charge = |amount| Charge {
            order: OrderId::new(Uuid::from_u128(1)),
            customer: &customer,
            amount: Money::new(amount, Currency::EUR),
            method: &method,
        };
        let charged = world.payments.charge(&charge(1), &step("charge_payment", 1)).await;
        assert_eq!(charged, Outcome::Done(ID.parse::<PaymentId>().unwrap()));
        let _ = world.payments.charge(&charge(1), &step("charge_payment", 2)).await;
        assert_eq!(world.payments.compensate(&charge(1), &step("charge_payment", 1)).await, Undo::Undone);
        let _ = world.payments.charge(&charge(2), &step("charge_payment", 1)).await;
        let keys = world.server.0.keys.lock().clone();
        assert!(keys.iter().all(|key| key.step == "charge_payment" && key.fingerprint.len() == 32));
        assert_eq!(keys.iter().map(|key| key.attempt).collect::<Vec<_>>(), [1, 2, 1, 1]);
        assert_eq!((&keys[0].fingerprint, &keys[0].fingerprint), (&keys[1].fingerprint, &keys[2].fingerprint));
        assert_ne!(keys[0].fingerprint, keys[3].fingerprint, "another request has another fingerprint");
        // Each call had a token and a deadline.
        let seen = world.server.0.seen.lock().clone();
        assert!(seen.iter().all(|(token, deadline)| token == "Bearer token-1" && *deadline), "{seen:?}");
    }
}

#[tokio::test]
async fn every_call_of_a_saga_is_made() {
    for world in World::both().await {
        let lines = lines();
        let ask = Reserve { order: OrderId::new(Uuid::from_u128(1)), lines: &lines };
        let reservation: ReservationId = ID.parse().unwrap();
        let client = &world.inventory;
        assert_eq!(client.reserve(&ask, &step("reserve_stock", 1)).await, Outcome::Done(reservation));
        assert_eq!(client.release(&ask, &step("reserve_stock", 1)).await, Undo::Undone);
        assert_eq!(client.commit(reservation, &step("commit_stock", 1)).await, Outcome::Done(()));
        assert_eq!(client.close_commit(Some(reservation), &step("commit_stock", 1)).await, Closed::WasDone(()));
        assert_eq!(client.close_commit(None, &step("commit_stock", 1)).await, Closed::WasDone(()));
        assert_eq!(client.restock(reservation, &step("restock", 1)).await, Outcome::Done(()));
        assert_eq!(world.payments.refund(ID.parse().unwrap(), &step("refund_payment", 1)).await, Outcome::Done(()));
        let keys = world.server.0.keys.lock().clone();
        assert_eq!(keys[0].fingerprint, keys[1].fingerprint);
        assert_eq!(keys[2].fingerprint, keys[3].fingerprint);
    }
}

#[tokio::test]
async fn refusals_are_refused_and_everything_else_is_unknown() {
    for world in World::both().await {
        let lines = lines();
        let ask = Reserve { order: OrderId::new(Uuid::from_u128(1)), lines: &lines };
        let code = async |answer| {
            world.server.will([answer]);
            match world.inventory.reserve(&ask, &step("reserve_stock", 1)).await {
                Outcome::Done(_) => "done".to_owned(),
                Outcome::Refused(refusal) => format!("refused {}", refusal.code),
                Outcome::Unknown(cause) => format!("unknown {}", cause.code),
                Outcome::NotSent(cause) => format!("not sent {}", cause.code),
            }
        };
        assert_eq!(code(refuse(Code::InsufficientStock)).await, "refused insufficient_stock");
        assert_eq!(code(refuse(Code::UnknownSku)).await, "refused unknown_sku");
        assert_eq!(code(refuse(Code::StepKeyReused)).await, "unknown step_key_reused");
        assert_eq!(code(refuse(Code::RateLimited)).await, "unknown rate_limited");
        assert_eq!(code(Answer::Refuse(Status::unknown("x"))).await, "unknown unexpected_answer");
        let began = Instant::now();
        assert_eq!(code(Answer::Hang).await, "unknown timeout");
        assert!(began.elapsed() < Duration::from_millis(400));
    }
}

#[test]
fn each_refusal_is_explained_to_customers_or_a_disagreement() {
    let disagreements = [Code::StepCompensated, Code::InvalidArgument, Code::CommitClosed];
    for code in [RESERVE_REFUSALS, COMMIT_REFUSALS, CHARGE_REFUSALS].concat() {
        let failure =
            Failure { step: None, kind: FailureKind::Refused, code: code.to_string(), message: "m".to_owned() };
        let is_internal = explain(&failure).code == FailureCode::Internal;
        assert_eq!(is_internal, disagreements.contains(&code), "{code}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_not_sent_and_a_cut_one_unknown() {
    let world = World::new().await;
    let refund = async |payments: &GrpcPayments| payments.refund(ID.parse().unwrap(), &step("refund_payment", 1)).await;
    let payments = world.payments_at(nowhere().await, world.token.clone());
    for _ in 0..2 {
        let outcome = refund(&payments).await;
        assert!(matches!(&outcome, Outcome::NotSent(cause) if cause.code == "unavailable"), "{outcome:?}");
    }
    // A server that accepts a connection and drops it may have read what came over it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let payments = world.payments_at(listener.local_addr().unwrap(), world.token.clone());
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _read = tokio::io::AsyncReadExt::read(&mut connection, &mut [0; 1024]).await;
        }
    });
    let outcome = refund(&payments).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_has_closed_is_not_sent_anything() {
    for world in World::both().await {
        assert_eq!(world.payments.refund(ID.parse().unwrap(), &step("refund_payment", 1)).await, Outcome::Done(()));
        world.runtime.shutdown.trigger();
        world.serving.await.unwrap().unwrap();
        let outcome = world.payments.refund(ID.parse().unwrap(), &step("refund_payment", 2)).await;
        assert!(matches!(&outcome, Outcome::NotSent(cause) if cause.code == "unavailable"), "{outcome:?}");
        assert_eq!(world.server.0.seen.lock().len(), 1);
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_no_breaker_counts_it() {
    let world = World::new().await;
    let guard = guard("payments", &world.clock);
    let payments = |token| GrpcPayments::new(channels_to(world.address), guard.clone(), token);
    // An issuer that cannot be reached, and one that takes the question and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for issuer in [nowhere().await, silent.local_addr().unwrap()] {
        let without = payments(token_of(issuer, &world.clock));
        for attempt in 1..=10 {
            let outcome = without.refund(ID.parse().unwrap(), &step("refund_payment", attempt)).await;
            assert!(matches!(&outcome, Outcome::NotSent(cause) if cause.code == "unavailable"), "{outcome:?}");
        }
    }
    assert_eq!(world.server.0.seen.lock().len(), 0);
    // Its breaker is still closed.
    let with = payments(world.token.clone());
    assert_eq!(with.refund(ID.parse().unwrap(), &step("refund_payment", 21)).await, Outcome::Done(()));
}

#[tokio::test]
async fn a_token_that_is_refused_is_not_used_again() {
    let world = World::new().await;
    world.server.will([Answer::Refuse(Status::unauthenticated("revoked"))]);
    let refund = async || world.payments.refund(ID.parse().unwrap(), &step("refund_payment", 1)).await;
    assert!(matches!(refund().await, Outcome::Unknown(cause) if cause.code == "not_authorized"));
    assert_eq!(refund().await, Outcome::Done(()));
    let tokens: Vec<String> = world.server.0.seen.lock().iter().map(|(token, _)| token.clone()).collect();
    assert_eq!(tokens, ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn a_read_asks_for_another_token_once() {
    for world in World::both().await {
        let until = || Instant::now() + Duration::from_secs(5);
        let sku = Sku::try_new("beans").unwrap();
        world.server.will([Answer::Refuse(Status::unauthenticated("revoked"))]);
        assert!(world.inventory.item(&sku, until()).await.is_ok_and(|item| item.is_some()));
        world.server.will((0..9).map(|_| Answer::Refuse(Status::unauthenticated("who?"))));
        assert!(world.inventory.item(&sku, until()).await.is_err());
        let tokens: Vec<String> = world.server.0.seen.lock().iter().map(|(token, _)| token.clone()).collect();
        assert_eq!(tokens, ["Bearer token-1", "Bearer token-2", "Bearer token-2", "Bearer token-3"]);
    }
}

#[tokio::test]
async fn payments_that_keep_failing_are_left_alone() {
    for world in World::both().await {
        assert_eq!(world.payments.ready(), Ok(()));
        world.server.will((0..5).map(|_| Answer::Refuse(Status::unavailable("down"))));
        let refund = async || world.payments.refund(ID.parse().unwrap(), &step("refund_payment", 1)).await;
        for _ in 0..5 {
            assert!(matches!(refund().await, Outcome::Unknown(_)));
        }
        assert!(matches!(refund().await, Outcome::NotSent(cause) if cause.code == "circuit_open"));
        assert_eq!(world.server.0.seen.lock().len(), 5);
        assert_eq!(world.payments.ready().unwrap_err().retry_after, Some(Duration::from_secs(30)));
        // And are found again without an operator: once a probe is due, orders may begin.
        world.clock.advance(Duration::from_secs(30));
        assert_eq!(world.payments.ready(), Ok(()));
        assert_eq!(refund().await, Outcome::Done(()));
    }
}

#[tokio::test]
async fn reads_are_tried_again_and_judge_what_they_read() {
    for world in World::both().await {
        let until = || Instant::now() + Duration::from_secs(5);
        world.server.will([Answer::Refuse(Status::unavailable("blip")), Answer::Refuse(Status::unavailable("blip"))]);
        let skus = ["beans", "none"].map(|sku| Sku::try_new(sku).unwrap());
        let catalogue = world.inventory.items(&skus, until()).await.unwrap();
        assert_eq!(catalogue.keys().map(Sku::as_str).collect::<Vec<_>>(), ["beans"]);
        world.server.will([refuse(Code::UnknownSku)]);
        assert_eq!(world.inventory.item(&skus[1], until()).await, Ok(None));
        world.server.will([refuse(Code::InvalidArgument)]);
        let listed = world.inventory.list_items(10, Some("x"), until()).await;
        assert!(matches!(listed, Err(ListItemsError::BadCursor)));
        // A price that cannot be read is no price.
        let listed = world.inventory.list_items(10, None, until()).await;
        assert!(matches!(listed, Err(ListItemsError::Unavailable(_))), "{listed:?}");
    }
}
