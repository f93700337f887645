//! `GET /v1/orders` and `GET /v1/items`, as callers see them.

use axum::{body::Body, http::Request};

use crate::testkit::{Platform, claims, demo};

const BEANS: &str = r#"{"items":[{"sku":"beans","quantity":1}],"payment_method":"pm_ok"}"#;

#[tokio::test]
async fn pages_are_newest_first_and_end() {
    let platform = Platform::new().await;
    let mut placed = Vec::new();
    for n in 0..5 {
        let method = if n == 2 { "pm_declined" } else { "pm_ok" };
        let reply = platform.place(&format!("k{n}"), &BEANS.replace("pm_ok", method), &[]).await;
        placed.push(reply.header("location").unwrap().rsplit('/').next().unwrap().to_owned());
    }
    placed.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/orders?limit=2".to_owned();
    loop {
        let page = platform.get(&path).await;
        assert_eq!(page.status, 200, "{page:?}");
        let json = page.json();
        seen.extend(json["orders"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = json["next_cursor"].as_str() else { break };
        path = format!("/v1/orders?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, placed);
    let failed = platform.get("/v1/orders?status=failed").await.json();
    assert_eq!(failed["orders"].as_array().unwrap().len(), 1);
    assert_eq!(failed["orders"][0]["id"], placed[2].as_str());
    platform.finish().await;
}

#[tokio::test]
async fn customers_see_their_own_and_administrators_all() {
    let platform = Platform::new().await;
    let order = platform.place("k", BEANS, &[]).await.order_id();
    let ask = async |sub: &str, scope: &str, path: &str| {
        platform.send(claims(sub, scope), Request::get(path).body(Body::empty()).unwrap()).await
    };
    let count = |json: serde_json::Value| json["orders"].as_array().map(Vec::len);
    assert_eq!(count(ask("demo", "orders:read", "/v1/orders").await.json()), Some(1));
    assert_eq!(count(ask("other", "orders:read", "/v1/orders").await.json()), Some(0));
    assert_eq!(count(ask("boss", "orders:admin", "/v1/orders").await.json()), Some(1));
    assert_eq!(ask("demo", "orders:write", "/v1/orders").await.refusal(), "403 insufficient_scope");
    for path in [format!("/v1/orders/{order}"), format!("/v1/orders/{order}/saga")] {
        assert_eq!(ask("demo", "orders:read", &path).await.status, 200);
        assert_eq!(ask("other", "orders:read", &path).await.refusal(), "404 order_not_found");
        assert_eq!(ask("boss", "orders:admin", &path).await.status, 200);
    }
    assert_eq!(ask("demo", "orders:read", "/v1/orders/x").await.refusal(), "404 order_not_found");
    platform.finish().await;
}

#[tokio::test]
async fn bad_queries_name_the_parameter() {
    let platform = Platform::new().await;
    for (query, expected) in [
        ("limit=0", "422 invalid_request limit"),
        ("limit=101", "422 invalid_request limit"),
        ("cursor=%00", "422 invalid_request cursor"),
        ("status=done", "422 invalid_request status"),
        ("offset=3", "422 unknown_field offset"),
    ] {
        assert_eq!(platform.get(&format!("/v1/orders?{query}")).await.refusal(), expected);
    }
    assert_eq!(platform.get("/v1/nothing").await.refusal(), "404 not_found");
    let request = Request::delete("/v1/orders").body(Body::empty()).unwrap();
    assert_eq!(platform.send(demo(), request).await.refusal(), "405 method_not_allowed");
}

#[tokio::test]
async fn the_timeline_tells_every_step() {
    let platform = Platform::new().await;
    let reply = platform.place("k", &BEANS.replace("pm_ok", "pm_declined"), &[]).await;
    let timeline = platform.get(&format!("{}/saga", reply.header("location").unwrap())).await.json();
    let steps: Vec<String> = timeline["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {} {}", step["name"], step["phase"], step["outcome"]).replace('"', ""))
        .collect();
    assert_eq!(steps[..2], ["reserve_stock action done", "charge_payment action refused"], "{timeline}");
    assert!(steps.contains(&"reserve_stock compensation undone".to_owned()), "{timeline}");
    assert_eq!((&timeline["status"], &timeline["definition"]), (&"unwound".into(), &"place-order".into()));
    assert_eq!(timeline["failure"]["code"], "declined");
    platform.finish().await;
}

#[tokio::test]
async fn the_catalogue_is_a_view_of_the_inventory() {
    let platform = Platform::new().await;
    let page = platform.get("/v1/items?limit=3").await.json();
    let skus: Vec<&str> = page["items"].as_array().unwrap().iter().filter_map(|item| item["sku"].as_str()).collect();
    assert_eq!(skus, ["beans", "crown", "cup"]);
    let rest = platform.get(&format!("/v1/items?cursor={}", page["next_cursor"].as_str().unwrap())).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), rest.get("next_cursor")), (1, None));
    let item = platform.get("/v1/items/cup").await.json();
    assert_eq!((&item["available"], &item["unit_price"]["amount_minor"]), (&3.into(), &400.into()));
    assert_eq!(platform.get("/v1/items/none").await.refusal(), "404 not_found");
    assert_eq!(platform.get("/v1/items/a%20b").await.refusal(), "404 not_found");
    assert_eq!(platform.get("/v1/items?cursor=bad").await.refusal(), "422 invalid_request cursor");
    let request = Request::get("/v1/items").body(Body::empty()).unwrap();
    assert_eq!(platform.send(claims("demo", "orders:read"), request).await.refusal(), "403 insufficient_scope");
    platform.books.fault("item", crate::testkit::Fault::Down);
    assert_eq!(platform.get("/v1/items/cup").await.refusal(), "503 dependency_unavailable");
}
