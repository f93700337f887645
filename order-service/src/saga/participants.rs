//! The participants that steps call, and the context of these calls: each call is made in the context of the request that began the
//! saga, also when the saga is resumed elsewhere, long after that request.

use std::{future::Future, sync::Arc};

use amends_primitives::IdSource;
use saga_engine::StepContext;
use service_base::context::RequestContext;

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
    /// Makes a call of a step. The engine has opened the step's span, in the saga's trace; what is sent along besides is the
    /// correlation id.
    pub(super) async fn call<T>(
        &self,
        correlation_id: Option<&str>,
        step: &StepContext,
        call: impl Future<Output = T> + Send,
    ) -> T {
        RequestContext::resumed(correlation_id, step.trace.text(), &*self.ids).scope(call).await
    }
}
