//! Whom steps call, and in whose name: each call is made in the context of the request that began the saga, also when the saga is
//! resumed elsewhere, long after that request.

use std::{future::Future, sync::Arc};

use amends_primitives::IdSource;
use saga_engine::StepContext;
use service_kit::context::RequestContext;
use tracing::Instrument as _;

use crate::ports::{Inventory, Payments};

/// The participants of our sagas.
#[derive(Clone)]
pub struct Participants {
    /// Sells goods.
    pub inventory: Arc<dyn Inventory>,
    /// Takes money.
    pub payments: Arc<dyn Payments>,
    /// For the ids of contexts that were not kept.
    pub ids: Arc<dyn IdSource>,
}

impl Participants {
    /// Makes a call of a step.
    pub(super) async fn call<T>(
        &self,
        phase: &'static str,
        correlation_id: Option<&str>,
        step: &StepContext,
        call: impl Future<Output = T> + Send,
    ) -> T {
        let context = RequestContext::resumed(correlation_id, step.trace.traceparent(), &*self.ids);
        let span = tracing::info_span!(
            "saga.step",
            otel.name = step.key.step,
            saga.id = %step.key.saga_id,
            saga.step = step.key.step,
            saga.phase = phase,
            retry.attempt = step.attempt,
            correlation_id = context.correlation.as_str(),
        );
        context.adopt(&span);
        context.scope(call.instrument(span)).await
    }
}
