//! How much and how often.

use gateway::config::Rate;
use serde_json::Value;

use crate::support::{World, free_address, parse};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn bodies_up_to_the_limit_pass_and_larger_ones_are_refused() {
    let world = World::start().await;
    let token = world.token("orders:write");
    for client in [World::client(), World::client_h2()] {
        let post = |body: reqwest::Body| client.post(world.url("/v1/orders")).bearer_auth(&token).body(body).send();
        let answer = post(vec![b'x'; MIB].into()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.json::<Value>().await.unwrap()["body_bytes"], MIB);
        for size in [MIB + 1, 10 * MIB] {
            let answer = post(vec![b'x'; size].into()).await.unwrap();
            assert_eq!(answer.status(), 413, "{size}");
            assert_eq!(answer.json::<Value>().await.unwrap()["code"], "payload_too_large");
        }
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted_as_it_comes() {
    let world = World::start().await;
    let token = world.token("orders:write");
    let mut request = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..10 {
        request.extend_from_slice(format!("{MIB:x}\r\n").as_bytes());
        request.extend(std::iter::repeat_n(b'x', MIB));
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    // Sent whole, although the answer comes early: the gateway reads over the rest, so that the answer is not lost to a reset.
    let (status, _, problem) = parse(&world.raw(request).await);
    assert_eq!((status, &problem["code"]), (413, &"payload_too_large".into()));
}

fn one_at_a_time(config: &mut gateway::Config) {
    // One every thousand seconds, after three.
    config.rate_limit.subject = Rate { per_second: 1, burst: 3 };
    config.rate_limit.address = Rate { per_second: 1, burst: 3 };
}

#[tokio::test]
async fn a_subject_that_asks_too_often_is_told_to_wait() {
    let world = World::with(one_at_a_time).await;
    let client = World::client();
    let ask = |subject: &str| {
        let token = world.issuer.token(subject, "orders:read");
        client.get(world.url("/v1/orders")).bearer_auth(token).send()
    };
    // All at once: a bucket that is read and written in two steps would let more through.
    let answers = futures::future::join_all((0..10).map(|_| ask("ann"))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.as_ref().unwrap().status().as_u16()).collect();
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!((3..=4).contains(&passed), "{statuses:?}");
    let refused = answers.into_iter().map(Result::unwrap).find(|answer| answer.status() == 429).unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "rate_limited");
    assert_eq!(ask("bob").await.unwrap().status(), 200, "others are not affected");
}

#[tokio::test]
async fn who_has_no_token_is_counted_by_address() {
    let world = World::with(one_at_a_time).await;
    let client = World::client();
    let mut statuses = Vec::new();
    for path in ["/v1/orders", "/auth/login", "/nowhere", "/v1/orders", "/auth/login"] {
        statuses.push(client.get(world.url(path)).send().await.unwrap().status().as_u16());
    }
    assert!(statuses.starts_with(&[401, 200, 404]) && statuses.ends_with(&[429]), "{statuses:?}");
    let good = client.get(world.url("/v1/orders")).bearer_auth(world.token("orders:read"));
    assert_eq!(good.send().await.unwrap().status(), 200, "a good token from there still gets in");
}

#[tokio::test]
async fn grpc_callers_are_told_in_grpc() {
    let world = World::with(one_at_a_time).await;
    let client = World::client_h2();
    let mut last = None;
    for _ in 0..6 {
        let request = client
            .post(world.url("/amends.orders.v1.OrderService/GetOrder"))
            .header("content-type", "application/grpc");
        last = Some(request.send().await.unwrap().headers()["grpc-status"].clone());
    }
    assert_eq!(last.unwrap(), "8");
}

#[tokio::test]
async fn without_the_shared_counters_nobody_is_let_in() {
    let nowhere = free_address().await;
    let world = World::with(|config| config.redis_url = format!("redis://{nowhere}").into()).await;
    for (path, token) in [("/auth/login", None), ("/v1/orders", Some(world.token("orders:read")))] {
        let mut request = World::client().get(world.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
    }
    assert_eq!(World::client().get(world.url("/readyz")).send().await.unwrap().status(), 503);
    assert_eq!(World::client().get(world.url("/healthz")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn replicas_share_limits_and_revocations() {
    let Some(redis_url) = amends_testing::redis() else { return };
    let config = |config: &mut gateway::Config| {
        one_at_a_time(config);
        config.redis_url = redis_url.clone().into();
    };
    let (one, two) = (World::with(config).await, World::with(config).await);
    // The issuers differ, the subject is the same; a name that no other test uses, since the server outlives this test.
    let subject = format!("ann-{}", one.address.port());
    let ask = |world: &World| {
        let token = world.issuer.token(&subject, "orders:read");
        World::client().get(world.url("/v1/orders")).bearer_auth(token).send()
    };
    let mut statuses = Vec::new();
    for world in [&one, &two, &one, &two, &one, &two] {
        statuses.push(ask(world).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses[..3], [200, 200, 200], "{statuses:?}");
    assert!(statuses[3..].contains(&429), "{statuses:?}");

    let jti = format!("revoked-{subject}");
    let token = one.issuer.token_with("bob", "orders:read", &serde_json::json!({"jti": jti}));
    let get = || World::client().get(one.url("/v1/orders")).bearer_auth(&token).send();
    assert_eq!(get().await.unwrap().status(), 200);
    let redis = service_base::kv::Redis::new(&redis_url).unwrap();
    redis
        .set(&format!("{}{jti}", amends_auth::REVOKED_KEY_PREFIX), "1", std::time::Duration::from_mins(1))
        .await
        .unwrap();
    assert_eq!(get().await.unwrap().status(), 401, "revoked tokens are refused at once, remembered or not");
}

/// As after the server's clock was set back by an hour, which is nothing that a test may do to it.
#[tokio::test]
async fn a_shared_bucket_from_the_future_is_an_empty_one() {
    let Some(redis_url) = amends_testing::redis() else { return };
    let world = World::with(|config| {
        one_at_a_time(config);
        config.redis_url = redis_url.clone().into();
    })
    .await;
    let subject = format!("future-{}", world.address.port());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let full_at = (since + std::time::Duration::from_hours(1)).as_micros().to_string();
    let redis = service_base::kv::Redis::new(&redis_url).unwrap();
    redis.set(&format!("amends:rate:s:{subject}"), &full_at, std::time::Duration::from_hours(2)).await.unwrap();
    let ask = || {
        let token = world.issuer.token(&subject, "orders:read");
        World::client().get(world.url("/v1/orders")).bearer_auth(token).send()
    };
    let refused = ask().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    // It fills as any does, also while its caller goes on asking: one token a second.
    let begun = tokio::time::Instant::now();
    while ask().await.unwrap().status() != 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "its caller is refused for the step");
    }
}
