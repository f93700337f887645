//! Reserving: all lines or none.
//!
//! The first attempt decides on what it reads, claims its key for that, and checks again when it writes, so that those who are refused
//! wait for no lock and those who are served hold an item's row for the commit only. An attempt that lost against another buyer is made again with the
//! rows locked from the start: it cannot lose twice.
//!
//! SQLite has one writer, so there a transaction takes the goods first, at the prices that the caller expects, and has nothing to read. What
//! cannot be taken is decided as elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};

use amends_sql::{Dialect, SqlError, Tx};
use async_trait::async_trait;

use super::{Work, catalogue, reservations, steps, stock};
use crate::{
    domain::{Line, PricedLine, Rejection, Reservation, State, StockMove, decide_reserve},
    ports::{Answer, Refusal, Reserve},
};

pub(super) struct Reserving {
    pub(super) ask: Reserve,
    /// Whether an attempt has lost against another buyer.
    pub(super) lost: AtomicBool,
}

impl Reserving {
    /// What is asked for at the prices that the caller expects, if it names one for each line, and no fault is to refuse it.
    fn expected(&self) -> Option<Vec<PricedLine>> {
        let priced = |line: &Line| {
            let unit_price = line.expected_unit_price.filter(|_| !self.ask.refuse_skus.contains(&line.sku))?;
            Some(PricedLine { sku: line.sku.clone(), quantity: line.quantity, unit_price })
        };
        self.ask.lines.iter().map(priced).collect()
    }

    fn reservation(&self, lines: Vec<PricedLine>) -> Reservation {
        let Reserve { id, order, expires_at, now, .. } = self.ask;
        Reservation { id, order, state: State::Held, lines, expires_at, created_at: now }
    }
}

#[async_trait]
impl Work for Reserving {
    type Output = Answer<Reservation>;

    async fn run_in_tx(&self, tx: &mut Tx, dialect: Dialect) -> Result<Self::Output, SqlError> {
        let ask = &self.ask;
        let (key, now, held, late) = (&ask.key, ask.now, State::Held, Refusal::StepCompensated);
        let lost = self.lost.load(Ordering::Relaxed);
        // The key comes before locks on items, here and in the other case: two twins cannot wait for each other.
        if lost && let Some(answer) = steps::claim(tx, dialect, key, now, held, late.clone()).await? {
            return Ok(answer);
        }
        if dialect == Dialect::Sqlite
            && let Some(lines) = self.expected()
            && stock::reserve_all(tx, &lines, now).await?
        {
            let reservation = self.reservation(lines);
            if let Some(answer) = steps::claim_for(tx, dialect, key, now, Ok(reservation.id), held, late).await? {
                stock::apply(tx, dialect, &reservation.lines, StockMove::Unreserve, now).await?;
                return Ok(answer);
            }
            reservations::insert(tx, &reservation).await?;
            return Ok(Ok(reservation));
        }
        let items = catalogue::read(tx, dialect, ask.lines.iter().map(|line| &line.sku), lost).await?;
        let refused = ask.lines.iter().find(|line| ask.refuse_skus.contains(&line.sku));
        let decided = match refused {
            Some(line) => Err(Rejection::InsufficientStock {
                sku: line.sku.clone(),
                requested: line.quantity.units(),
                available: 0,
            }),
            None => decide_reserve(&ask.lines, &items),
        };
        let decided = decided.map(|lines| self.reservation(lines));
        let outcome = decided.as_ref().map(|reservation| reservation.id);
        if lost {
            steps::keep(tx, dialect, key, now, outcome).await?;
        } else if let Some(answer) = steps::claim_for(tx, dialect, key, now, outcome, held, late).await? {
            return Ok(answer);
        }
        if let Ok(reservation) = &decided {
            reservations::insert(tx, reservation).await?;
            if !stock::reserve(tx, dialect, &reservation.lines, now).await? {
                self.lost.store(true, Ordering::Relaxed);
                return Err(SqlError::Contended(sqlx::Error::RowNotFound));
            }
        }
        Ok(decided.map_err(Refusal::from))
    }
}
