//! Money, currencies, typed ids, time and identity sources: the words every crate shares.
//!
//! Must not know: serialisation formats beyond `serde`'s traits, transports, stores, any domain.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::allow_attributes))]

mod clock;
mod currency;
mod ids;
mod moment;
mod money;
mod steady;
mod step_key;
mod text;
mod timestamp;

pub use clock::{Clock, IdSource, ManualClock, RandomIds, SeededIds, SystemClock};
pub use currency::{Currency, InvalidCurrency};
pub use ids::{InvalidId, OrderId, PaymentId, ReservationId, SagaId};
pub use moment::Moment;
pub use money::{Money, MoneyError};
pub use steady::SteadyTime;
pub use step_key::{Fingerprint, InvalidFingerprint, InvalidStepKey, STEP_NAME_LEN_MAX, StepKey};
pub use timestamp::Timestamp;
