//! What the use cases hold of webhooks: which events to write down with a change, and a bell to ring once it is committed.
//!
//! Must not know: endpoints, stores, HTTP.

use std::sync::Arc;

use tokio::sync::Notify;

use super::event::{EventType, Outgoing};
use crate::domain::{Event, Payment};

/// Where events are put. Clones share one bell.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    wanted: Vec<EventType>,
    committed: Notify,
}

impl Outbox {
    /// Nobody is told: nothing is ever put in.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Somebody is told of these.
    pub fn of(wanted: Vec<EventType>) -> Self {
        if wanted.is_empty() { Self::off() } else { Self(Some(Arc::new(Inner { wanted, committed: Notify::new() }))) }
    }

    /// What must be stored in the same write as `next`, which came about by `event`.
    pub(crate) fn to_tell(&self, event: &Event, next: &Payment) -> Option<Outgoing> {
        let inner = self.0.as_ref()?;
        let wanted = EventType::of(event).is_some_and(|kind| inner.wanted.contains(&kind));
        wanted.then(|| Outgoing::of(event, next)).flatten()
    }

    /// Something was stored.
    pub(crate) fn ring(&self) {
        if let Some(inner) = &self.0 {
            inner.committed.notify_one();
        }
    }

    /// Waits for the bell; for ever where there is none.
    pub(super) async fn rung(&self) {
        match &self.0 {
            Some(inner) => inner.committed.notified().await,
            None => std::future::pending().await,
        }
    }
}
