//! Bytes that no library would send.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use crate::support::{World, parse};

#[tokio::test]
async fn ambiguous_requests_are_refused_and_reach_no_service() {
    let world = World::start().await;
    let token = world.token("orders:read orders:write items:read");
    let authorized = format!("Host: gw\r\nAuthorization: Bearer {token}\r\n");
    let long = "x".repeat(20_000);
    let many = "X-A: 1\r\n".repeat(120);
    let rows: Vec<(u16, String)> = vec![
        (
            400,
            format!(
                "POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            400,
            format!(
                "POST /v1/orders HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
            ),
        ),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length: 4, 4\r\n\r\nabcd")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length: +4\r\n\r\nabcd")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length: 0x4\r\n\r\nabcd")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Content-Length : 4\r\n\r\nabcd")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Transfer-Encoding: xchunked\r\n\r\n")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked, identity\r\n\r\n")),
        (400, format!("POST /v1/orders HTTP/1.1\r\n{authorized}Transfer-Encoding: \u{b}chunked\r\n\r\n")),
        (400, format!("POST /v1/orders HTTP/1.0\r\n{authorized}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (
            400,
            format!("POST /v1/orders HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n"),
        ),
        (
            400,
            format!(
                "POST /v1/orders HTTP/1.1\r\n{authorized}Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n"
            ),
        ),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}X-A: 1\r\n folded\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}X-A: a\nX-B: b\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}X-A: a\rb\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}X-A: a\0b\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}X A: b\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}: b\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}Authorization: Bearer x\r\n\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1\r\n{authorized}Host: gw\r\n\r\n")),
        (400, "GET /v1/orders HTTP/1.1\n\n".to_owned()),
        (400, "GET /healthz HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET /healthz HTTP/1.1\r\nHost: \r\n\r\n".to_owned()),
        (400, "GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n".to_owned()),
        (400, format!("GET http://other/v1/orders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET  /v1/orders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /v1/orders HTTP/1.1 \r\n{authorized}\r\n")),
        (400, format!("GET * HTTP/1.1\r\n{authorized}\r\n")),
        (400, "\u{16}\u{3}\u{1}\u{2}\0".to_owned()),
        (400, format!("GET /v1/../oauth2/x HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /auth/..%2fv1/orders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /auth/%2e%2e/v1/orders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /auth/%252e%252e/v1/orders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /v1%2Forders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /v1\\orders HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /v1/orders%00 HTTP/1.1\r\n{authorized}\r\n")),
        (400, format!("GET /v1//orders HTTP/1.1\r\n{authorized}\r\n")),
        (405, format!("TRACE / HTTP/1.1\r\n{authorized}\r\n")),
        (405, "CONNECT gw:80 HTTP/1.1\r\nHost: gw:80\r\n\r\n".to_owned()),
        (414, format!("GET /{long} HTTP/1.1\r\n{authorized}\r\n")),
        (431, format!("GET /v1/orders HTTP/1.1\r\n{authorized}X-A: {long}\r\n\r\n")),
        (431, format!("GET /v1/orders HTTP/1.1\r\n{authorized}{many}\r\n")),
        (505, format!("GET /v1/orders HTTP/1.2\r\n{authorized}\r\n")),
    ];
    for (status, request) in rows {
        // A second request behind the first: a caller that is refused gets no second one in.
        let smuggled = format!("{request}GET /v1/orders/smuggled HTTP/1.1\r\n{authorized}\r\n");
        let answer = world.raw(&smuggled).await;
        let shown = request.get(..120).unwrap_or(&request);
        assert!(!answer.contains("smuggled"), "{shown:?} let another through: {answer}");
        let (got, headers, problem) = parse(&answer);
        assert_eq!(got, status, "{shown:?}: {answer}");
        assert_eq!(headers["content-type"], "application/problem+json", "{shown:?}");
        assert!(headers.contains_key("x-correlation-id"), "{shown:?}");
        assert_eq!(problem["status"], status, "{shown:?}");
        let code = problem["code"].as_str().unwrap();
        assert!(["bad_request", "method_not_allowed"].contains(&code), "{shown:?}: {problem}");
    }
    assert!(world.metric("gateway_refusals_total", &["bad_request"]).unwrap() > 30.0);
}

#[tokio::test]
async fn plain_requests_pass_however_they_are_sent() {
    let world = World::start().await;
    let token = world.token("orders:read orders:write");
    let authorized = format!("Authorization: Bearer {token}\r\n");

    let (status, _, seen) = parse(&world.raw(format!("GET /v1/orders HTTP/1.0\r\n{authorized}\r\n")).await);
    assert_eq!((status, &seen["target"]), (200, &"/v1/orders".into()), "HTTP/1.0 needs no Host");

    let request = format!(
        "\r\nGET http://gw:1/v1/orders?limit=1 HTTP/1.1\r\nHost: gw:1\r\n{authorized}Connection: close\r\n\r\n"
    );
    let (status, _, seen) = parse(&world.raw(request).await);
    assert_eq!(
        (status, &seen["target"]),
        (200, &"/v1/orders?limit=1".into()),
        "absolute form, and an empty line before"
    );

    // Byte by byte.
    let mut connection = world.connect().await;
    connection.0.set_nodelay(true).unwrap();
    for byte in format!("GET /v1/orders HTTP/1.1\r\nHost: gw\r\n{authorized}\r\n").bytes() {
        connection.send([byte]).await;
    }
    assert_eq!(parse(&connection.read_answer().await).0, 200);

    // A caller that closes its sending side after a whole request still gets its answer.
    let mut connection = world.connect().await;
    connection.send(format!("GET /v1/orders HTTP/1.1\r\nHost: gw\r\n{authorized}\r\n")).await;
    connection.0.shutdown().await.unwrap();
    assert_eq!(parse(&connection.read_to_end().await).0, 200);
}

