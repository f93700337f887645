//! Typed identifiers: UUIDs that cannot be mixed up. Version 7 when we make them, so that they sort by creation time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not a UUID in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: a UUID such as 0198c0de-0000-7000-8000-000000000000 is expected")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID, usually one from an [`IdSource`](crate::IdSource).
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // `Uuid` also reads braces, URNs and bare hex; one id has one spelling here.
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(InvalidId { kind: $kind }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        crate::debug_as_displayed!($name);
    };
}

typed_id!(
    /// One order.
    OrderId,
    "order"
);
typed_id!(
    /// One saga: one run of a definition.
    SagaId,
    "saga"
);
typed_id!(
    /// One payment.
    PaymentId,
    "payment"
);
typed_id!(
    /// One reservation of stock.
    ReservationId,
    "reservation"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_has_one_spelling() {
        let text = "0198c0de-0000-7000-8000-000000000001";
        assert_eq!(text.parse::<OrderId>().unwrap().to_string(), text);
        for bad in ["", "1", "{0198c0de-0000-7000-8000-000000000001}", "0198c0de000070008000000000000001"] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
        assert!("x".parse::<SagaId>().unwrap_err().to_string().starts_with("not a saga id"));
    }
}
