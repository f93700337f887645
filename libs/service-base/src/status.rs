//! Reading gRPC refusals: the stable reason in `google.rpc.ErrorInfo`, and when to try again.

use std::{error::Error, time::Duration};

use tonic_types::StatusExt as _;

use crate::code::Code;

/// Why a service refused, as its `google.rpc.ErrorInfo` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorInfoLite {
    /// The stable code; `None` where this version does not know it.
    pub code: Option<Code>,
    /// Its text, in upper case: `INSUFFICIENT_STOCK`.
    pub reason: String,
    /// Whose code it is.
    pub domain: String,
    /// The sentence that came with it.
    pub message: String,
}

impl ErrorInfoLite {
    /// The reason as our codes are written, also one that is not known: `insufficient_stock`.
    pub fn name(&self) -> String {
        self.reason.to_lowercase()
    }
}

/// The reason of a refusal, if the status carries one.
pub fn refusal_reason(status: &tonic::Status) -> Option<ErrorInfoLite> {
    let info = status.get_details_error_info()?;
    Some(ErrorInfoLite {
        code: Code::from_reason(&info.reason),
        reason: info.reason,
        domain: info.domain,
        message: status.message().to_owned(),
    })
}

/// When the caller may try again, if the status says so.
pub fn retry_after(status: &tonic::Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// Why a call was not made: the source of a status that was made up on this side instead.
#[derive(Debug, thiserror::Error)]
#[error("nothing was sent")]
struct NothingSent;

/// A status for a call that is given up before it is made.
pub fn not_sent(mut status: tonic::Status) -> tonic::Status {
    status.set_source(std::sync::Arc::new(NothingSent));
    status
}

/// Whether the call was [given up](not_sent) before it was made. A status from the other side, or from a proxy, never says so: sources
/// are not transmitted.
pub fn is_given_up(status: &tonic::Status) -> bool {
    sources(status).any(<dyn Error>::is::<NothingSent>)
}

/// Whether surely nothing was sent: the call was [given up](is_given_up), or no connection could be made for it.
pub fn nothing_sent(status: &tonic::Status) -> bool {
    sources(status).any(|error| error.is::<NothingSent>() || error.is::<tonic::ConnectError>())
}

fn sources(status: &tonic::Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |error: &&(dyn Error + 'static)| (*error).source())
}

/// Whether an effect may have happened, so that the caller must not take this answer for a refusal.
pub fn is_unknown(status: &tonic::Status) -> bool {
    use tonic::Code;
    match status.code() {
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::ResourceExhausted => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::problem::Problem;

    #[test]
    fn reads_what_a_problem_wrote() {
        let status: tonic::Status =
            Problem::of(Code::PaymentDeclined, "the card was declined").retry_after(Duration::from_millis(1500)).into();
        let info = refusal_reason(&status).unwrap();
        assert_eq!((info.code, info.reason.as_str()), (Some(Code::PaymentDeclined), "PAYMENT_DECLINED"));
        let unheard = ErrorDetails::with_error_info("SOLD_OUT", "amends.stock", [] as [(String, String); 0]);
        let unheard = tonic::Status::with_error_details(tonic::Code::NotFound, "gone", unheard);
        let info = refusal_reason(&unheard).unwrap();
        assert_eq!((info.code, info.name()), (None, "sold_out".to_owned()));
        assert_eq!(info.message, "gone");
        assert_eq!(retry_after(&status), Some(Duration::from_millis(1500)));
        assert!(!is_unknown(&status));
        assert!(is_unknown(&tonic::Status::unavailable("gone")));
        assert_eq!(refusal_reason(&tonic::Status::unavailable("gone")), None);
    }
}
