//! What the use cases hold of webhooks: which events to write down with a change, and a notification once it is committed.
//!
//! Must not know: endpoints, stores, HTTP.

use std::sync::Arc;

use tokio::sync::Notify;

use super::event::EventKind;

/// Where events are put. Clones share one notification.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    wanted: Vec<EventKind>,
    committed: Notify,
}

impl Outbox {
    /// There are no endpoints: nothing is ever put in.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Endpoints are told of these.
    pub fn of(wanted: Vec<EventKind>) -> Self {
        if wanted.is_empty() { Self::off() } else { Self(Some(Arc::new(Inner { wanted, committed: Notify::new() }))) }
    }

    /// Whether such events are to be stored, in the same write as what they tell of.
    pub fn wants(&self, kind: &EventKind) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.wanted.contains(kind))
    }

    /// Something was stored.
    pub fn notify(&self) {
        if let Some(inner) = &self.0 {
            inner.committed.notify_one();
        }
    }

    /// Waits for the next commit; for ever where there are no endpoints.
    pub(super) async fn notified(&self) {
        match &self.0 {
            Some(inner) => inner.committed.notified().await,
            None => std::future::pending().await,
        }
    }
}