#[tokio::test]
async fn a_caller_that_asks_first_is_told_to_go_on() {
    let world = World::start().await;
    let token = world.token("orders:write");
    let head =
        format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n");
    let mut connection = world.connect().await;
    connection.send(format!("{head}Content-Length: 5\r\n\r\n")).await;
    let go_on = connection.read_answer().await;
    assert!(go_on.starts_with("HTTP/1.1 100 "), "{go_on}");
    connection.send("hello").await;
    let (status, _, seen) = parse(&connection.read_answer().await);
    assert_eq!((status, &seen["body"]), (200, &"hello".into()));

    // A caller that asks before it sends too much need not send it.
    let mut connection = world.connect().await;
    connection.send(format!("{head}Content-Length: 5000000\r\n\r\n")).await;
    assert_eq!(parse(&connection.read_answer().await).0, 413);
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_turn() {
    let world = World::start().await;
    let token = world.token("orders:read orders:write");
    let head = format!("Host: gw\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\n");
    let mut connection = world.connect().await;
    connection
        .send(format!(
            "GET /v1/orders/1 HTTP/1.1\r\n{head}\r\n\
             POST /v1/orders HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\nhello\
             POST /v1/orders HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nT: v\r\n\r\n\
             \r\nGET /v1/orders/4 HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
        ))
        .await;
    let all = connection.read_to_end().await;
    let bodies: Vec<serde_json::Value> = all
        .split("\r\n\r\n")
        .filter_map(|part| part.split("HTTP/1.1 ").next())
        .filter_map(|body| serde_json::from_str(body).ok())
        .collect();
    let seen: Vec<(&str, &str)> =
        bodies.iter().map(|body| (body["target"].as_str().unwrap(), body["body"].as_str().unwrap())).collect();
    assert_eq!(
        seen,
        [("/v1/orders/1", ""), ("/v1/orders", "hello"), ("/v1/orders", "abcdefg"), ("/v1/orders/4", "")],
        "{all}"
    );
}

#[tokio::test]
async fn a_head_that_dawdles_is_cut_off_as_a_whole() {
    let world = World::with(|config| config.timeouts.head_ms = 400).await;
    let began = Instant::now();
    let mut connection = world.connect().await;
    connection.send("GET /healthz HTTP/1.1\r\nHost: gw\r\n").await;
    // A header line every 50 ms for ever: each read is quick, the whole is not.
    let (mut reading, mut writing) = connection.0.into_split();
    let dripping = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if writing.write_all(b"X-A: 1\r\n").await.is_err() {
                return;
            }
        }
    });
    let mut answer = String::new();
    // The sender goes on after the answer, so the end may come as a reset.
    let _ = tokio::io::AsyncReadExt::read_to_string(&mut reading, &mut answer).await;
    let took = began.elapsed();
    dripping.abort();
    assert!((Duration::from_millis(350)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert_eq!(parse(&answer).0, 408, "{answer}");
}

#[tokio::test]
async fn a_silent_or_half_started_connection_is_closed() {
    let world = World::with(|config| config.timeouts.head_ms = 300).await;
    for opening in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let began = Instant::now();
        let mut connection = world.connect().await;
        connection.send(opening).await;
        let answer = connection.read_to_end().await;
        let took = began.elapsed();
        assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&took), "{opening:?} took {took:?}");
        assert_eq!(answer, "", "{opening:?}");
    }
}

#[tokio::test]
async fn a_whole_preface_with_nothing_after_it_is_let_go_as_well() {
    let world = World::with(|config| config.timeouts.idle_ms = 300).await;
    let mut connection = world.connect().await;
    connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    connection.read_to_end().await;

    // The same with settings exchanged and half a HEADERS frame: 9 bytes of frame header promise 64 bytes of block.
    let mut connection = world.connect().await;
    connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    connection.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    connection.send([0, 0, 64, 1, 4, 0, 0, 0, 1, 0x82]).await;
    connection.read_to_end().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_between_requests() {
    let world = World::with(|config| config.timeouts.idle_ms = 300).await;
    let mut connection = world.connect().await;
    connection.send("GET /healthz HTTP/1.1\r\nHost: gw\r\n\r\n").await;
    assert_eq!(parse(&connection.read_answer().await).0, 200);
    assert_eq!(connection.read_to_end().await, "");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let world = World::with(|config| config.timeouts.body_ms = 300).await;
    let token = world.token("orders:write");
    let request = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\nhalf"
    );
    let (status, _, problem) = parse(&world.raw(request).await);
    assert_eq!((status, &problem["code"]), (408, &"bad_request".into()));
}
