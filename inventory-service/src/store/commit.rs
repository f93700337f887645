//! Committing: the pivot of place-order.

use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Work, change::Change, reservations::Move};
use crate::{
    domain::{Command, Decision, Reservation, State, decide},
    ports::{Answer, Commit, Refusal},
};

impl Commit {
    fn decide(&self, reservation: &Reservation) -> Decision {
        let by_fault = reservation.lines.iter().any(|line| self.expire_skus.contains(&line.sku));
        // A reservation expires at `expires_at`, so at that time the rules say what they would have said then.
        let now = if by_fault { self.now.max(reservation.expires_at) } else { self.now };
        decide(reservation, Command::Commit, now)
    }
}

#[async_trait]
impl Work for Commit {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        let Self { key, reservation, now, .. } = self;
        let usual = Move { from: State::Held, to: State::Committed, in_time: true };
        let change = Change { key, reservation: *reservation, now: *now, usual, late: Refusal::CommitClosed };
        change.run_in_tx(tx, dialect, |reservation| self.decide(reservation)).await
    }
}
