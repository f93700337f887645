//! From a guarded call's result to what a saga may conclude from it.
//!
//! *Refused* is only what the participant itself names, by a reason that belongs to this call and surely had no effect. Everything else
//! (a bare status that a proxy may have made up, a timeout, a reason we do not know) is *Unknown*: it costs a repeat or a compensation,
//! never money. *NotSent* is what surely never left: a layer on our side stopped it (an open breaker, a full bulkhead, a deadline that had
//! passed), there was no token to send along, or no connection could be made.
//!
//! Of what is tried until it is done, an attempt counts towards parking the saga only if it was *answered*, by what asking again will not
//! change: see [`kind`].

use saga_engine::{Cause, CauseKind, Closed, Outcome, Undo};
use std::{error::Error as _, time::Duration};

use amends_resilience::{Classify as _, GuardError};
use service_base::{
    code::Code,
    status::{ErrorInfoLite, is_given_up, refusal_reason, retry_after},
};
use tonic::{Code as Grpc, Status};

/// The outcome of an action. `refusals` are the reasons by which this call surely had no effect.
pub(super) fn action<T, U>(
    result: Result<T, GuardError<Status>>,
    refusals: &[Code],
    output: impl FnOnce(T) -> Option<U>,
) -> Outcome<U> {
    match result {
        Ok(answer) => match output(answer) {
            Some(output) => Outcome::Done(output),
            None => Outcome::Unknown(Cause::permanent("malformed_answer", "the participant's answer cannot be read")),
        },
        Err(error) if error.nothing_sent() => Outcome::NotSent(cause(error)),
        Err(GuardError::Failed(status)) => match refusal_reason(&status) {
            Some(ErrorInfoLite { code: Some(code), message, .. })
                if is_judgement(status.code()) && refusals.contains(&code) =>
            {
                Outcome::refused(code.as_str(), message)
            }
            _ => Outcome::Unknown(cause(GuardError::Failed(status))),
        },
        Err(error) => Outcome::Unknown(cause(error)),
    }
}

/// The outcome of a compensation: it is done, or not known to be.
pub(super) fn undo<T>(result: Result<T, GuardError<Status>>) -> Undo {
    match result {
        Ok(_) => Undo::Undone,
        Err(error) => Undo::NotYet(cause_of_persistent_call(error)),
    }
}

/// The outcome of closing a pivot, given what the answer says about whether it was done.
pub(super) fn close<T>(result: Result<T, GuardError<Status>>, was_done: impl FnOnce(T) -> bool) -> Closed<()> {
    match result {
        Ok(answer) => {
            if was_done(answer) {
                Closed::WasDone(())
            } else {
                Closed::Closed
            }
        }
        Err(error) => Closed::NotYet(cause_of_persistent_call(error)),
    }
}

/// Codes with which a server says that it judged the request, and did not act on it.
const fn is_judgement(code: Grpc) -> bool {
    matches!(code, Grpc::FailedPrecondition | Grpc::NotFound | Grpc::InvalidArgument)
}

fn cause(error: GuardError<Status>) -> Cause {
    match error {
        GuardError::Open { .. } => Cause::environment("circuit_open", "the circuit breaker is open"),
        GuardError::Full => Cause::environment("bulkhead_full", "too many calls at once"),
        GuardError::TooLate => Cause::environment("timeout", "the time was over before the call was made"),
        GuardError::TimedOut | GuardError::Starved => Cause::environment("timeout", "no answer in time"),
        GuardError::Failed(status) => {
            let code = refusal_reason(&status).map_or_else(|| code_word(status.code()).to_owned(), |info| info.name());
            let message: String = status.message().chars().take(MESSAGE_MAX).collect();
            let cause = Cause { kind: kind(&status), ..Cause::environment(code, message) };
            match retry_after(&status) {
                Some(wait) => cause.retry_after(wait.min(WAIT_MAX)),
                None => cause,
            }
        }
    }
}

