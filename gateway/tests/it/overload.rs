//! Orders that the order service would refuse for want of room.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, http::StatusCode, response::IntoResponse as _};
use service_base::problem::{Code, Problem};

use crate::support::{Raw, World, parse, serve_http};

/// More than are let through in the time that asking takes, to find out whether there is room.
const ORDERS: usize = 300;

/// A gateway before an order service without room, and how often that was asked.
async fn full() -> (World, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let service = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        async {
            Problem::of(Code::Overloaded, "no room").retry_after(std::time::Duration::from_secs(1)).into_response()
        }
    });
    let service = serve_http(service).await.to_string();
    let world = World::with(|config| config.upstreams.order_http = service).await;
    (world, asked)
}

/// Orders under a key of its own, with a body, over a connection that is kept.
async fn order(connection: &mut Raw, authorization: &str, key: usize) -> (u16, String) {
    let request = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: gw\r\n{authorization}Idempotency-Key: k-{key}\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    connection.send(request).await;
    let (status, headers, problem) = parse(&connection.read_answer().await);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert_eq!((headers["retry-after"].as_str(), &problem["code"]), ("1", &"overloaded".into()));
        assert!(headers.contains_key("x-correlation-id") && !headers.contains_key("x-overloaded"), "{headers:?}");
    }
    (status, headers["connection"].clone())
}

#[tokio::test]
async fn orders_without_room_are_refused_at_the_door() {
    let (world, asked) = full().await;
    let authorization = format!("Authorization: Bearer {}\r\n", world.token("orders:write"));
    let mut connection = world.connect().await;
    for number in 0..ORDERS {
        assert_eq!(order(&mut connection, &authorization, number).await, (503, "keep-alive".to_owned()), "{number}");
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..ORDERS).contains(&asked), "{asked} of {ORDERS} went on");
    let here = world.metric("gateway_refusals_total{", &["overloaded"]);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let expected = (ORDERS - asked) as f64;
    assert_eq!(here, Some(expected));
}

#[tokio::test]
async fn caller_without_a_token_is_told_so_whatever_the_room() {
    let (world, asked) = full().await;
    let authorization = format!("Authorization: Bearer {}\r\n", world.token("orders:write"));
    let mut connection = world.connect().await;
    order(&mut connection, &authorization, 0).await;
    let before = asked.load(Ordering::Relaxed);
    for number in 1..50 {
        let (status, _) = order(&mut connection, "", number).await;
        assert_eq!(status, 401);
    }
    assert_eq!(asked.load(Ordering::Relaxed), before);
}
