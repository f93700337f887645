//! Why an order could not be done: what is stored with it, and what follows for its idempotency key.
//!
//! Must not know: HTTP, gRPC, which participant refused.

/// The stable code of a failed order, stored as its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureCode {
    /// Fewer goods are available than ordered.
    InsufficientStock,
    /// A price is not the catalogue's any more.
    PriceMismatch,
    /// The catalogue does not have an item.
    UnknownSku,
    /// The payment was refused.
    PaymentDeclined,
    /// The reservation expired before the order was done.
    ReservationExpired,
    /// A service could not be reached in time.
    DependencyUnavailable,
    /// Our services disagree.
    Internal,
    /// What another version of this service stored.
    Other(String),
}

impl FailureCode {
    /// All that this version stores.
    pub const ALL: [Self; 7] = [
        Self::InsufficientStock,
        Self::PriceMismatch,
        Self::UnknownSku,
        Self::PaymentDeclined,
        Self::ReservationExpired,
        Self::DependencyUnavailable,
        Self::Internal,
    ];

    /// As it is stored and shown, in snake case.
    pub const fn as_str(&self) -> &str {
        match self {
            Self::InsufficientStock => "insufficient_stock",
            Self::PriceMismatch => "price_mismatch",
            Self::UnknownSku => "unknown_sku",
            Self::PaymentDeclined => "payment_declined",
            Self::ReservationExpired => "reservation_expired",
            Self::DependencyUnavailable => "dependency_unavailable",
            Self::Internal => "internal",
            Self::Other(text) => text.as_str(),
        }
    }

    /// Whether the same request may be tried anew under its key. A settled answer is kept: it would be the same again, or the customer
    /// must decide. What failed for our own reasons never uses a key up. The audit's checks repeat this in SQL.
    pub const fn gives_key_back(&self) -> bool {
        match self {
            Self::InsufficientStock | Self::PriceMismatch | Self::PaymentDeclined | Self::ReservationExpired => false,
            Self::UnknownSku | Self::DependencyUnavailable | Self::Internal | Self::Other(_) => true,
        }
    }
}

impl From<String> for FailureCode {
    fn from(text: String) -> Self {
        Self::ALL.into_iter().find(|code| code.as_str() == text).unwrap_or(Self::Other(text))
    }
}

amends_primitives::display_as!(FailureCode => as_str);

/// Why an order could not be done: a stable code and a sentence for the customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable.
    pub code: FailureCode,
    /// One sentence.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_codes_are_read_back_also_those_of_other_versions() {
        for code in FailureCode::ALL {
            assert_eq!(FailureCode::from(code.to_string()), code);
        }
        let given_back = FailureCode::ALL.map(|code| (code.to_string(), code.gives_key_back()));
        assert_eq!(
            given_back.each_ref().map(|(code, given_back)| (code.as_str(), *given_back)),
            [
                ("insufficient_stock", false),
                ("price_mismatch", false),
                ("unknown_sku", true),
                ("payment_declined", false),
                ("reservation_expired", false),
                ("dependency_unavailable", true),
                ("internal", true),
            ]
        );
        let retired = FailureCode::from("sold_out".to_owned());
        assert_eq!((retired.as_str(), retired.gives_key_back()), ("sold_out", true));
    }
}
