//! Whether orders can be placed as far as others are concerned: a token of our own, and participants that take it.
//!
//! A refusal (the token service does not know us, our token lacks a scope, a participant does not take it) is a matter of
//! configuration: no order can be placed, and none could after any wait, so this replica is not ready. That a service is away is reported
//! and no more: it ends by itself, orders are answered 503 meanwhile, and what can be done without that service goes on.

use std::{sync::Arc, time::Duration};

use amends_auth::{Scopes, ServiceToken, ServiceTokenError};
use amends_primitives::{Clock, Moment};
use amends_protos::{
    inventory::v1::{ListItemsRequest, inventory_service_client::InventoryServiceClient},
    payments::v1::{ListPaymentsRequest, payment_service_client::PaymentServiceClient},
};
use futures::future::BoxFuture;
use service_kit::{grpc::bearer, readiness::Readiness};
use tokio::sync::Mutex;
use tonic::{Code, Request, Status};

use crate::{
    config::Config,
    peers::{Peers, for_probes},
};

/// What the steps of the sagas need.
const SCOPES: &str = "inventory:read inventory:write payments:read payments:write";
/// Within the time that all checks have.
const CALL_MAX: Duration = Duration::from_millis(1500);
/// However often probes come, other services are asked once in this time.
const KEPT: Duration = Duration::from_secs(5);

/// How it stands between us and another service.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Well,
    /// It cannot be asked now.
    Away(String),
    /// It refuses us, and will until a person has changed something.
    Refused(String),
}

/// Asks one service, now and then.
struct Probe {
    clock: Arc<dyn Clock>,
    ask: Box<dyn Fn() -> BoxFuture<'static, Standing> + Send + Sync>,
    /// Held while asking, so that probes that come together ask once.
    kept: Mutex<Option<(Moment, Standing)>>,
}

impl Probe {
    fn new(
        clock: &Arc<dyn Clock>,
        ask: impl Fn() -> BoxFuture<'static, Standing> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { clock: Arc::clone(clock), ask: Box::new(ask), kept: Mutex::new(None) })
    }

    async fn standing(&self) -> Standing {
        let mut kept = self.kept.lock().await;
        if let Some((at, standing)) = &*kept
            && self.clock.moment().since(*at) < KEPT
        {
            return standing.clone();
        }
        let asked = tokio::time::timeout(CALL_MAX, (self.ask)()).await;
        let standing = asked.unwrap_or_else(|_| Standing::Away(format!("no answer within {CALL_MAX:?}")));
        *kept = Some((self.clock.moment(), standing.clone()));
        standing
    }

    /// A refusal decides; that the service is away is reported.
    fn add_to(self: Arc<Self>, readiness: &Readiness, what: &'static str) {
        let deciding = Arc::clone(&self);
        readiness.add("order", what, move || {
            let probe = Arc::clone(&deciding);
            async move {
                match probe.standing().await {
                    Standing::Refused(reason) => Err(reason),
                    Standing::Well | Standing::Away(_) => Ok(()),
                }
            }
        });
        readiness.report("order", what, move || {
            let probe = Arc::clone(&self);
            async move {
                match probe.standing().await {
                    Standing::Away(reason) => Err(reason),
                    Standing::Well | Standing::Refused(_) => Ok(()),
                }
            }
        });
    }
}

/// Adds what orders need of others to the checks of this process.
///
/// # Errors
/// When the URL of a participant is not one.
pub(crate) fn add(
    readiness: &Readiness,
    config: &Config,
    peers: &Peers,
    token: &ServiceToken,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let mine = token.clone();
    let needed = Arc::new(Scopes::parse(SCOPES));
    let of_token = Probe::new(clock, move || {
        let (token, needed) = (mine.clone(), Arc::clone(&needed));
        Box::pin(async move { standing_of(token.covers(&needed).await) })
    });
    of_token.add_to(readiness, "token");

    let channels = peers.inventory(&for_probes(&config.inventory.channel))?;
    let mine = token.clone();
    let of_inventory = Probe::new(clock, move || {
        let (token, client) = (mine.clone(), InventoryServiceClient::new(channels.clone()));
        let call = move |bearer: Arc<str>| {
            let mut client = client.clone();
            async move {
                let ask = ListItemsRequest { page_size: 1, ..ListItemsRequest::default() };
                client.list_items(with_token(ask, &bearer)?).await.map(drop)
            }
        };
        Box::pin(async move { standing_at(&token, call).await })
    });
    of_inventory.add_to(readiness, "inventory");

    let channels = peers.payment(&for_probes(&config.payment.channel))?;
    let mine = token.clone();
    let of_payment = Probe::new(clock, move || {
        let (token, client) = (mine.clone(), PaymentServiceClient::new(channels.clone()));
        let call = move |bearer: Arc<str>| {
            let mut client = client.clone();
            async move {
                let ask = ListPaymentsRequest { page_size: 1, ..ListPaymentsRequest::default() };
                client.list_payments(with_token(ask, &bearer)?).await.map(drop)
            }
        };
        Box::pin(async move { standing_at(&token, call).await })
    });
    of_payment.add_to(readiness, "payment");
    Ok(())
}

fn with_token<T>(message: T, token: &str) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer(token)?);
    Ok(request)
}

fn standing_of(covered: Result<(), ServiceTokenError>) -> Standing {
    match covered {
        Ok(()) => Standing::Well,
        Err(error @ ServiceTokenError::Refused(_)) => Standing::Refused(error.to_string()),
        Err(error @ ServiceTokenError::Unavailable(_)) => Standing::Away(error.to_string()),
    }
}