/// Whether a status comes from the environment, or is an answer that a retry does not change.
///
/// A status with a source was made on this side: of a connection that broke, of a call that was not sent. What a server or a proxy says is
/// about the environment where it says that something is away, full, late, or that it does not accept our token: tokens, keys and clocks
/// are not for this call to repair. All else is a defect, there or here, and an operator has to look.
fn kind(status: &Status) -> CauseKind {
    if status.source().is_some() {
        return CauseKind::Environment;
    }
    match status.code() {
        Grpc::Unavailable
        | Grpc::DeadlineExceeded
        | Grpc::Cancelled
        | Grpc::ResourceExhausted
        | Grpc::Aborted
        | Grpc::Unauthenticated => CauseKind::Environment,
        Grpc::Ok
        | Grpc::Unknown
        | Grpc::InvalidArgument
        | Grpc::NotFound
        | Grpc::AlreadyExists
        | Grpc::PermissionDenied
        | Grpc::FailedPrecondition
        | Grpc::OutOfRange
        | Grpc::Unimplemented
        | Grpc::Internal
        | Grpc::DataLoss => CauseKind::Permanent,
    }
}

/// For what is tried until it is done: no caller waits for it, so it may wait for the breaker, and for a token.
fn cause_of_persistent_call(error: GuardError<Status>) -> Cause {
    match error {
        GuardError::Open { retry_after } => cause(GuardError::Open { retry_after }).retry_after(retry_after),
        GuardError::Failed(status) if is_given_up(&status) => cause(GuardError::Failed(status)).retry_after(TOKEN_WAIT),
        error => cause(error),
    }
}

/// As long as a breaker stays open: an outage of the token service is no reason to ask more often than one of the participant.
const TOKEN_WAIT: Duration = Duration::from_secs(30);

/// Customers wait for the saga; when a participant asks for a longer pause, the saga unwinds instead.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A cause is journaled; another service's long message is not.
const MESSAGE_MAX: usize = 200;

const fn code_word(code: Grpc) -> &'static str {
    match code {
        Grpc::Unavailable => "unavailable",
        // Our own deadline, when it passes on our side of the connection, shows as `Cancelled`.
        Grpc::DeadlineExceeded | Grpc::Cancelled => "timeout",
        Grpc::ResourceExhausted => "overloaded",
        Grpc::Unauthenticated | Grpc::PermissionDenied => "not_authorized",
        Grpc::Unimplemented => "unimplemented",
        _ => "unexpected_answer",
    }
}

#[cfg(test)]
mod tests {
    use service_base::problem::Problem;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    const DECLINED: &[Code] = &[Code::Declined];

    fn check(error: GuardError<Status>, expected: &str) {
        let outcome = action::<(), ()>(Err(error), DECLINED, Some);
        let said = match outcome {
            Outcome::Done(()) => "done".to_owned(),
            Outcome::Refused(refusal) => format!("refused {}", refusal.code),
            Outcome::Unknown(cause) => format!("unknown {}", cause.code),
            Outcome::NotSent(cause) => format!("not sent {}", cause.code),
        };
        assert_eq!(said, expected);
    }

    fn named(code: Code) -> GuardError<Status> {
        GuardError::Failed(Problem::of(code, "x").into())
    }

    fn said(code: Grpc, reason: &str) -> GuardError<Status> {
        let details = ErrorDetails::with_error_info(reason, "amends.payments", [] as [(String, String); 0]);
        GuardError::Failed(Status::with_error_details(code, "x", details))
    }

    #[test]
    fn only_a_named_reason_of_this_call_is_a_refusal() {
        check(named(Code::Declined), "refused declined");
        // The same reason with a code that says nothing was judged.
        check(said(Grpc::Unavailable, "DECLINED"), "unknown declined");
        // Reasons that belong to other calls, or that this version does not know.
        check(named(Code::InsufficientStock), "unknown insufficient_stock");
        check(named(Code::StepKeyReused), "unknown step_key_reused");
        check(said(Grpc::FailedPrecondition, "SOLD_OUT"), "unknown sold_out");
        // Bare codes, which any proxy can make up.
        check(GuardError::Failed(Status::failed_precondition("declined")), "unknown unexpected_answer");
        check(GuardError::Failed(Status::unavailable("gone")), "unknown unavailable");
        check(GuardError::Failed(Status::deadline_exceeded("late")), "unknown timeout");
        check(GuardError::Failed(Status::unauthenticated("who?")), "unknown not_authorized");
        check(GuardError::TimedOut, "unknown timeout");
    }

