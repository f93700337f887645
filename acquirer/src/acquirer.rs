//! What the acquirer does with a request: decide on the line of its key, write it with a compare-and-set, answer. A repeat finds the
//! line and gets the same answer.
//!
//! Must not know: how requests travel, how the ledger is kept.

use service_kit::faults::Faults;

use crate::{
    domain::{CaptureAsk, Captured, ChargeAsk, Charged, Entry, Key, RefundAsk, Refunded, Rules, Voided},
    ledger::{LedgerError, Swapped},
    store::SqlLedger,
};

/// Rounds of a compare-and-set before giving up. Only requests for one and the same charge compete.
const ROUNDS_MAX: u32 = 64;

/// An answer, and whether it is ever given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<T> {
    /// It is.
    Given(T),
    /// The effect has happened and the caller is not told.
    Never,
}

/// The acquirer. Answers the requests of each key one after the other.
#[derive(Clone)]
pub struct Acquirer {
    ledger: SqlLedger,
    rules: Rules,
    faults: Faults,
}

impl Acquirer {
    /// On a ledger of its own.
    pub fn new(ledger: SqlLedger, rules: Rules) -> Self {
        Self { ledger, rules, faults: Faults::default() }
    }

    /// Declines the payment methods that are refused on purpose, as well. Here and not before the request, so that it is decided
    /// once under each key: a refusal that came after an effect would not be one.
    #[must_use]
    pub fn declining_also(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// How it behaves.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes or holds money, once per key.
    ///
    /// # Errors
    /// When the ledger fails: the outcome is in doubt.
    pub async fn charge(&self, ask: &ChargeAsk) -> Result<Reply<Charged>, LedgerError> {
        let charged = self.line_of(ask).await?.answer(ask);
        let never = ask.method.as_str() == "pm_timeout" && matches!(charged, Charged::Granted { .. });
        Ok(if never { Reply::Never } else { Reply::Given(charged) })
    }

    /// The line of a charge or an authorization after it was asked for, be it again.
    async fn line_of(&self, ask: &ChargeAsk) -> Result<Entry, LedgerError> {
        let refused = self.faults.current().refuse.iter().any(|method| method == ask.method.as_str());
        let opened = if refused { Entry::declined(ask) } else { Entry::opened(ask, &self.rules) };
        let Some(mut entry) = self.ledger.claim(&opened).await? else { return Ok(opened) };
        for _ in 0..ROUNDS_MAX {
            let Some(next) = entry.asked_again(ask, &self.rules) else { return Ok(entry) };
            if self.ledger.swap(&next).await? == Swapped::Done {
                return Ok(next);
            }
            entry = self.ledger.load(&ask.key).await?.ok_or(LedgerError::Contended)?;
        }
        Err(LedgerError::Contended)
    }

    /// Takes what is held, once per authorization.
    ///
    /// # Errors
    /// When the ledger fails: the outcome is in doubt.
    pub async fn capture(&self, ask: &CaptureAsk) -> Result<Reply<Captured>, LedgerError> {
        let reply = |captured, never| if never { Reply::Never } else { Reply::Given(captured) };
        for _ in 0..ROUNDS_MAX {
            let Some(entry) = self.ledger.load(&ask.authorization).await? else {
                return Ok(Reply::Given(Captured::Refused));
            };
            let (captured, next) = entry.capture(ask);
            let Some(next) = next else {
                let never = entry.hangs_at_capture() && matches!(captured, Captured::Done { .. });
                return Ok(reply(captured, never));
            };
            match self.ledger.swap(&next).await {
                Ok(Swapped::Done) => return Ok(reply(captured, next.hangs_at_capture())),
                Ok(Swapped::Lost) => {}
                Err(LedgerError::KeyTaken) => return Ok(Reply::Given(Captured::KeyReused)),
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Contended)
    }

    /// Makes sure that nothing is ever taken under the key, or says that it was. Works for keys never seen.
    ///
    /// # Errors
    /// When the ledger fails: the outcome is in doubt.
    pub async fn void(&self, key: &Key) -> Result<Voided, LedgerError> {
        let Some(mut entry) = self.ledger.claim(&Entry::voided(key.clone())).await? else { return Ok(Voided::Done) };
        for _ in 0..ROUNDS_MAX {
            let (voided, next) = entry.void();
            let Some(next) = next else { return Ok(voided) };
            if self.ledger.swap(&next).await? == Swapped::Done {
                return Ok(voided);
            }
            entry = self.ledger.load(key).await?.ok_or(LedgerError::Contended)?;
        }
        Err(LedgerError::Contended)
    }

    /// Gives money back, once per key.
    ///
    /// # Errors
    /// When the ledger fails: the outcome is in doubt.
    pub async fn refund(&self, ask: &RefundAsk) -> Result<Refunded, LedgerError> {
        for _ in 0..ROUNDS_MAX {
            let Some(entry) = self.ledger.load(&ask.charge).await? else { return Ok(Refunded::Refused) };
            let (refunded, next) = entry.refund(ask);
            let Some(next) = next else { return Ok(refunded) };
            match self.ledger.swap(&next).await {
                Ok(Swapped::Done) => return Ok(refunded),
                Ok(Swapped::Lost) => {}
                Err(LedgerError::KeyTaken) => return Ok(Refunded::KeyReused),
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::Contended)
    }

    /// What is on record under the key of a charge or an authorization.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn look_up(&self, key: &Key) -> Result<Option<Entry>, LedgerError> {
        self.ledger.load(key).await
    }
}
