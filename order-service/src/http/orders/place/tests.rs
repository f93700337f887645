//! `POST /v1/orders`, as callers see it.

use axum::{body::Body, http::Request};
use serde_json::json;

use crate::{
    domain::Status,
    testkit::{Fault, Platform, Postgres, claims, demo},
};

const BEANS: &str = r#"{"items":[{"sku":"beans","quantity":2,"unit_price":{"amount_minor":1850,"currency":"EUR"}}],"payment_method":"pm_ok"}"#;

fn body(sku: &str, quantity: &str, method: &str) -> String {
    format!(r#"{{"items":[{{"sku":"{sku}","quantity":{quantity}}}],"payment_method":"{method}"}}"#)
}

#[tokio::test]
async fn a_confirmed_order_is_answered_201_and_paid_for_once() {
    let platform = Platform::new().await;
    let reply = platform.place("k1", BEANS, &[("x-correlation-id", "c-1")]).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["status"], "confirmed");
    assert_eq!(json["customer_id"], "demo");
    assert_eq!(json["total"], json!({"amount_minor": 3700, "currency": "EUR"}));
    assert_eq!(json["payment"]["status"], "captured");
    assert_eq!(json["saga"]["status"], "completed");
    assert_eq!(json["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(reply.header("location"), Some(format!("/v1/orders/{}", reply.order_id()).as_str()));
    assert_eq!(reply.header("idempotency-replayed"), None);
    assert_eq!(platform.net_of(&reply), 3700);
    assert_eq!(platform.books.available("beans"), 98);
    let orders = platform.finish().await;
    assert_eq!(orders.len(), 1);
}

#[tokio::test]
async fn a_refused_order_exists_and_nothing_is_left_of_it() {
    let platform = Platform::new().await;
    let check = async |key: &str, body: &str, expected: &str| {
        let reply = platform.place(key, body, &[]).await;
        assert_eq!(reply.refusal(), expected, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let location = reply.header("location").unwrap_or_else(|| panic!("{reply:?}")).to_owned();
        let order = platform.get(&location).await;
        assert_eq!(order.json()["status"], "failed", "{order:?}");
        assert_eq!(order.json()["failure"]["code"], reply.json()["code"]);
        // A settled answer is replayed as it was.
        let again = platform.place(key, body, &[]).await;
        assert_eq!((again.status, &again.text), (reply.status, &reply.text));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), Some(location.as_str()));
    };
    check("1", &body("beans", "2", "pm_declined"), "402 payment_declined").await;
    check("2", &body("beans", "2", "pm_insufficient_funds"), "402 payment_declined").await;
    check("3", &body("crown", "1", "pm_ok"), "402 payment_declined").await;
    check("4", &body("cup", "4", "pm_ok"), "409 insufficient_stock").await;
    let dear = BEANS.replace("1850", "1851");
    check("5", &dear, "409 price_mismatch").await;
    assert_eq!(platform.books.available("beans"), 100);
    assert_eq!(platform.books.available("cup"), 3);
    let orders = platform.finish().await;
    assert_eq!(orders.len(), 5);
}

#[tokio::test]
async fn an_order_refused_at_the_pivot_is_refunded_and_released() {
    let platform = Platform::new().await;
    platform.books.fault("commit", Fault::Refused("reservation_expired"));
    let reply = platform.place("k", BEANS, &[]).await;
    assert_eq!(reply.refusal(), "409 reservation_expired");
    platform.books.repair();
    let order = platform.get(reply.header("location").unwrap()).await.json();
    assert_eq!(order["payment"]["status"], "refunded");
    assert_eq!(order["saga"]["status"], "unwound");
    assert_eq!((platform.books.payments(), platform.books.available("beans")), (1, 100));
    platform.finish().await;
}

#[tokio::test]
async fn one_key_is_one_order() {
    let platform = Platform::new().await;
    let first = platform.place("k", BEANS, &[]).await;
    let again = platform.place("k", BEANS, &[]).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    // White space and the order of members are not part of what is asked.
    let spaced = r#" { "payment_method": "pm_ok", "items": [ {"quantity": 2, "unit_price": {"currency":"EUR","amount_minor":1850}, "sku": "beans"} ] } "#;
    assert_eq!(platform.place("k", spaced, &[]).await.text, first.text);
    let other = platform.place("k", &body("beans", "3", "pm_ok"), &[]).await;
    assert_eq!(other.refusal(), "422 idempotency_key_reused idempotency_key");
    // The key belongs to the caller: another caller's is another key.
    let request = Request::post("/v1/orders")
        .header("content-type", "application/json")
        .header("idempotency-key", "k")
        .body(Body::from(BEANS))
        .unwrap();
    let others = platform.send(claims("other", "orders:write"), request).await;
    assert_eq!(others.status, 201);
    assert_ne!(others.order_id(), first.order_id());
    assert_eq!(platform.books.payments(), 2);
    platform.finish().await;
}

#[tokio::test]
async fn a_repeat_gets_its_first_answer_even_after_cancellation() {
    let platform = Platform::new().await;
    let first = platform.place("k", BEANS, &[]).await;
    let cancelled = platform.post(&format!("/v1/orders/{}/cancel", first.order_id())).await;
    assert_eq!(cancelled.json()["status"], "cancelled", "{cancelled:?}");
    let again = platform.place("k", BEANS, &[]).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    platform.finish().await;
}

#[tokio::test]
async fn a_twin_in_flight_waits_for_the_first() {
    let platform = Platform::new().await;
    platform.books.fault("charge", Fault::Hangs);
    let (first, second, ()) = tokio::join!(platform.place("k", BEANS, &[]), platform.place("k", BEANS, &[]), async {
        platform.books.called("charge", 1).await;
        platform.books.repair();
    });
    assert_eq!((first.status, second.status), (201.try_into().unwrap(), 201.try_into().unwrap()));
    assert_eq!(first.text, second.text);
    let replayed = [&first, &second].map(|reply| reply.header("idempotency-replayed").is_some());
    assert_ne!(replayed[0], replayed[1], "one of them is the first");
    assert_eq!(platform.books.payments(), 1);
    assert_eq!(platform.finish().await.len(), 1);
}

#[tokio::test]
async fn a_crowd_with_one_key_places_one_order() {
    let platform = Platform::new().await;
    let replies = futures::future::join_all((0..20).map(|_| platform.place("k", BEANS, &[]))).await;
    assert!(replies.iter().all(|reply| reply.status == 201 && reply.text == replies[0].text), "{replies:?}");
    assert_eq!((platform.books.payments(), platform.finish().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_at_another_replica_waits_too() {
    let Some(postgres) = Postgres::from_env() else { return };
    let platform = Platform::on(&postgres).await;
    let other = platform.replica().await;
    platform.books.fault("charge", Fault::Hangs);
    let (first, second, ()) = tokio::join!(
        platform.place("k", BEANS, &[("prefer", "wait=30")]),
        async {
            platform.books.called("charge", 1).await;
            other.place("k", BEANS, &[("prefer", "wait=30")]).await
        },
        async {
            platform.books.called("charge", 1).await;
            platform.books.repair();
        }
    );
    assert_eq!((first.status.as_u16(), &first.text), (201, &second.text));
    assert_eq!(second.header("idempotency-replayed"), Some("true"));
    platform.finish().await;
    postgres.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_two_replicas_places_one_order_per_key() {
    let Some(postgres) = Postgres::from_env() else { return };
    let platform = Platform::on(&postgres).await;
    let other = platform.replica().await;
    let keys = ["a", "b", "c", "d"];
    let requests = (0..32).map(|n| {
        let replica = if n % 2 == 0 { &platform } else { &other };
        replica.place(keys[n / 2 % 4], BEANS, &[("prefer", "wait=30")])
    });
    let replies = futures::future::join_all(requests).await;
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!((reply.status.as_u16(), &reply.text), (201, &replies[n / 2 % 4 * 2].text), "{reply:?}");
    }
    assert_eq!((platform.books.payments(), platform.finish().await.len()), (4, 4));
    postgres.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_finishes_what_a_killed_one_began() {
    let Some(postgres) = Postgres::from_env() else { return };
    let platform = Platform::on(&postgres).await;
    let other = platform.replica().await;
    platform.books.fault("charge", Fault::Hangs);
    let reply = platform.place("k", BEANS, &[("prefer", "respond-async")]).await;
    platform.books.called("charge", 1).await;
    platform.kill();
    platform.books.repair();
    let end = other.place("k", BEANS, &[("prefer", "wait=30")]).await;
    assert_eq!((end.status.as_u16(), end.order_id()), (201, reply.order_id()), "{end:?}");
    assert_eq!(other.books.payments(), 1);
    other.finish().await;
    postgres.clean_up().await;
}

#[tokio::test]
async fn bad_requests_name_the_field_and_write_nothing() {
    let platform = Platform::new().await;
    let check = async |body: &str, expected: &str| {
        let reply = platform.place("k", body, &[]).await;
        assert_eq!(reply.refusal(), expected, "{body:.200}");
    };
    check("", "400 invalid_json").await;
    check("{", "400 invalid_json").await;
    check("{}", "422 invalid_request items").await;
    check("null", "422 invalid_request body").await;
    check(r#"{"items":[],"payment_method":"pm_ok"}"#, "422 invalid_request items").await;
    check(r#"{"items":[{"sku":"beans","quantity":1}]}"#, "422 invalid_request payment_method").await;
    check(r#"{"items":[{"sku":"beans","quantity":1}],"payment_method":"pm_ok","note":"hi"}"#, "422 unknown_field note")
        .await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1,"price":3}],"payment_method":"pm_ok"}"#,
        "422 unknown_field items[0].price",
    )
    .await;
    check(r#"{"items":[{"sku":"beans"}],"payment_method":"pm_ok"}"#, "422 invalid_request items[0].quantity").await;
    for quantity in
        ["0", "-1", "1000001", "9223372036854775807", "99999999999999999999", "1.5", "1e30", "\"2\"", "null", "true"]
    {
        check(&body("beans", quantity, "pm_ok"), "422 invalid_request items[0].quantity").await;
    }
    check(&body("", "1", "pm_ok"), "422 invalid_request items[0].sku").await;
    check(&body("a b", "1", "pm_ok"), "422 invalid_request items[0].sku").await;
    check(&body("beans", "1", ""), "422 invalid_request payment_method").await;
    check(&body("beans", "1", "4111 1111 1111 1111"), "422 invalid_request payment_method").await;
    check(&body("nothing", "1", "pm_ok"), "422 unknown_sku items[0].sku").await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1},{"sku":"beans","quantity":2}],"payment_method":"pm_ok"}"#,
        "422 invalid_request items[1].sku",
    )
    .await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1},{"sku":"tea","quantity":2}],"payment_method":"pm_ok"}"#,
        "422 mixed_currencies items[1].unit_price.currency",
    )
    .await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1000000,"unit_price":{"amount_minor":9223372036854775807,"currency":"EUR"}}],"payment_method":"pm_ok"}"#,
        "422 total_overflow items[0].quantity",
    ).await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1,"unit_price":{"amount_minor":-1,"currency":"EUR"}}],"payment_method":"pm_ok"}"#,
        "422 invalid_request items[0].unit_price.amount_minor",
    ).await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1,"unit_price":{"amount_minor":1,"currency":"eur"}}],"payment_method":"pm_ok"}"#,
        "422 invalid_request items[0].unit_price.currency",
    ).await;
    let many = vec![r#"{"sku":"beans","quantity":1}"#; 101].join(",");
    check(&format!(r#"{{"items":[{many}],"payment_method":"pm_ok"}}"#), "422 invalid_request items").await;
    check(&" ".repeat(70 * 1024), "413 payload_too_large").await;
    check(&"[".repeat(10_000), "422 invalid_request body").await;
    check(&format!(r#"{{"items":{}"#, "[".repeat(10_000)), "422 invalid_request items[0]").await;
    check(r#"{"items":[["beans",1,null]],"payment_method":"pm_ok"}"#, "422 invalid_request items[0]").await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1,"unit_price":[1850,"EUR"]}],"payment_method":"pm_ok"}"#,
        "422 invalid_request items[0].unit_price",
    )
    .await;
    check(
        r#"{"items":[{"sku":"beans","quantity":1,"quantity":2}],"payment_method":"pm_ok"}"#,
        "422 invalid_request items[0]",
    )
    .await;
    assert_eq!(platform.finish().await.len(), 0);
    assert_eq!(platform.books.calls("reserve"), 0);
}

#[tokio::test]
async fn bad_envelopes_are_refused_by_what_is_wrong_with_them() {
    let platform = Platform::new().await;
    let check = async |headers: &[(&str, &str)], body: Vec<u8>, expected: &str| {
        let mut request = Request::post("/v1/orders");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = platform.send(demo(), request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.refusal(), expected, "{headers:?}");
    };
    let (json, key) = (("content-type", "application/json"), ("idempotency-key", "k"));
    let beans = || BEANS.as_bytes().to_vec();
    check(&[json], beans(), "400 missing_idempotency_key idempotency_key").await;
    check(&[json, ("idempotency-key", "")], beans(), "400 missing_idempotency_key idempotency_key").await;
    let long = "x".repeat(256);
    for bad in ["a b", long.as_str()] {
        check(&[json, ("idempotency-key", bad)], beans(), "422 invalid_idempotency_key idempotency_key").await;
    }
    check(&[json, key, ("idempotency-key", "l")], beans(), "422 invalid_idempotency_key idempotency_key").await;
    check(&[key], beans(), "415 unsupported_media_type").await;
    check(&[("content-type", "text/plain"), key], beans(), "415 unsupported_media_type").await;
    check(&[json, key, ("accept", "text/html")], beans(), "406 not_acceptable").await;
    check(&[json, key], b"{\"items\":[{\"sku\":\"\xff\"}]}".to_vec(), "400 invalid_json").await;
    check(&[json, key], vec![b' '; 10 * 1024 * 1024], "413 payload_too_large").await;
    assert_eq!(platform.finish().await.len(), 0);
}

#[tokio::test]
async fn scopes_are_asked_for() {
    let platform = Platform::new().await;
    let request = Request::post("/v1/orders").body(Body::empty()).unwrap();
    let reply = platform.send(claims("demo", "orders:read orders:admin"), request).await;
    assert_eq!(reply.refusal(), "403 insufficient_scope");
    assert!(reply.header("www-authenticate").unwrap().contains("orders:write"));
}

#[tokio::test]
async fn a_caller_that_does_not_wait_gets_202_and_a_location() {
    let platform = Platform::new().await;
    platform.books.fault("charge", Fault::Hangs);
    let reply = platform.place("k", BEANS, &[("prefer", "respond-async")]).await;
    assert_eq!((reply.status.as_u16(), reply.header("preference-applied")), (202, Some("respond-async")));
    assert_eq!(reply.json()["status"], "pending");
    assert_eq!(reply.json()["saga"]["status"], "running");
    assert_eq!(reply.header("location"), Some(format!("/v1/orders/{}", reply.order_id()).as_str()));
    // A repeat that waits gets the end, and is told that it is a repeat.
    platform.books.repair();
    let end = platform.place("k", BEANS, &[("prefer", "wait=20")]).await;
    assert_eq!((end.status.as_u16(), end.header("preference-applied")), (201, Some("wait=20")));
    assert_eq!(end.header("idempotency-replayed"), Some("true"));
    assert_eq!(end.order_id(), reply.order_id());
    platform.finish().await;
}

#[tokio::test]
async fn at_the_deadline_the_answer_is_202_and_the_order_goes_on() {
    let platform = Platform::with(|config| config.saga.attempt_timeout_ms = 60_000).await;
    platform.books.fault("charge", Fault::Hangs);
    let reply = platform.place("k", BEANS, &[("prefer", "wait=1")]).await;
    assert_eq!((reply.status.as_u16(), reply.header("preference-applied")), (202, Some("wait=1")));
    let orders = platform.finish().await;
    assert_eq!(orders[0].status(), Status::Confirmed);
}

#[tokio::test]
async fn a_participant_that_is_down_is_503_and_frees_the_key() {
    let platform = Platform::new().await;
    // Before anything is written.
    platform.books.fault("items", Fault::Down);
    let reply = platform.place("k", BEANS, &[]).await;
    assert_eq!(reply.refusal(), "503 dependency_unavailable");
    assert!(reply.header("retry-after").is_some());
    platform.books.repair();
    platform.books.not_ready();
    assert_eq!(platform.place("k", BEANS, &[]).await.refusal(), "503 dependency_unavailable");
    platform.books.repair();
    assert_eq!(platform.orders().await.len(), 0);
    let page = platform.runtime.metrics.encode();
    assert!(page.contains(r#"orders_total{status="unavailable"} 2"#), "{page}");
    assert!(page.contains(r#"orders_total{status="failed"} 0"#), "{page}");
    // The charge fails, its compensation works: everything is undone at once, and the key given back with it.
    platform.books.fault("charge", Fault::Down);
    let reply = platform.place("k", BEANS, &[]).await;
    assert_eq!(reply.refusal(), "503 dependency_unavailable", "{reply:?}");
    assert!(reply.header("retry-after").is_some() && reply.header("location").is_some());
    assert_eq!(platform.books.available("beans"), 100);
    platform.books.repair();
    let reply = platform.place("k", BEANS, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.header("idempotency-replayed")), (201, None));
    let orders = platform.finish().await;
    assert_eq!(orders.len(), 2);
}

#[tokio::test]
async fn an_order_that_cannot_be_undone_yet_is_503_and_undone_later() {
    let platform = Platform::new().await;
    for call in ["charge", "compensate"] {
        platform.books.fault(call, Fault::Down);
    }
    let began = std::time::Instant::now();
    let reply = platform.place("k", BEANS, &[]).await;
    assert_eq!(reply.refusal(), "503 dependency_unavailable");
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
    assert!(reply.header("retry-after").is_some());
    let location = reply.header("location").unwrap().to_owned();
    // The key still belongs to the order that is being undone.
    assert_eq!(platform.place("k", BEANS, &[]).await.refusal(), "503 dependency_unavailable");
    assert_eq!(platform.get(&location).await.json()["saga"]["status"], "unwinding");
    let orders = platform.finish().await;
    assert_eq!((orders.len(), orders[0].status()), (1, Status::Failed));
    // And is free once it is.
    assert_eq!(platform.place("k", BEANS, &[]).await.status, 201);
    platform.finish().await;
}

#[tokio::test]
async fn what_was_never_sent_need_not_be_undone() {
    let platform = Platform::new().await;
    // As behind an open breaker: the charge is not sent, and its compensation could not be.
    platform.books.fault("charge", Fault::NotSent);
    platform.books.fault("compensate", Fault::Down);
    let reply = platform.place("k", BEANS, &[]).await;
    assert_eq!(reply.refusal(), "503 dependency_unavailable", "{reply:?}");
    assert_eq!((platform.books.calls("compensate"), platform.books.available("beans")), (0, 100));
    let saga = platform.get(&format!("{}/saga", reply.header("location").unwrap())).await.json();
    assert_eq!(saga["status"], "unwound");
    let step = |name: &str| saga["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap().clone();
    assert_eq!(
        (&step("charge_payment")["outcome"], &step("charge_payment")["attempts"]),
        (&"not_sent".into(), &3.into())
    );
    // So the key is free at once, and the next order under it is not held up by the one before.
    platform.books.repair();
    assert_eq!(platform.place("k", BEANS, &[]).await.status, 201);
    platform.finish().await;
}

#[tokio::test]
async fn lost_answers_cost_repeats_and_no_money() {
    let platform = Platform::new().await;
    for call in ["reserve", "charge", "commit"] {
        platform.books.fault(call, Fault::AnswerLost);
        let key = format!("k-{call}");
        let reply = platform.place(&key, BEANS, &[("prefer", "wait=1")]).await;
        assert!([201, 202, 503].contains(&reply.status.as_u16()), "{call}: {reply:?}");
        platform.finish().await;
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_503_within_the_deadline() {
    let platform = Platform::new().await;
    platform.database.close().await;
    for reply in [platform.place("k", BEANS, &[]).await, platform.get("/v1/orders").await] {
        assert_eq!(reply.refusal(), "503 store_unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    assert_eq!(platform.books.calls("reserve"), 0);
}

#[tokio::test]
async fn more_than_fits_is_refused_at_once() {
    let platform = Platform::with(|config| config.limits.waiting_max = 1).await;
    platform.books.fault("charge", Fault::Hangs);
    let (first, second) = tokio::join!(platform.place("k1", BEANS, &[]), async {
        platform.books.called("charge", 1).await;
        let second = platform.place("k2", BEANS, &[]).await;
        platform.books.repair();
        second
    });
    assert_eq!((first.status.as_u16(), second.refusal().as_str()), (201, "503 overloaded"));
    assert_eq!(second.header("retry-after"), Some("1"));
    platform.finish().await;
}

#[tokio::test]
async fn an_order_survives_a_restart() {
    let platform = Platform::with(|config| config.saga.attempt_timeout_ms = 60_000).await;
    platform.books.fault("charge", Fault::Hangs);
    let reply = platform.place("k", BEANS, &[("prefer", "respond-async")]).await;
    assert_eq!(reply.status, 202);
    platform.books.called("charge", 1).await;
    let platform = platform.restart().await;
    platform.books.repair();
    let again = platform.place("k", BEANS, &[("prefer", "wait=30")]).await;
    assert_eq!((again.status.as_u16(), again.order_id()), (201, reply.order_id()));
    assert_eq!(platform.books.payments(), 1);
    platform.finish().await;
}
