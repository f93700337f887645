//! `POST /v1/orders/{id}/cancel`, as callers see it.

use axum::{body::Body, http::Request};

use crate::{
    domain::Command,
    store::change_in_tx,
    testkit::{Fault, Platform, Reply, claims},
};

const BEANS: &str = r#"{"items":[{"sku":"beans","quantity":2}],"payment_method":"pm_ok"}"#;

async fn placed(platform: &Platform, key: &str) -> String {
    let reply = platform.place(key, BEANS, &[]).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    format!("/v1/orders/{}", reply.order_id())
}

async fn cancel(platform: &Platform, order: &str) -> Reply {
    platform.post(&format!("{order}/cancel")).await
}

#[tokio::test]
async fn a_cancelled_order_is_refunded_and_restocked_once() {
    let platform = Platform::new().await;
    let order = placed(&platform, "k").await;
    let reply = cancel(&platform, &order).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &"cancelled".into()), "{reply:?}");
    assert_eq!(reply.json()["payment"]["status"], "refunded");
    assert_eq!(reply.json()["saga"]["status"], "completed");
    assert_eq!(platform.books.available("beans"), 100);
    // Twice is once.
    let again = cancel(&platform, &order).await;
    assert_eq!((again.status, &again.text), (reply.status, &reply.text));
    assert_eq!((platform.books.calls("refund"), platform.books.calls("restock")), (1, 1));
    let timeline = platform.get(&format!("{order}/saga")).await.json();
    assert_eq!(timeline["definition"], "cancel-order");
    let names: Vec<&str> =
        timeline["steps"].as_array().unwrap().iter().filter_map(|step| step["name"].as_str()).collect();
    assert_eq!(names, ["mark_cancelling", "refund_payment", "restock", "mark_cancelled"]);
    let placing = platform.get(&format!("{order}/saga?definition=place-order")).await.json();
    assert_eq!((&placing["definition"], &placing["status"]), (&"place-order".into(), &"completed".into()));
    platform.finish().await;
}

#[tokio::test]
async fn two_cancellations_at_once_are_one() {
    let platform = Platform::new().await;
    let order = placed(&platform, "k").await;
    let replies = futures::future::join_all((0..5).map(|_| cancel(&platform, &order))).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json()["status"] == "cancelled"), "{replies:?}");
    assert_eq!(platform.books.calls("refund"), 1);
    platform.finish().await;
}

#[tokio::test]
async fn what_cannot_be_cancelled_says_why() {
    let platform = Platform::new().await;
    let declined = platform.place("k1", &BEANS.replace("pm_ok", "pm_declined"), &[]).await;
    let reply = cancel(&platform, declined.header("location").unwrap()).await;
    assert_eq!(reply.refusal(), "409 order_not_cancellable");
    assert_eq!(reply.json()["detail"], "an order that is failed cannot cancel");

    let order = placed(&platform, "k2").await;
    let id = order.rsplit('/').next().unwrap().parse().unwrap();
    let mut tx = platform.database.begin().await.unwrap();
    let dialect = platform.database.dialect();
    let shipped = change_in_tx(dialect, &mut tx, id, &Command::Ship, platform.runtime.clock.now(), false).await;
    assert!(shipped.unwrap().is_ok());
    tx.commit().await.unwrap();
    assert_eq!(cancel(&platform, &order).await.refusal(), "409 order_not_cancellable");
    assert_eq!(platform.get(&order).await.json()["status"], "shipped");

    platform.books.fault("charge", Fault::Hangs);
    let pending = platform.place("k3", BEANS, &[("prefer", "respond-async")]).await;
    let reply = cancel(&platform, pending.header("location").unwrap()).await;
    assert_eq!(reply.refusal(), "409 order_not_cancellable");

    for absent in ["/v1/orders/0198c0de-0000-7000-8000-000000000001", "/v1/orders/none"] {
        assert_eq!(cancel(&platform, absent).await.refusal(), "404 order_not_found");
    }
    platform.finish().await;
}

#[tokio::test]
async fn another_customers_order_is_not_found() {
    let platform = Platform::new().await;
    let order = placed(&platform, "k").await;
    let request = || Request::post(format!("{order}/cancel")).body(Body::empty()).unwrap();
    let reply = platform.send(claims("mallory", "orders:write"), request()).await;
    assert_eq!(reply.refusal(), "404 order_not_found");
    let reply = platform.send(claims("demo", "orders:read"), request()).await;
    assert_eq!(reply.refusal(), "403 insufficient_scope");
    let reply = platform.send(claims("boss", "orders:write orders:admin"), request()).await;
    assert_eq!(reply.status, 200);
    platform.finish().await;
}

#[tokio::test]
async fn a_cancellation_goes_on_after_its_callers_deadline() {
    let platform = Platform::new().await;
    let order = placed(&platform, "k").await;
    platform.books.fault("refund", Fault::Down);
    let request = Request::post(format!("{order}/cancel")).header("prefer", "wait=1").body(Body::empty()).unwrap();
    let reply = platform.send(claims("demo", "orders:write"), request).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (202, &"cancelling".into()), "{reply:?}");
    assert_eq!(reply.header("preference-applied"), Some("wait=1"));
    let orders = platform.finish().await;
    assert_eq!(orders[0].status().as_str(), "cancelled");
}

#[tokio::test]
async fn a_store_that_cannot_write_is_503_and_passes_by_itself() {
    let platform = Platform::new().await;
    let order = placed(&platform, "k").await;
    platform.database.turn_read_only();
    for _ in 0..3 {
        for reply in [cancel(&platform, &order).await, platform.place("k2", BEANS, &[]).await] {
            assert_eq!(reply.refusal(), "503 store_unavailable");
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
        }
        assert_eq!(platform.get(&order).await.json()["status"], "confirmed");
    }
    platform.database.repair();
    assert_eq!(cancel(&platform, &order).await.json()["status"], "cancelled");
    assert_eq!(platform.place("k2", BEANS, &[]).await.status, 201);
    platform.finish().await;
}
