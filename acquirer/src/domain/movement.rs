//! One line of the statement: money that moved.
//!
//! Must not know: when, and in which order.

use amends_primitives::Money;

use super::{Entry, Fate, Key};

/// Which way the money went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MovementKind {
    /// To the merchant.
    Capture,
    /// Back to the customer.
    Refund,
}

amends_primitives::words!(
    MovementKind,
    /// The name that is stored and told.
    name {
        Capture => "capture",
        Refund => "refund",
    }
);

/// Money that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Which way.
    pub kind: MovementKind,
    /// The idempotency key of the request that moved it.
    pub key: Key,
    /// The key of the charge or the authorization it belongs to.
    pub charge: Key,
    /// How much.
    pub amount: Money,
    /// Our reference.
    pub receipt: String,
}

impl Entry {
    /// All that moved under this key, in order.
    pub fn movements(&self) -> Vec<Movement> {
        let Fate::Captured { asked, capture, refunds } = &self.fate else { return Vec::new() };
        let taken = Fate::Captured { asked: asked.clone(), capture: capture.clone(), refunds: Vec::new() };
        let capture = Self { key: self.key.clone(), fate: taken, version: self.version }.newest_movement();
        let refund = |(key, amount): &(Key, Money)| Movement {
            kind: MovementKind::Refund,
            key: key.clone(),
            charge: self.key.clone(),
            amount: *amount,
            receipt: Self::refund_receipt(key),
        };
        capture.into_iter().chain(refunds.iter().map(refund)).collect()
    }

    /// What moved when this line was written. A line is written once for each movement, so it is its newest; lines that hold,
    /// decline or void move nothing.
    pub fn newest_movement(&self) -> Option<Movement> {
        let Fate::Captured { asked, capture, refunds } = &self.fate else { return None };
        let charge = self.key.clone();
        let movement = match (refunds.last(), capture) {
            (Some((key, amount)), _) => {
                let receipt = Self::refund_receipt(key);
                Movement { kind: MovementKind::Refund, key: key.clone(), charge, amount: *amount, receipt }
            }
            (None, Some((key, amount))) => {
                let receipt = self.receipt("capture");
                Movement { kind: MovementKind::Capture, key: key.clone(), charge, amount: *amount, receipt }
            }
            (None, None) => {
                let receipt = self.receipt("charge");
                Movement { kind: MovementKind::Capture, key: charge.clone(), charge, amount: asked.amount, receipt }
            }
        };
        Some(movement)
    }
}
