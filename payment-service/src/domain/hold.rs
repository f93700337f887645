//! Money that is held, and how the hold ends: captured, once, or voided. What is not captured is released.
//!
//! Must not know: whether it may end at the moment; that is decided in `ending`.

use amends_primitives::{Money, Timestamp};

use super::{Capture, Event, Fingerprint, Receipt, State, StepKey};

/// A hold ends at the first request that the processor grants. This number may be refused, which processors hardly ever do.
pub const ENDINGS_PER_PAYMENT_MAX: usize = 10;

/// Money that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// How much is held.
    pub amount: Money,
    /// The processor's reference.
    pub receipt: Receipt,
    /// When.
    pub at: Timestamp,
    /// In the order in which they were asked for. Only the last may be pending.
    pub endings: Vec<Ending>,
}

/// One request to end the hold: recorded before the processor is asked, so that of a capture and a void that meet one comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Names the effect.
    pub key: StepKey,
    /// Of the caller's request.
    pub fingerprint: Fingerprint,
    /// What was asked for.
    pub wanted: Wanted,
    /// When.
    pub at: Timestamp,
    /// What became of it.
    pub state: EndingState,
}

/// How a hold is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// With the money taken.
    Capture {
        /// What the caller asked for; `None` is all that was held.
        asked: Option<Money>,
        /// How much is to be taken.
        amount: Money,
    },
    /// With the money released.
    Void,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndingState {
    /// On record; what the processor did is not known.
    Pending,
    /// It is what ended the hold.
    Done {
        /// When.
        at: Timestamp,
    },
    /// It had no effect: the processor refused, or the hold ended in the other way.
    Refused {
        /// When.
        at: Timestamp,
    },
}

impl Hold {
    /// The request of that name.
    pub fn ending(&self, key: &StepKey) -> Option<&Ending> {
        self.endings.iter().find(|ending| ending.key == *key)
    }

    /// The request that the processor must still be asked about.
    pub fn pending(&self) -> Option<&Ending> {
        self.endings.iter().find(|ending| ending.state == EndingState::Pending)
    }

    /// Whether `amount` can be taken of what is held.
    pub fn covers(&self, amount: Money) -> bool {
        amount.is_positive() && self.amount.checked_sub(amount).is_ok_and(|rest| rest.amount_minor() >= 0)
    }

    /// The state after what happened to the hold; `None` where there is no such transition.
    pub(super) fn apply(&self, event: &Event, now: Timestamp) -> Option<State> {
        match event {
            Event::EndingAsked { key, fingerprint, wanted } => {
                let fits = match wanted {
                    Wanted::Capture { amount, .. } => self.covers(*amount),
                    Wanted::Void => true,
                };
                if !fits || self.pending().is_some() || self.ending(key).is_some() {
                    return None;
                }
                let (key, state) = (key.clone(), EndingState::Pending);
                let mut next = self.clone();
                next.endings.push(Ending { key, fingerprint: *fingerprint, wanted: wanted.clone(), at: now, state });
                Some(State::Authorized(next))
            }
            Event::CaptureRefused { key } => {
                let pending = self.pending()?;
                let is_this = pending.key == *key && pending.wanted != Wanted::Void;
                is_this.then(|| State::Authorized(self.settled(now, |_| false)))
            }
            // Also where no capture is pending: it is the processor's word, and a compensation has to know what to give back.
            Event::Captured { amount, receipt } if self.covers(*amount) => Some(State::Captured(Capture {
                amount: *amount,
                receipt: receipt.clone(),
                at: now,
                refunds: Vec::new(),
                hold: Some(self.settled(now, |wanted| *wanted != Wanted::Void)),
            })),
            Event::Voided => Some(State::Voided { hold: Some(self.settled(now, |wanted| *wanted == Wanted::Void)) }),
            Event::Authorized { .. }
            | Event::Captured { .. }
            | Event::Declined { .. }
            | Event::BarrierClosed
            | Event::RefundAsked { .. }
            | Event::RefundDone { .. }
            | Event::RefundRefused { .. } => None,
        }
    }

    /// With nothing pending: what is, was granted or not.
    fn settled(&self, now: Timestamp, granted: impl Fn(&Wanted) -> bool) -> Self {
        let mut next = self.clone();
        for ending in next.endings.iter_mut().filter(|ending| ending.state == EndingState::Pending) {
            let done = granted(&ending.wanted);
            ending.state = if done { EndingState::Done { at: now } } else { EndingState::Refused { at: now } };
        }
        next
    }
}
