//! The rules of money, pure: what a payment is, which transitions exist, and what must be done next. `decide` says what a command must
//! do next; `evolve` is the only place where a payment changes.
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
mod decide;
mod event;
mod evolve;
mod hold;
mod key;
mod payment;
mod rejection;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod values;

pub use amends_primitives::{Fingerprint, StepKey};
pub use capture::{Capture, REFUNDS_PER_PAYMENT_MAX, Refund, RefundState};
pub use decide::{
    ChargeNext, Compensated, CompensationNext, Next, RefundAsked, SettlementAsked, SettlementVerb, decide_charge,
    decide_compensation, decide_refund, decide_settlement,
};
pub use event::Event;
pub use evolve::{IllegalTransition, evolve};
pub use hold::{Hold, SETTLEMENTS_PER_PAYMENT_MAX, Settlement, SettlementState, Wanted};
pub use key::RefundKey;
pub use payment::{Barrier, Charge, Mode, Payment, Record};
pub use rejection::{DeclineReason, Rejection};
pub use state::State;
pub use status::Status;
pub use values::{CUSTOMER_ID_LEN_MAX, CustomerId, InvalidValue, PAYMENT_METHOD_LEN_MAX, PaymentMethod, Receipt};
