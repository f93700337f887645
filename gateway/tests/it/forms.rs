//! Odd forms of requests that are no attack on the framing: each has one answer, whichever protocol brings it.

use crate::support::{World, parse};

/// Status and code that a request with these header lines gets, over HTTP/1.
async fn ask(world: &World, lines: &[&str], body: &str) -> (u16, String, std::collections::BTreeMap<String, String>) {
    let token = world.token("orders:write");
    let mut head = format!("POST /v1/orders HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token}\r\n");
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    let (status, headers, problem) = parse(&world.raw(format!("{head}Connection: close\r\n\r\n{body}")).await);
    (status, problem["code"].as_str().unwrap_or_default().to_owned(), headers)
}

#[tokio::test]
async fn coded_bodies_are_refused_with_415_and_what_would_be_read() {
    let world = World::start().await;
    for coding in ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "identity, gzip", "nonsense"] {
        let line = format!("Content-Encoding: {coding}");
        let (status, code, headers) = ask(&world, &["Content-Length: 2", &line], "{}").await;
        assert_eq!((status, code.as_str()), (415, "unsupported_media_type"), "{coding}");
        assert_eq!(headers["accept-encoding"], "identity", "{coding}");
        let request = World::client_h2().post(world.url("/v1/orders")).bearer_auth(world.token("orders:write"));
        let answer = request.header("content-encoding", coding).body("{}").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["accept-encoding"]),
            (415, &"identity".parse().unwrap())
        );
    }
    for plain in ["identity", "Identity", ""] {
        let line = format!("Content-Encoding: {plain}");
        assert_eq!(ask(&world, &["Content-Length: 2", &line], "{}").await.0, 200, "{plain:?}");
    }
    // Who may not ask at all is told that first.
    let anonymous = World::client().post(world.url("/v1/orders")).header("content-encoding", "gzip").send().await;
    assert_eq!(anonymous.unwrap().status(), 401);
    let login =
        World::client().post(world.url("/auth/login")).header("content-encoding", "gzip").body("{}").send().await;
    assert_eq!(login.unwrap().status(), 415);
    let call = World::client_h2()
        .post(world.url("/amends.orders.v1.OrderService/CreateOrder"))
        .bearer_auth(world.token("orders:write"))
        .header("content-type", "application/grpc")
        .header("content-encoding", "gzip")
        .body(vec![0; 5]);
    assert_eq!(call.send().await.unwrap().headers()["grpc-status"], "3");
}

#[tokio::test]
async fn each_odd_form_has_its_answer() {
    let world = World::start().await;
    // (what is odd, header lines, body, status)
    let table: &[(&str, &[&str], &str, u16)] = &[
        ("a coded transfer", &["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n", 400),
        ("a transfer by another name", &["Transfer-Encoding: identity"], "", 400),
        ("an unknown expectation", &["Content-Length: 2", "Expect: 200-ok"], "{}", 417),
        ("two expectations", &["Content-Length: 2", "Expect: 100-continue, x"], "{}", 417),
        ("an empty expectation", &["Content-Length: 2", "Expect: "], "{}", 417),
        ("a length and no body yet", &["Content-Length: 0"], "", 200),
        ("TE", &["Content-Length: 2", "TE: trailers, deflate;q=0.5"], "{}", 200),
        ("a range on a POST", &["Content-Length: 2", "Range: bytes=0-1"], "{}", 200),
        ("a deadline for gRPC on REST", &["Content-Length: 2", "grpc-timeout: 1H"], "{}", 200),
        ("a deadline that is none", &["Content-Length: 2", "grpc-timeout: soon"], "{}", 200),
        ("a deadline of nine digits", &["Content-Length: 2", "grpc-timeout: 123456789S"], "{}", 200),
        ("no deadline but a unit", &["Content-Length: 2", "grpc-timeout: S"], "{}", 200),
        ("a negative deadline", &["Content-Length: 2", "grpc-timeout: -1S"], "{}", 200),
        ("trailers announced", &["Transfer-Encoding: chunked", "Trailer: x"], "2\r\n{}\r\n0\r\n\r\n", 200),
        ("an upgrade", &["Content-Length: 2", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"], "{}", 200),
    ];
    for (what, lines, body, expected) in table {
        let (status, code, _) = ask(&world, lines, body).await;
        assert_eq!(status, *expected, "{what}: {code}");
    }
}
