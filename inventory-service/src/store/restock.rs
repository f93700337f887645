//! Putting sold goods back on sale.

use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Work, change::Change, reservations::Move};
use crate::{
    domain::{Command, Reservation, State, decide},
    ports::{Answer, Refusal, Restock},
};

#[async_trait]
impl Work for Restock {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        let Self { key, reservation, now } = self;
        let usual = Move { from: State::Committed, to: State::Restocked, in_time: false };
        let change = Change { key, reservation: *reservation, now: *now, usual, late: Refusal::StepCompensated };
        change.run_in_tx(tx, dialect, |reservation| decide(reservation, Command::Restock, *now)).await
    }
}
