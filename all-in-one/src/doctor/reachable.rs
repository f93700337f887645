//! Whether what the services call answers: a running server's readiness, and, where the stores are servers, every address in the
//! configuration.

use std::time::Duration;

use serde_json::Value;
use service_base::config::load_from;

use super::{Inspection, Report};

const CHECK: &str = "reachable";
/// For one address: across any network, and short enough for a page of them.
const PATIENCE: Duration = Duration::from_secs(3);

/// A key set, or a list of checks, has a few kilobytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

pub(super) async fn check(inspection: &Inspection, report: &mut Report) {
    if inspection.data_dir.is_some() {
        if inspection.server.is_some() {
            check_ready(inspection, report).await;
        }
        return;
    }
    let settings = &inspection.settings;
    let mut addresses = vec![
        ("gateway.upstreams.identity", settings.gateway.upstreams.identity.clone()),
        ("gateway.upstreams.order_http", settings.gateway.upstreams.order_http.clone()),
        ("gateway.upstreams.order_grpc", settings.gateway.upstreams.order_grpc.clone()),
        ("order.service_token.identity_url", settings.order.service_token.identity_url.clone()),
        ("order.inventory.channel.url", settings.order.inventory.channel.url.clone()),
        ("order.payment.channel.url", settings.order.payment.channel.url.clone()),
        ("identity.redis_url", settings.identity.redis_url.expose().to_owned()),
        ("order.redis_url", settings.order.redis_url.expose().to_owned()),
        ("payment.redis_url", settings.payment.redis_url.expose().to_owned()),
        ("gateway.redis_url", settings.gateway.redis_url.expose().to_owned()),
        ("inventory.redis_url", settings.inventory.redis_url.expose().to_owned()),
        ("telemetry.otlp_endpoint", settings.telemetry.otlp_endpoint.clone().unwrap_or_default()),
        ("telemetry.logstash", settings.telemetry.logstash.clone().unwrap_or_default()),
    ];
    if settings.payment.processor.kind == payment_service::config::ProcessorKind::Http {
        addresses.push(("payment.processor.http.url", settings.payment.processor.http.url.clone()));
    }
    for (key, address) in addresses.iter().filter(|(_, address)| !address.is_empty()) {
        check_address(key, address, report).await;
    }
    for (key, auth) in [
        ("gateway.auth.jwks_url", &settings.gateway.auth),
        ("order.auth.jwks_url", &settings.order.auth),
        ("payment.auth.jwks_url", &settings.payment.auth),
        ("inventory.auth.jwks_url", &settings.inventory.auth),
    ] {
        check_keys(key, &auth.jwks_url, report).await;
    }
}

async fn check_address(key: &str, address: &str, report: &mut Report) {
    let Some((host, port)) = host_and_port(address) else {
        return report.wrong(CHECK, format!("{key} names no host and port"), format!("correct {key}"));
    };
    let connected = tokio::time::timeout(PATIENCE, tokio::net::TcpStream::connect((host.as_str(), port))).await;
    let problem = match connected {
        Ok(Ok(_)) => return report.passed(CHECK, format!("{key}: {host}:{port} accepts connections")),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    report.wrong(
        CHECK,
        format!("{key}: {host}:{port}: {problem}"),
        format!("start what listens there, or correct {key}"),
    );
}

/// `scheme://user:password@host:port/…` or `host:port`. The user and the password are passed over.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "redis" | "rediss" => Some(6379),
        _ => None,
    };
    // An address of IPv6 has colons of its own, and stands in brackets.
    let (host, port) = match host_port.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (host_port, usual?),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

async fn check_keys(key: &str, url: &str, report: &mut Report) {
    let remedy = format!("start the token service, or correct {key}");
    match fetch(url).await {
        Ok((200, body)) if body["keys"].as_array().is_some_and(|keys| !keys.is_empty()) => {
            report.passed(CHECK, format!("{key}: the key set is there"));
        }
        Ok((200, _)) => report.wrong(CHECK, format!("{key}: {url} holds no key"), remedy),
        Ok((status, _)) => report.wrong(CHECK, format!("{key}: {url} answers {status}"), remedy),
        Err(error) => report.wrong(CHECK, format!("{key}: {url}: {error:#}"), remedy),
    }
}

async fn check_ready(inspection: &Inspection, report: &mut Report) {
    let configured: Result<service_kit::admin::Config, _> = load_from("admin", &inspection.sources);
    let Ok(admin) = configured else { return };
    if admin.listen.port() == 0 {
        return report.notice(
            CHECK,
            "admin.listen has a port that only the server knows",
            "amends up --addresses FILE tells it",
        );
    }
    let url = format!("http://{}/readyz", admin.listen);
    match fetch(&url).await {
        Ok((200, _)) => report.passed(CHECK, "the server is ready"),
        Ok((status, body)) => {
            let remedy = "see to each check that is not ok; the server takes orders again by itself";
            report.wrong(CHECK, format!("the server is not ready ({status}): {}", body["checks"]), remedy);
        }
        Err(error) => {
            let remedy = "see that --config and --set are those of the server; then its log, and kill -9 if it hangs";
            report.wrong(CHECK, format!("{url}: {error:#}"), remedy);
        }
    }
}

async fn fetch(url: &str) -> anyhow::Result<(u16, Value)> {
    let client = service_base::client::internal().timeout(PATIENCE).build()?;
    let mut answer = client.get(url).send().await?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        anyhow::ensure!(
            body.len() + piece.len() <= ANSWER_BYTES_MAX,
            "the answer is longer than {ANSWER_BYTES_MAX} bytes"
        );
        body.extend_from_slice(&piece);
    }
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_every_form() {
        for (address, expected) in [
            ("127.0.0.1:8080", Some(("127.0.0.1", 8080))),
            ("http://order:8081/x", Some(("order", 8081))),
            ("https://bank.example", Some(("bank.example", 443))),
            ("redis://:p%40ss@redis:7000/0", Some(("redis", 7000))),
            ("redis://redis", Some(("redis", 6379))),
            ("http://[::1]:9", Some(("::1", 9))),
            ("http://[::1]", Some(("::1", 80))),
            ("host", None),
            ("http://:80", None),
        ] {
            let found = host_and_port(address);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn what_does_not_listen_is_told_without_its_password() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("redis://u:hunter2@{address}/0");
        let mut report = Report::default();
        check_address("order.redis_url", &url, &mut report).await;
        assert_eq!(report.complaints(), [""; 0]);
        drop(listener);
        check_address("order.redis_url", &url, &mut report).await;
        let said = report.complaints().join("");
        assert!(
            said.contains("order.redis_url") && said.contains(&address.to_string()) && !said.contains("hunter2"),
            "{said}"
        );
    }
}