/// Whether a participant takes our token. A token that is refused may have been revoked; so a new one is tried before that is believed.
async fn standing_at<F, Fut>(token: &ServiceToken, call: F) -> Standing
where
    F: Fn(Arc<str>) -> Fut,
    Fut: Future<Output = Result<(), Status>>,
{
    let mut refused = None;
    for _ in 0..2 {
        // Without one there is nothing to try, and the check of the token says so.
        let Ok(bearer) = token.bearer().await else { return Standing::Well };
        let status = match call(Arc::clone(&bearer)).await {
            Ok(()) => return Standing::Well,
            Err(status) => status,
        };
        match status.code() {
            Code::Unauthenticated => {
                token.forget(&bearer);
                refused = Some(status);
            }
            Code::PermissionDenied => {
                return Standing::Refused(format!("our token does not do: {}", status.message()));
            }
            code => return Standing::Away(format!("{code:?}: {}", status.message())),
        }
    }
    let reason = refused.map(|status| status.message().to_owned()).unwrap_or_default();
    Standing::Refused(format!("our token is not taken: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

    use amends_auth::ServiceTokenConfig;
    use amends_primitives::ManualClock;
    use axum::{Json, Router, http::StatusCode, routing::post};
    use serde_json::json;

    use super::*;

    /// A token service that grants `scope`, or answers with a status.
    async fn token(clock: &Arc<ManualClock>, scope: &'static str, status: &Arc<AtomicU16>) -> ServiceToken {
        service_kit::main::install_crypto();
        let (status, count) = (Arc::clone(status), Arc::new(AtomicU32::new(0)));
        let app = Router::new().route(
            "/oauth2/token",
            post(move || {
                let n = count.fetch_add(1, Ordering::SeqCst);
                let code = StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap();
                let good =
                    json!({"access_token": format!("t{n}"), "token_type": "Bearer", "expires_in": 600, "scope": scope});
                let body = if code.is_success() { good } else { json!({"error": "invalid_client"}) };
                std::future::ready((code, Json(body)))
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ServiceTokenConfig {
            identity_url: format!("http://{}", listener.local_addr().unwrap()),
            client_id: "order-service".to_owned(),
            client_secret: "secret".into(),
            scope: String::new(),
        };
        tokio::spawn(async move { axum::serve(listener, app).await });
        ServiceToken::new(config, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
    }

    /// What probes are told: the names that make it not ready, and those that are reported.
    async fn told(readiness: &Readiness) -> (Vec<String>, Vec<String>) {
        let failed = |checks: Vec<(String, Result<(), String>)>| {
            checks.into_iter().filter_map(|(name, result)| result.err().map(|_| name)).collect()
        };
        (failed(readiness.ask().await), failed(readiness.ask_reported().await))
    }

    #[tokio::test]
    async fn a_refusal_is_not_ready_and_an_outage_is_reported() {
        let (clock, status) = (Arc::new(ManualClock::default()), Arc::new(AtomicU16::new(401)));
        let token = token(&clock, SCOPES, &status).await;
        let readiness = Readiness::new();
        let mut config = Config::default();
        // There is no listener.
        config.inventory.channel.url = "http://127.0.0.1:1".to_owned();
        config.payment.channel.url = "http://127.0.0.1:1".to_owned();
        add(&readiness, &config, &Peers::default(), &token, &(Arc::clone(&clock) as Arc<dyn Clock>)).unwrap();
        let refused = ["order-token".to_owned()];
        assert_eq!(told(&readiness).await, (refused.to_vec(), vec![]));
        status.store(503, Ordering::SeqCst);
        assert_eq!(told(&readiness).await.0, refused, "others are not asked for each probe");
        clock.advance(KEPT);
        assert_eq!(told(&readiness).await, (vec![], refused.to_vec()), "that ends by itself");
        status.store(200, Ordering::SeqCst);
        clock.advance(KEPT);
        let away = vec!["order-inventory".to_owned(), "order-payment".to_owned()];
        assert_eq!(told(&readiness).await, (vec![], away), "an outage of participants takes no replica away");
    }

    #[tokio::test]
    async fn a_token_without_a_scope_that_orders_need_is_not_ready() {
        let (clock, status) = (Arc::new(ManualClock::default()), Arc::new(AtomicU16::new(200)));
        let token = token(&clock, "inventory:read inventory:write payments:read", &status).await;
        let readiness = Readiness::new();
        add(&readiness, &Config::default(), &Peers::default(), &token, &(Arc::clone(&clock) as Arc<dyn Clock>))
            .unwrap();
        let checks = readiness.ask().await;
        let (_, result) = checks.iter().find(|(name, _)| name == "order-token").unwrap();
        let reason = result.clone().unwrap_err();
        assert!(reason.contains("lacks payments:write"), "{reason}");
    }

    #[tokio::test]
    async fn a_participant_that_does_not_take_our_token_is_a_refusal() {
        let (clock, status) = (Arc::new(ManualClock::default()), Arc::new(AtomicU16::new(200)));
        let token = token(&clock, SCOPES, &status).await;
        let check = async |answer: &dyn Fn(&str) -> Result<(), Status>| {
            standing_at(&token, |bearer| std::future::ready(answer(&bearer))).await
        };
        assert_eq!(check(&|_| Ok(())).await, Standing::Well);
        let first = token.bearer().await.unwrap();
        let revoked = |bearer: &str| if *bearer == *first { Err(Status::unauthenticated("x")) } else { Ok(()) };
        assert_eq!(check(&revoked).await, Standing::Well, "a new token is taken");
        assert!(matches!(check(&|_| Err(Status::unauthenticated("x"))).await, Standing::Refused(_)));
        assert!(matches!(check(&|_| Err(Status::permission_denied("x"))).await, Standing::Refused(_)));
        assert!(matches!(check(&|_| Err(Status::unavailable("x"))).await, Standing::Away(_)));
    }
}
