//! One attempt over HTTP: signed, bounded in time, no redirect followed, hardly anything read of the answer.
//!
//! Must not know: what follows.

use std::{sync::Arc, time::Duration};

use amends_primitives::Timestamp;
use reqwest::{
    Client, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT},
};

use super::{
    attempt::Answer,
    config::{EndpointConfig, WebhooksConfig},
    delivery::Delivery,
    signature::{ID_HEADER, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER, sign},
};

/// Read of an answer, so that its connection can be used again; what is longer costs the endpoint its connection.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const AGENT: &str = concat!("amends-webhooks/", env!("CARGO_PKG_VERSION"));

/// One endpoint's address, and the secrets that it shares with us.
pub(super) struct Target {
    pub(super) name: Arc<str>,
    url: Url,
    keys: Vec<SigningKey>,
}

impl Target {
    pub(super) fn new(config: &EndpointConfig) -> anyhow::Result<Self> {
        let url = config.url.parse().ok_or_else(|| anyhow::anyhow!("endpoint {}: no URL", config.name))?;
        Ok(Self { name: config.name.as_str().into(), url, keys: config.keys()? })
    }

    /// For spans: the path may be a secret.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

pub(super) fn client(config: &WebhooksConfig) -> anyhow::Result<Client> {
    // An endpoint's address is configuration, which the endpoint itself may not change: redirects are not followed.
    let client = service_base::client::outgoing(&config.proxy_url)?
        .timeout(config.attempt_timeout())
        .connect_timeout(config.attempt_timeout() / 2)
        .referer(false)
        .pool_max_idle_per_host(config.concurrency as usize)
        .build()?;
    Ok(client)
}

/// Sends it once. `now` is the time that is signed.
pub(super) async fn send(client: &Client, target: &Target, delivery: &Delivery, now: Timestamp) -> Answer {
    let body = delivery.body.clone().into_bytes();
    let signature = sign(&target.keys, &delivery.event_id, now.as_secs(), &body);
    let request = client
        .post(target.url.clone())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, AGENT)
        .header(ID_HEADER, &delivery.event_id)
        .header(TIMESTAMP_HEADER, now.as_secs())
        .header(SIGNATURE_HEADER, signature)
        .body(body);
    match request.send().await {
        Ok(response) => {
            let code = response.status().as_u16();
            let retry_after = retry_after(response.headers(), now);
            drain(response).await;
            Answer::Status { code, retry_after }
        }
        Err(error) if error.is_timeout() => Answer::Failed("timeout"),
        Err(error) if error.is_connect() => Answer::Failed("no_connection"),
        Err(_) => Answer::Failed("cut_off"),
    }
}

/// Its status is the answer; that the rest cannot be read changes nothing.
async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES_MAX {
            return;
        }
    }
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(Timestamp::from(httpdate::parse_http_date(text).ok()?).since(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let now = Timestamp::from_millis(784_111_717_000);
        let asked = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(asked("120"), Some(Duration::from_mins(2)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
