//! The rules of money, pure: what a payment is, which transitions exist, and what must be done next.
//!
//! Invariant: nothing here waits, reads a clock, makes an id, or knows a store, a transport or a processor.
//!
//! | from \ event         | authorized   | captured   | declined   | voided   | refund done                         |
//! |----------------------|--------------|------------|------------|----------|-------------------------------------|
//! | `pending`            | `authorized` | `captured` | `declined` | `voided` | –                                   |
//! | `authorized`         | –            | `captured` | –          | `voided` | –                                   |
//! | `captured`           | –            | –          | –          | –        | `partially_refunded` or `refunded`  |
//! | `partially_refunded` | –            | –          | –          | –        | `partially_refunded` or `refunded`  |
//! | `refunded`           | –            | –          | –          | –        | –                                   |
//! | `declined`           | –            | –          | –          | –        | –                                   |
//! | `voided`             | –            | –          | –          | –        | –                                   |
//!
//! From `pending`, an authorization becomes `authorized` and a charge `captured`, never the other way round. The README has the
//! same from the caller's side: which call is allowed in which state.
//!
//! Beside the state, the step key of each charge or authorization has a barrier: compensating it closes the barrier, and no action passes a closed one.

mod capture;
mod charge;
mod compensate;
mod ending;
mod hold;
mod key;
mod payment;
mod refund;
mod rejection;
mod status;
#[cfg(test)]
mod tests;
mod values;

pub use amends_primitives::{Fingerprint, StepKey};
pub use capture::{Capture, REFUNDS_PER_PAYMENT_MAX, Refund, RefundState};
pub use charge::{ChargeNext, next_for_charge};
pub use compensate::{Compensated, CompensationNext, next_for_compensation};
pub use ending::{EndingAsked, EndingNext, EndingVerb, next_for_ending};
pub use hold::{ENDINGS_PER_PAYMENT_MAX, Ending, EndingState, Hold, Wanted};
pub use key::RefundKey;
pub use payment::{Barrier, Charge, Event, IllegalTransition, Mode, Payment, Record, State};
pub use refund::{RefundAsked, RefundNext, next_for_refund};
pub use rejection::{DeclineReason, Rejection};
pub use status::Status;
pub use values::{CUSTOMER_ID_LEN_MAX, CustomerId, InvalidValue, PAYMENT_METHOD_LEN_MAX, PaymentMethod, Receipt};