    #[test]
    fn only_what_was_stopped_on_our_side_was_not_sent() {
        check(GuardError::Full, "not sent bulkhead_full");
        check(GuardError::TooLate, "not sent timeout");
        check(GuardError::Open { retry_after: Duration::from_secs(30) }, "not sent circuit_open");
        check(
            GuardError::Failed(service_base::status::not_sent(Status::unavailable("no token"))),
            "not sent unavailable",
        );
        // A server that says so was reached, or may have been.
        check(GuardError::Failed(Status::unavailable("the circuit breaker is open")), "unknown unavailable");
    }

    #[test]
    fn an_unreadable_answer_may_have_had_an_effect() {
        let outcome = action::<(), ()>(Ok(()), DECLINED, |()| None);
        assert!(matches!(outcome, Outcome::Unknown(_)));
    }

    #[test]
    fn compensations_cannot_be_refused() {
        assert!(matches!(undo::<()>(Err(named(Code::Declined))), Undo::NotYet(_)));
        assert!(matches!(undo(Ok(())), Undo::Undone));
        let open = undo::<()>(Err(GuardError::Open { retry_after: Duration::from_secs(7) }));
        assert!(matches!(open, Undo::NotYet(cause) if cause.retry_after == Some(Duration::from_secs(7))));
        let no_token = GuardError::Failed(service_base::status::not_sent(Status::unavailable("no token")));
        assert!(matches!(undo::<()>(Err(no_token)), Undo::NotYet(cause) if cause.retry_after == Some(TOKEN_WAIT)));
    }

    #[test]
    fn only_answers_that_stay_what_they_are_count_towards_parking() {
        let kind_of = |error| match undo::<()>(Err(error)) {
            Undo::NotYet(cause) => cause.kind,
            Undo::Undone => panic!("undone"),
        };
        let environment = [
            GuardError::Open { retry_after: Duration::from_secs(30) },
            GuardError::Full,
            GuardError::TooLate,
            GuardError::TimedOut,
            GuardError::Starved,
            GuardError::Failed(Status::unavailable("down")),
            GuardError::Failed(Status::deadline_exceeded("late")),
            GuardError::Failed(Status::cancelled("our deadline")),
            GuardError::Failed(Status::resource_exhausted("full disk")),
            GuardError::Failed(Status::aborted("contended")),
            GuardError::Failed(Status::unauthenticated("a clock that was set")),
            GuardError::Failed(service_base::status::not_sent(Status::internal("no token"))),
            // A connection that broke, as the transport says it.
            GuardError::Failed(Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))),
            named(Code::StoreUnavailable),
        ];
        for error in environment {
            let shown = format!("{error:?}");
            assert_eq!(kind_of(error), CauseKind::Environment, "{shown}");
        }
        let permanent = [
            Status::internal("a bug"),
            Status::unknown("?"),
            Status::data_loss("gone"),
            Status::unimplemented("which method?"),
            Status::invalid_argument("no key"),
            Status::not_found("no such payment"),
            Status::failed_precondition("no"),
            Status::permission_denied("scope"),
            Status::out_of_range("too large"),
        ];
        for status in permanent {
            let code = status.code();
            assert_eq!(kind_of(GuardError::Failed(status)), CauseKind::Permanent, "{code:?}");
        }
        let garbled = action::<(), ()>(Ok(()), DECLINED, |()| None);
        assert!(matches!(garbled, Outcome::Unknown(Cause { kind: CauseKind::Permanent, .. })));
    }

    #[test]
    fn a_closed_pivot_tells_whether_it_was_done() {
        assert!(matches!(close(Ok(true), |done| done), Closed::WasDone(())));
        assert!(matches!(close(Ok(false), |done| done), Closed::Closed));
        assert!(matches!(close::<bool>(Err(GuardError::TimedOut), |done| done), Closed::NotYet(_)));
    }
}
