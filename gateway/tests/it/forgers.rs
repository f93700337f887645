//! Forged tokens: what a flood of them costs, and whom it holds back.

use serde_json::Value;

use crate::support::{Issuer, World, parse};

const FAILURES_MAX: u32 = 4;

fn get(token: &str) -> String {
    format!("GET /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_flood_of_forged_tokens_is_stopped_before_their_signatures() {
    let world = World::with(|config| config.auth.failures_max = FAILURES_MAX).await;
    let known = world.token("orders:read");
    assert_eq!(parse(&world.raw(get(&known)).await).0, 200);
    let forger = Issuer::new();
    let mut statuses = Vec::new();
    for n in 0..40 {
        let (status, headers, problem) = parse(&world.raw(get(&forger.token(&format!("s{n}"), "orders:read"))).await);
        if status == 429 {
            assert_eq!(problem["code"], "rate_limited");
            assert!(headers["retry-after"].parse::<u32>().unwrap() >= 1, "{headers:?}");
        }
        statuses.push(status);
    }
    assert!(statuses.starts_with(&[401, 401, 401, 401]) && statuses.contains(&429), "{statuses:?}");
    let looked_at = statuses.iter().filter(|status| **status == 401).count();
    assert!(looked_at < 20, "one more is looked at every few seconds: {statuses:?}");
    let counted = |result: &str| world.metric("auth_verifications_total", &[&format!("result=\"{result}\"")]);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let expected = (Some(looked_at as f64), Some((40 - looked_at) as f64));
    assert_eq!((counted("signature"), counted("throttled")), expected);

    assert_eq!(parse(&world.raw(get(&known)).await).0, 200, "who was let in before still is");
    let mut other = world.connect_from([127, 0, 0, 2]).await;
    other.send(get(&world.token("orders:read"))).await;
    assert_eq!(parse(&other.read_to_end().await).0, 200, "another address is not held back");
}

#[tokio::test]
async fn a_grpc_forger_is_told_in_grpc() {
    let world = World::with(|config| config.auth.failures_max = 1).await;
    let forger = Issuer::new();
    let client = World::client_h2();
    let mut statuses = Vec::new();
    for n in 0..20 {
        let request = client
            .post(world.url("/amends.orders.v1.OrderService/GetOrder"))
            .header("content-type", "application/grpc")
            .bearer_auth(forger.token(&format!("s{n}"), "orders:read"));
        statuses.push(request.send().await.unwrap().headers()["grpc-status"].to_str().unwrap().to_owned());
    }
    assert!(statuses[0] == "16" && statuses.contains(&"8".to_owned()), "{statuses:?}");
}

#[tokio::test]
async fn callers_behind_a_trusted_balancer_are_throttled_apart() {
    let world = World::with(|config| {
        config.auth.failures_max = 1;
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let (client, forger) = (World::client(), Issuer::new());
    let ask = async |from: &str, token: String| {
        let request = client.get(world.url("/v1/orders")).header("x-forwarded-for", from).bearer_auth(token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let mut statuses = Vec::new();
    for n in 0..20 {
        statuses.push(ask("198.51.100.7", forger.token(&format!("s{n}"), "orders:read")).await.0);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(ask("198.51.100.8", world.token("orders:read")).await.0, 200);
}
