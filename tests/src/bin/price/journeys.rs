//! What customers do, one thing at a time: an order that is confirmed, one that is declined, and the cancelling of the confirmed one.

use amends::client::{Client, order_of};
use amends_tests::check::key;
use anyhow::{Result, ensure};

/// What is priced, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journey {
    /// Placed and paid.
    Confirmed,
    /// Placed, and the card is refused: what was reserved is let go.
    Declined,
    /// A confirmed order is cancelled: refunded and restocked. Placing it is not part of it.
    Cancelled,
}

impl Journey {
    pub(crate) const ALL: [Self; 3] = [Self::Confirmed, Self::Declined, Self::Cancelled];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        }
    }

    /// One customer's request and its final answer. `last` is the confirmed order that is there to be cancelled.
    pub(crate) async fn make(self, client: &Client, last: &mut Option<String>) -> Result<()> {
        let (answer, status) = match self {
            Self::Confirmed => (client.place(&key(), &order_of("espresso-1kg", 1, "pm_ok")).await?, 201),
            Self::Declined => (client.place(&key(), &order_of("case-declined", 1, "pm_declined")).await?, 402),
            Self::Cancelled => {
                let id = last.take().unwrap_or_default();
                (client.post(&format!("/v1/orders/{id}/cancel")).await?, 200)
            }
        };
        ensure!(answer.status.as_u16() == status, "{}: {} {}", self.name(), answer.status, answer.body);
        if self == Self::Confirmed {
            *last = Some(answer.text("/id").to_owned());
        }
        Ok(())
    }
}
