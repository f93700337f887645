//! The acquirer's statement: what moved, a page at a time, in its own order. For reconciliation only; no payment depends on it.
//!
//! Must not know: payments.

use std::time::Duration;

use amends_primitives::Money;
use reqwest::{
    Response, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::InvalidClient;
use crate::config::HttpProcessorConfig;

/// A page has at most 200 lines of a few hundred bytes. More is no page, and reading it would only take memory.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// A page is one read of an index; an acquirer that needs longer is not answering.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// An acquirer that fails now and then still has a statement; one that fails so often in a row has none now.
const ATTEMPTS_MAX: u32 = 8;
/// Between attempts, times the number of the attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The acquirer cannot be reached, or its answer broke off.
    #[error("the acquirer cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It has no such interface.
    #[error("the processor offers no statement (GET /v1/movements answers {status})")]
    None {
        /// The answer's status.
        status: u16,
    },
    /// It does not accept our secret.
    #[error("the acquirer does not accept payment.processor.http.secret (it answers {status})")]
    Refused {
        /// The answer's status.
        status: u16,
    },
    /// It answers with something else than a page.
    #[error("the acquirer does not answer with a statement ({0})")]
    Unreadable(String),
}

impl StatementError {
    const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unreadable(_))
    }
}

/// One line: money that moved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatementLine {
    /// Its place, from 1, without gaps.
    pub seq: i64,
    /// `capture` or `refund`.
    pub kind: String,
    /// The key of the request that moved it.
    pub key: String,
    /// The key of the charge or the authorization it belongs to.
    pub charge: String,
    /// How much.
    pub amount: Money,
    /// The acquirer's reference.
    pub receipt: String,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StatementPage {
    /// In the order of their places.
    pub movements: Vec<StatementLine>,
    /// Where to go on.
    pub next: i64,
    /// Whether to at once.
    pub more: bool,
}

/// Reads the statement.
#[derive(Debug, Clone)]
pub struct Statement {
    http: reqwest::Client,
    url: Url,
}

impl Statement {
    /// Connects at the first page.
    ///
    /// # Errors
    /// When the URL is not one, or the secret has characters that no header may have.
    pub fn new(config: &HttpProcessorConfig) -> Result<Self, InvalidClient> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", config.secret.expose_secret()))
            .map_err(|_| InvalidClient::Secret)?;
        bearer.set_sensitive(true);
        let http = service_base::client::outgoing(&config.proxy_url)
            .map_err(|_| InvalidClient::Proxy)?
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .user_agent(crate::SERVICE)
            .http1_only()
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms).max(Duration::from_secs(1)))
            .timeout(PAGE_TIMEOUT)
            .build()
            .map_err(InvalidClient::Client)?;
        let mut url = config.base_url().ok_or(InvalidClient::Url)?;
        url.set_path("/v1/movements");
        Ok(Self { http, url })
    }

    /// What moved after that place. Asked again a few times where the acquirer fails.
    ///
    /// # Errors
    /// When there is no page to be had.
    pub async fn page(&self, after: i64) -> Result<StatementPage, StatementError> {
        let mut attempt = 1;
        loop {
            match self.attempt(after).await {
                Err(error) if error.may_pass() && attempt < ATTEMPTS_MAX => {
                    tokio::time::sleep(PAUSE * attempt).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn attempt(&self, after: i64) -> Result<StatementPage, StatementError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("after", &after.to_string());
        let response = self.http.get(url).send().await.map_err(StatementError::Unreachable)?;
        match response.status().as_u16() {
            200 => {}
            status @ (404 | 405 | 501) => return Err(StatementError::None { status }),
            status @ (401 | 403) => return Err(StatementError::Refused { status }),
            status => return Err(StatementError::Unreadable(format!("status {status}"))),
        }
        let body = read_bounded(response).await?;
        let page: StatementPage =
            serde_json::from_slice(&body).map_err(|error| StatementError::Unreadable(error.to_string()))?;
        // Or the reader would ask for the same page for ever.
        if page.more && page.next <= after {
            return Err(StatementError::Unreadable(format!("a page after {after} that goes on at {}", page.next)));
        }
        Ok(page)
    }
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, StatementError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(StatementError::Unreachable)? {
        if body.len() + chunk.len() > PAGE_BYTES_MAX {
            return Err(StatementError::Unreadable("a page that is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
