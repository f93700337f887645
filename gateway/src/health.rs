//! Whether the gateway can take work, as a load balancer asks it. Any caller may ask, so the answer is cached for a moment.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use service_kit::{readiness::Readiness, shutdown::Shutdown};
use tokio::{sync::Mutex, time::Instant};

/// However many callers ask, dependencies are asked once in this time.
const KEPT: Duration = Duration::from_secs(1);

/// Answers for `/readyz`.
#[derive(Debug)]
pub(crate) struct Health {
    readiness: Readiness,
    shutdown: Shutdown,
    kept: Mutex<Option<(Instant, StatusCode, Bytes)>>,
}

impl Health {
    pub(crate) fn new(readiness: Readiness, shutdown: Shutdown) -> Self {
        Self { readiness, shutdown, kept: Mutex::new(None) }
    }

    /// Whether shutdown has begun: then an answer over HTTP/1 is the last on its connection.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shutdown.is_triggered()
    }

    /// 200 where every check is well; else 503 and the names of those that are not. Why they are not is for `/readyz` of the
    /// admin listener: addresses and causes are not for callers from outside.
    pub(crate) async fn ready(&self) -> (StatusCode, Bytes) {
        if self.shutdown.is_announced() {
            return (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(br#"{"status":"stopping"}"#));
        }
        let mut kept = self.kept.lock().await;
        if let Some((at, status, body)) = &*kept
            && at.elapsed() < KEPT
        {
            return (*status, body.clone());
        }
        let checks = self.readiness.ask().await;
        let failed: Vec<&str> =
            checks.iter().filter(|(_, result)| result.is_err()).map(|(name, _)| name.as_str()).collect();
        let (status, body) = if failed.is_empty() {
            (StatusCode::OK, json!({"status": "ready"}))
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "not ready", "failed": failed}))
        };
        let body = Bytes::from(body.to_string());
        *kept = Some((Instant::now(), status, body.clone()));
        (status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_what_is_not_well_and_nothing_more() {
        let (readiness, shutdown) = (Readiness::new(), Shutdown::new());
        let health = Health::new(readiness.clone(), shutdown.clone());
        assert_eq!(health.ready().await.0, 200);
        readiness.add("order", "store", || async { Err("postgres://user:secret@db refused".to_owned()) });
        assert_eq!(health.ready().await.0, 200, "kept for a moment");
        tokio::time::advance(KEPT).await;
        let (status, body) = health.ready().await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.as_u16(), body), (503, json!({"status": "not ready", "failed": ["order-store"]})));
        shutdown.trigger();
        assert_eq!(health.ready().await.1, r#"{"status":"stopping"}"#);
    }
}
