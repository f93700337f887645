//! The rules of money, pure: what a payment is, which transitions exist, and what must be done next.
//!
//! Invariant: nothing here waits, reads a clock, makes an id, or knows a store, a transport or a processor.
//!
//! | from \ event         | captured   | declined   | voided   | refund done                         |
//! |----------------------|------------|------------|----------|-------------------------------------|
//! | `pending`            | `captured` | `declined` | `voided` | –                                   |
//! | `captured`           | –          | –          | –        | `partially_refunded` or `refunded`  |
//! | `partially_refunded` | –          | –          | –        | `partially_refunded` or `refunded`  |
//! | `refunded`           | –          | –          | –        | –                                   |
//! | `declined`           | –          | –          | –        | –                                   |
//! | `voided`             | –          | –          | –        | –                                   |
//!
//! Beside the state, each step key has a barrier: compensating it closes the barrier, and no action passes a closed one.

mod capture;
mod charge;
mod compensate;
mod key;
mod payment;
mod refund;
mod rejection;
#[cfg(test)]
mod tests;
mod values;

pub use capture::{Capture, REFUNDS_PER_PAYMENT_MAX, Refund, RefundState};
pub use charge::{ChargeNext, next_for_charge};
pub use compensate::{Compensated, CompensationNext, next_for_compensation};
pub use key::{Fingerprint, InvalidKey, RefundKey, STEP_NAME_LEN_MAX, StepKey};
pub use payment::{Barrier, Charge, Event, IllegalTransition, Payment, Record, State, Status};
pub use refund::{RefundAsked, RefundNext, next_for_refund};
pub use rejection::{DeclineReason, Rejection};
pub use values::{CUSTOMER_ID_LEN_MAX, CustomerId, InvalidValue, PAYMENT_METHOD_LEN_MAX, PaymentMethod, Receipt};
