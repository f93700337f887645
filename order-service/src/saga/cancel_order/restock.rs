//! Puts the goods of a confirmed order back on sale. After the pivot: tried until it is done.

use std::sync::Arc;

use async_trait::async_trait;
use saga_engine::{Outcome, Step, StepContext};

use super::{CancelOrder, State};
use crate::saga::Participants;

/// `restock`
pub(super) struct Restock(pub(super) Arc<Participants>);

#[async_trait]
impl Step<CancelOrder> for Restock {
    const NAME: &'static str = "restock";
    type Output = ();

    async fn act(&self, state: &State, context: &StepContext) -> Outcome<()> {
        let call = self.0.inventory.restock(state.reservation, context);
        self.0.call(state.correlation(), context, call).await
    }

    fn record(_state: &mut State, (): ()) {}
}
