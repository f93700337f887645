//! The service over the wire.

use std::time::{Duration, Instant};

use amends_protos::{common::v1::CompensationResult, inventory::v1 as pb};
use inventory_service::{Config, build, config::SeedItem};
use pb::ReservationState;
use service_base::status::retry_after;
use service_kit::Runtime;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt as _;

use crate::service::{Service, eur, fields, line, step_key, why};

#[tokio::test(flavor = "multi_thread")]
async fn goods_are_put_reserved_sold_and_put_back() {
    let mut shop = Service::start(|_| {}).await;
    let item = shop.put("tea", 10).await;
    assert_eq!((item.available, item.reserved, item.unit_price), (10, 0, Some(eur(500))));

    let held = shop.reserve(1, vec![line("tea", 3)]).await.unwrap();
    assert_eq!(held.state(), ReservationState::Held);
    assert_eq!(held.lines[0].unit_price, Some(eur(500)));
    let (made, due) = (held.created_at.unwrap(), held.expires_at.unwrap());
    assert_eq!(due.seconds - made.seconds, 900);
    let item = shop.item("tea").await;
    assert_eq!((item.available, item.reserved), (7, 3));
    assert_eq!(shop.reservation(&held.id).await, held);

    assert_eq!(shop.commit(1, &held.id).await.unwrap().state(), ReservationState::Committed);
    let item = shop.item("tea").await;
    assert_eq!((item.available, item.reserved), (7, 0));
    assert!(shop.close_commit(1).await.unwrap());
    assert_eq!(shop.restock(1, &held.id).await.unwrap().state(), ReservationState::Restocked);
    assert_eq!(shop.item("tea").await.available, 10);

    shop.reserve(2, vec![line("tea", 1)]).await.unwrap();
    let undone = [CompensationResult::Undone, CompensationResult::AlreadyUndone, CompensationResult::NothingToUndo];
    for (saga, result) in [(2, undone[0]), (2, undone[1]), (3, undone[2])] {
        assert_eq!(shop.release(saga).await.unwrap(), i32::from(result));
    }
    let metrics = shop.runtime.metrics.encode();
    for line in [
        r#"inventory_steps_total{step="reserve_stock",result="done"} 2"#,
        r#"inventory_steps_total{step="release_stock",result="nothing_to_undo"} 1"#,
        r#"rpc_method="amends.inventory.v1.InventoryService/CommitStock""#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why_and_about_what() {
    let mut shop = Service::start(|_| {}).await;
    shop.put("tea", 2).await;
    let precondition = Code::FailedPrecondition;
    let refused = shop.reserve(1, vec![line("tea", 3)]).await.unwrap_err();
    assert_eq!(why(&refused, "available"), (precondition, "INSUFFICIENT_STOCK".into(), "2".into()));
    assert_eq!(why(&refused, "sku").2, "tea");
    assert!(!why(&refused, "trace_id").2.is_empty());
    let refused = shop.reserve(2, vec![line("gin", 1)]).await.unwrap_err();
    assert_eq!(why(&refused, "sku"), (Code::NotFound, "UNKNOWN_SKU".into(), "gin".into()));
    let dear = pb::Line { expected_unit_price: Some(eur(499)), ..line("tea", 1) };
    let refused = shop.reserve(3, vec![dear]).await.unwrap_err();
    assert_eq!(why(&refused, "sku"), (precondition, "PRICE_MISMATCH".into(), "tea".into()));

    shop.reserve(4, vec![line("tea", 1)]).await.unwrap();
    let other = pb::ReserveStockRequest {
        step_key: Some(amends_protos::common::v1::StepKey { fingerprint: vec![8; 32], ..step_key(4, "reserve_stock") }),
        order_id: uuid::Uuid::from_u64_pair(9, 4).to_string(),
        lines: vec![line("tea", 2)],
        hold_for: None,
    };
    let request = shop.ask(other);
    let refused = shop.client.reserve_stock(request).await.unwrap_err();
    assert_eq!(why(&refused, ""), (precondition, "STEP_KEY_REUSED".into(), String::new()));
    shop.release(4).await.unwrap();
    let refused = shop.reserve(4, vec![line("tea", 1)]).await.unwrap_err();
    assert_eq!(why(&refused, "").1, "STEP_COMPENSATED");

    let held = shop.reserve(5, vec![line("tea", 1)]).await.unwrap();
    assert!(!shop.close_commit(5).await.unwrap());
    let refused = shop.commit(5, &held.id).await.unwrap_err();
    assert_eq!(why(&refused, "").1, "COMMIT_CLOSED");
    let held = shop.reserve(6, vec![line("tea", 1)]).await.unwrap();
    shop.clock.advance(Duration::from_mins(15));
    let refused = shop.commit(6, &held.id).await.unwrap_err();
    assert_eq!(why(&refused, "reservation_id"), (precondition, "RESERVATION_EXPIRED".into(), held.id));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_all_named() {
    let mut shop = Service::start(|_| {}).await;
    let request = shop.ask(pb::ReserveStockRequest::default());
    assert_eq!(fields(&shop.client.reserve_stock(request).await.unwrap_err()), ["step_key", "order_id", "lines"]);
    let request =
        shop.ask(pb::CommitStockRequest { step_key: Some(step_key(1, "Commit")), reservation_id: "1".into() });
    assert_eq!(fields(&shop.client.commit_stock(request).await.unwrap_err()), ["step_key.step", "reservation_id"]);
    let request = shop.ask(pb::ReleaseStockRequest::default());
    assert_eq!(fields(&shop.client.release_stock(request).await.unwrap_err()), ["reserve_step_key"]);
    let request = shop.ask(pb::PutItemRequest { sku: "a b".into(), ..pb::PutItemRequest::default() });
    assert_eq!(fields(&shop.client.put_item(request).await.unwrap_err()), ["sku", "unit_price"]);
    let item = pb::PutItemRequest { sku: "tea".into(), name: String::new(), unit_price: Some(eur(1)), on_hand: 1 };
    let request = shop.ask(item);
    assert_eq!(fields(&shop.client.put_item(request).await.unwrap_err()), ["name"]);
    let request = shop.ask(pb::ListItemsRequest { page_size: 101, page_token: "a b".into() });
    assert_eq!(fields(&shop.client.list_items(request).await.unwrap_err()), ["page_size", "page_token"]);
    let list = pb::ListReservationsRequest { page_size: 101, page_token: "x".into(), order_id: "y".into() };
    let request = shop.ask(list);
    let refused = shop.client.list_reservations(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["page_size", "page_token", "order_id"]);
    let request = shop.ask(pb::BatchGetItemsRequest { skus: vec!["tea".into(); 101] });
    assert_eq!(fields(&shop.client.batch_get_items(request).await.unwrap_err()), ["skus"]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_and_unknown_skus_named() {
    let mut shop = Service::start(|_| {}).await;
    for sku in ["a", "b", "c"] {
        shop.put(sku, 10).await;
    }
    let request = shop.ask(pb::ListItemsRequest { page_size: 2, page_token: String::new() });
    let first = shop.client.list_items(request).await.unwrap().into_inner();
    assert_eq!((first.items.len(), first.next_page_token.as_str()), (2, "b"));
    let request = shop.ask(pb::ListItemsRequest { page_size: 2, page_token: first.next_page_token });
    let last = shop.client.list_items(request).await.unwrap().into_inner();
    assert_eq!((last.items[0].sku.as_str(), last.next_page_token.as_str()), ("c", ""));

    let skus = ["c", "nothing", "a", "no sku", "a"].map(str::to_owned).to_vec();
    let request = shop.ask(pb::BatchGetItemsRequest { skus });
    let found = shop.client.batch_get_items(request).await.unwrap().into_inner();
    assert_eq!(found.items.iter().map(|item| item.sku.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(found.unknown_skus, ["no sku", "nothing"]);
    let request = shop.ask(pb::GetItemRequest { sku: "nothing".into() });
    let refused = shop.client.get_item(request).await.unwrap_err();
    assert_eq!(why(&refused, "sku"), (Code::NotFound, "UNKNOWN_SKU".into(), "nothing".into()));

    let mut made = Vec::new();
    for saga in 0..3 {
        made.push(shop.reserve(saga, vec![line("a", 1), line("b", 1)]).await.unwrap());
    }
    let list = |page_token: &str, order_id: &str| pb::ListReservationsRequest {
        page_size: 2,
        page_token: page_token.into(),
        order_id: order_id.into(),
    };
    let request = shop.ask(list("", ""));
    let first = shop.client.list_reservations(request).await.unwrap().into_inner();
    assert_eq!((first.reservations.as_slice(), &first.next_page_token), (&made[..2], &made[1].id));
    let request = shop.ask(list(&first.next_page_token, ""));
    let last = shop.client.list_reservations(request).await.unwrap().into_inner();
    assert_eq!((last.reservations.as_slice(), last.next_page_token.as_str()), (&made[2..], ""));
    let request = shop.ask(list("", &made[1].order_id));
    let of_one = shop.client.list_reservations(request).await.unwrap().into_inner();
    assert_eq!(of_one.reservations, made[1..2]);
    let nobodys = uuid::Uuid::from_u128(1).to_string();
    let request = shop.ask(pb::GetReservationRequest { reservation_id: nobodys });
    let refused = shop.client.get_reservation(request).await.unwrap_err();
    assert_eq!(why(&refused, "").1, "RESERVATION_NOT_FOUND");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_token_every_call_is_refused() {
    let mut shop = Service::start(|_| {}).await;
    let anonymous = Request::new(pb::GetItemRequest { sku: "tea".into() });
    assert_eq!(shop.client.get_item(anonymous).await.unwrap_err().code(), Code::Unauthenticated);

    let foreign = shop.ask_as("orders:read items:read", pb::GetItemRequest { sku: "tea".into() });
    assert_eq!(shop.client.get_item(foreign).await.unwrap_err().code(), Code::PermissionDenied);
    let reader = shop.ask_as("inventory:read", pb::PutItemRequest::default());
    assert_eq!(shop.client.put_item(reader).await.unwrap_err().code(), Code::PermissionDenied);
    let reader = shop.ask_as("inventory:read", pb::ReserveStockRequest::default());
    let refused = shop.client.reserve_stock(reader).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "INSUFFICIENT_SCOPE");
    let writer = shop.ask_as("inventory:write", pb::ListReservationsRequest::default());
    assert_eq!(shop.client.list_reservations(writer).await.unwrap_err().code(), Code::PermissionDenied);

    let late = shop.ask(pb::ListItemsRequest::default());
    shop.clock.advance(Duration::from_secs(700));
    assert_eq!(shop.client.list_items(late).await.unwrap_err().code(), Code::Unauthenticated);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_public() {
    let shop = Service::start(|_| {}).await;
    let mut health = HealthClient::new(shop.channel.clone());
    let asked = HealthCheckRequest { service: "amends.inventory.v1.InventoryService".into() };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1);

    let mut reflection = ServerReflectionClient::new(shop.channel.clone());
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(futures::stream::iter([asked])).await.unwrap().into_inner();
    let listed = format!("{:?}", answers.message().await.unwrap());
    assert!(listed.contains("amends.inventory.v1.InventoryService"), "{listed}");
    for (name, ready) in shop.runtime.readiness.ask().await {
        assert_eq!(ready, Ok(()), "{name}");
    }
    drop((health, reflection, answers));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_correlation_id_comes_back() {
    let mut shop = Service::start(|_| {}).await;
    let mut request = shop.ask(pb::ListItemsRequest::default());
    request.metadata_mut().insert("x-correlation-id", "abc-1".parse().unwrap());
    let answer = shop.client.list_items(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-correlation-id").unwrap(), "abc-1");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_refused_where_the_demo_wants_it() {
    let mut shop = Service::start(|config| config.faults.refuse_commit_skus = vec!["tea".into()]).await;
    shop.put("tea", 10).await;
    let held = shop.reserve(1, vec![line("tea", 3)]).await.unwrap();
    let refused = shop.commit(1, &held.id).await.unwrap_err();
    assert_eq!(why(&refused, "").1, "RESERVATION_EXPIRED");
    assert_eq!(shop.reservation(&held.id).await.state(), ReservationState::Expired);
    assert_eq!(shop.item("tea").await.available, 10);
    assert_eq!(shop.release(1).await.unwrap(), i32::from(CompensationResult::Undone));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_injected() {
    let mut shop = Service::start(|config| config.faults.rate_limit_pct = 100).await;
    let request = shop.ask(pb::ListItemsRequest::default());
    let limited = shop.client.list_items(request).await.unwrap_err();
    assert_eq!((limited.code(), retry_after(&limited)), (Code::ResourceExhausted, Some(Duration::from_millis(100))));
    shop.stop().await;

    let seed = vec![seeded("tea")];
    let mut shop = Service::start(|config| (config.faults.error_pct, config.seed) = (100, seed)).await;
    for saga in 0..40 {
        assert_eq!(shop.reserve(saga, vec![line("tea", 1)]).await.unwrap_err().code(), Code::Unavailable);
    }
    // The caller cannot tell which of them took effect: some did.
    let metrics = shop.runtime.metrics.encode();
    assert!(metrics.contains(r#"inventory_steps_total{step="reserve_stock",result="done"}"#), "{metrics}");
    shop.stop().await;

    let mut shop = Service::start(|config| config.faults.delay_ms = 50).await;
    let begun = Instant::now();
    shop.put("tea", 1).await;
    assert!(begun.elapsed() >= Duration::from_millis(50));
    shop.stop().await;
}

fn seeded(sku: &str) -> SeedItem {
    SeedItem { sku: sku.into(), name: "Seeded".into(), amount_minor: 100, currency: "EUR".into(), on_hand: 1000 }
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_reservations_are_let_go_without_being_asked() {
    let mut shop = Service::start(|config| config.seed = vec![seeded("tea")]).await;
    let held = shop.reserve(1, vec![line("tea", 3)]).await.unwrap();
    shop.clock.advance(Duration::from_mins(15));
    // The clock jumped, which a sleeper does not notice; the next reservation wakes it up.
    let message = pb::ReserveStockRequest {
        step_key: Some(step_key(2, "reserve_stock")),
        order_id: uuid::Uuid::from_u64_pair(9, 2).to_string(),
        lines: vec![line("tea", 1)],
        hold_for: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
    };
    let request = shop.ask(message);
    shop.client.reserve_stock(request).await.unwrap();
    let begun = Instant::now();
    while shop.reservation(&held.id).await.state() != ReservationState::Expired {
        assert!(begun.elapsed() < Duration::from_secs(20), "the sweeper sleeps");
    }
    assert_eq!(shop.item("tea").await.reserved, 1);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stays_away_ends_the_start_with_a_sentence() {
    let mut config = Config::default();
    config.grpc.listen = ([127, 0, 0, 1], 0).into();
    config.database.url = "postgres://nobody:hunter2@127.0.0.1:1/none".into();
    (config.database.start_patience_secs, config.database.acquire_timeout_ms) = (0, 300);
    let error = format!("{:#}", build(config, &Runtime::for_testing()).await.unwrap_err());
    assert!(error.starts_with("the schema inventory cannot be brought up to date"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_again_changes_nothing() {
    let mut shop = Service::start(|config| config.seed = vec![seeded("tea"), seeded("mug")]).await;
    shop.put("tea", 5).await;
    let config = Config { seed: vec![seeded("tea"), seeded("pot")], ..shop.config.clone() };
    // A second replica over the same file.
    let second = build(config, &Runtime::for_testing()).await.unwrap();
    drop(second);
    let mut available = Vec::new();
    for sku in ["tea", "mug", "pot"] {
        available.push(shop.item(sku).await.available);
    }
    assert_eq!(available, [5, 1000, 1000]);
    shop.stop().await;
}
