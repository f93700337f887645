//! The pivot: turns held goods into sold goods. Refused once the reservation has expired. Closed, before any unwinding, so that a
//! delayed commit cannot sell goods of an order that was refunded.

use std::sync::Arc;

use async_trait::async_trait;
use saga_engine::{Closed, Outcome, Pivot, Step, StepContext};

use super::{PlaceOrder, State};
use crate::saga::Participants;

/// `commit_stock`
pub(super) struct CommitStock(pub(super) Arc<Participants>);

#[async_trait]
impl Step<PlaceOrder> for CommitStock {
    const NAME: &'static str = "commit_stock";
    type Output = ();

    async fn act(&self, state: &State, context: &StepContext) -> Outcome<()> {
        match state.reservation {
            Some(reservation) => {
                let call = self.0.inventory.commit(reservation, context);
                self.0.call(state.correlation(), context, call).await
            }
            None => Outcome::Unknown(missing("reservation")),
        }
    }

    fn record(_state: &mut State, (): ()) {}
}

#[async_trait]
impl Pivot<PlaceOrder> for CommitStock {
    async fn close(&self, state: &State, context: &StepContext) -> Closed<()> {
        // Also when no reservation is known here: another replica may have got one, and sent the commit, before it lost the saga.
        let call = self.0.inventory.close_commit(state.reservation, context);
        self.0.call(state.correlation(), context, call).await
    }
}

/// For a value that an earlier step records and the saga's state lacks. This cannot happen: steps run in order, and their outputs
/// are journaled. It is answered as "not known", never as a refusal, because nothing may be concluded from a broken state.
fn missing(what: &'static str) -> saga_engine::Cause {
    saga_engine::Cause::permanent("missing_output", format!("the saga's state has no {what}"))
}
