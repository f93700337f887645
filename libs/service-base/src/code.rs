//! What can go wrong, as callers of any of our services learn it: every stable code, in one table.
//!
//! A code decides its statuses: HTTP and gRPC cannot disagree about one, and a call site cannot pair one with another status. Each has a
//! page in `docs/errors`, which says what caller and operator do about it; a test below holds the pages to the table. Codes are for ever:
//! they are part of the interface, and stored with failed orders and in sagas' journals.
//!
//! Must not know: which service sends which code, and when.

use axum::http::StatusCode;

/// Whose word a code is: the domain of `google.rpc.ErrorInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Domain {
    /// Of the interface for customers, and of what all services have in common.
    #[default]
    Amends,
    /// Of the inventory participant: see `inventory.proto`.
    Inventory,
    /// Of the payment participant: see `payments.proto`.
    Payments,
}

impl Domain {
    /// As it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amends => "amends.invalid",
            Self::Inventory => "amends.inventory",
            Self::Payments => "amends.payments",
        }
    }
}

/// What went wrong, in the terms that decide a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The request cannot be read.
    Malformed,
    /// The caller did not authenticate.
    Unauthenticated,
    /// The payment was refused.
    PaymentRequired,
    /// The caller lacks the permission.
    Forbidden,
    /// There is no such thing, or it is not the caller's.
    NotFound,
    /// The thing exists, but not for this verb.
    MethodNotAllowed,
    /// No offered media type is acceptable.
    NotAcceptable,
    /// The state of things forbids it.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body is of a type we do not read.
    UnsupportedMediaType,
    /// The request can be read, but says something impossible.
    Invalid,
    /// Too many requests.
    RateLimited,
    /// Our fault. The detail never leaves the process.
    Bug,
    /// A service behind this one was reached, and its answer is missing or makes no sense.
    BadGateway,
    /// We cannot now; later we can.
    Unavailable,
    /// The time ran out.
    Timeout,
}

impl ErrorKind {
    pub(crate) const fn http_status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::PaymentRequired => StatusCode::PAYMENT_REQUIRED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Bug => StatusCode::INTERNAL_SERVER_ERROR,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Never `Aborted`: callers read it as "try the same again", which a refusal is not.
    pub(crate) const fn grpc_code(self) -> tonic::Code {
        match self {
            Self::Malformed | Self::TooLarge | Self::UnsupportedMediaType | Self::NotAcceptable | Self::Invalid => {
                tonic::Code::InvalidArgument
            }
            Self::Unauthenticated => tonic::Code::Unauthenticated,
            Self::PaymentRequired | Self::Conflict => tonic::Code::FailedPrecondition,
            Self::Forbidden => tonic::Code::PermissionDenied,
            Self::NotFound => tonic::Code::NotFound,
            Self::MethodNotAllowed => tonic::Code::Unimplemented,
            Self::RateLimited => tonic::Code::ResourceExhausted,
            Self::Bug => tonic::Code::Internal,
            Self::BadGateway | Self::Unavailable => tonic::Code::Unavailable,
            Self::Timeout => tonic::Code::DeadlineExceeded,
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $kind:ident, $sentence:literal;)+) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $sentence, ".")] $variant,)+
        }

        impl Code {
            /// All of them, as `docs/errors/README.md` lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As problems have it, in snake case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What a caller is told where there is nothing more to say.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }

            /// The page that explains it.
            pub const fn page(self) -> &'static str {
                match self { $(Self::$variant => concat!("docs/errors/", $text, ".md"),)+ }
            }

            const fn kind(self) -> ErrorKind {
                match self { $(Self::$variant => ErrorKind::$kind,)+ }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", Malformed, "the request cannot be read";
    InvalidJson = "invalid_json", Malformed, "the body is not JSON";
    InvalidRequest = "invalid_request", Invalid, "the request has fields that are not valid";
    UnknownField = "unknown_field", Invalid, "the body has a field that nobody reads";
    UnsupportedMediaType = "unsupported_media_type", UnsupportedMediaType, "the body is of a type that is not read here";
    NotAcceptable = "not_acceptable", NotAcceptable, "answers are application/json";
    PayloadTooLarge = "payload_too_large", TooLarge, "the body is too large";
    MissingIdempotencyKey = "missing_idempotency_key", Malformed, "an idempotency key is needed";
    InvalidIdempotencyKey = "invalid_idempotency_key", Invalid, "the idempotency key is malformed";
    IdempotencyKeyReused = "idempotency_key_reused", Invalid, "the key was used for another request";
    UnknownSku = "unknown_sku", Invalid, "the order names items that the catalogue does not have";
    MixedCurrencies = "mixed_currencies", Invalid, "all prices of an order must be in one currency";
    TotalOverflow = "total_overflow", Invalid, "the order's total is too large";
    InsufficientStock = "insufficient_stock", Conflict, "fewer units are available than ordered";
    PriceMismatch = "price_mismatch", Conflict, "the price is not the catalogue's";
    PaymentDeclined = "payment_declined", PaymentRequired, "the payment was declined";
    KeyVoided = "key_voided", Conflict, "the key was voided: nothing was taken under it, and nothing will be";
    CaptureRefused = "capture_refused", Conflict, "nothing is held that could be captured so";
    RefundRefused = "refund_refused", Conflict, "less is left of what was taken";
    ReservationExpired = "reservation_expired", Conflict, "the reservation of the goods expired";
    OrderNotFound = "order_not_found", NotFound, "there is no such order";
    OrderNotCancellable = "order_not_cancellable", Conflict, "the order cannot be cancelled as it is";
    NotFound = "not_found", NotFound, "there is nothing at this path";
    MethodNotAllowed = "method_not_allowed", MethodNotAllowed, "this path does not know that method";
    Unauthenticated = "unauthenticated", Unauthenticated, "a bearer token is needed";
    InvalidCredentials = "invalid_credentials", Unauthenticated, "the log-in was refused";
    InvalidToken = "invalid_token", Unauthenticated, "the access token is not valid";
    InsufficientScope = "insufficient_scope", Forbidden, "the access token lacks a scope";
    RateLimited = "rate_limited", RateLimited, "too many requests; slow down";
    DependencyUnavailable = "dependency_unavailable", Unavailable, "a service this depends on cannot be reached at the moment";
    BadGateway = "bad_gateway", BadGateway, "the service behind broke off its answer";
    StoreUnavailable = "store_unavailable", Unavailable, "the data store cannot be reached at the moment";
    Injected = "injected", Unavailable, "the service is unavailable (injected)";
    Overloaded = "overloaded", Unavailable, "too many requests at once";
    Timeout = "timeout", Timeout, "the service behind did not answer in time";
    Internal = "internal", Bug, "something went wrong on our side; the trace id tells us what";
    StreamExpired = "stream_expired", Unavailable, "this stream has lasted as long as one may; open another";
    InvalidArgument = "invalid_argument", Invalid, "the message has fields that are not valid";
    StepKeyReused = "step_key_reused", Conflict, "the step key was used for another request";
    StepCompensated = "step_compensated", Conflict, "the step was compensated before";
    CommitClosed = "commit_closed", Conflict, "the commit was closed before it was made";
    ReservationNotFound = "reservation_not_found", NotFound, "there is no such reservation";
    ReservationReleased = "reservation_released", Conflict, "the reservation was released";
    ReservationState = "reservation_state", Conflict, "the reservation's state forbids it";
    OnHandBelowReserved = "on_hand_below_reserved", Conflict, "open reservations hold more than there would be";
    Declined = "declined", PaymentRequired, "the payment method was declined";
    InsufficientFunds = "insufficient_funds", PaymentRequired, "the account does not hold enough";
    AmountLimitExceeded = "amount_limit_exceeded", PaymentRequired, "the amount is above the limit";
    NotCapturable = "not_capturable", Conflict, "the payment cannot be captured as it is";
    NotVoidable = "not_voidable", Conflict, "the payment cannot be voided as it is";
    NotRefundable = "not_refundable", Conflict, "the payment cannot be refunded as it is";
    CaptureExceedsAuthorized = "capture_exceeds_authorized", Conflict, "less was authorized";
    RefundExceedsCaptured = "refund_exceeds_captured", Conflict, "less is left of what was captured";
    PaymentNotFound = "payment_not_found", NotFound, "there is no such payment";
    ProcessorTimedOut = "processor_timed_out", Unavailable, "the processor did not answer in time";
    ProcessorUnavailable = "processor_unavailable", Unavailable, "the processor failed";
    ProcessorBusy = "processor_busy", Unavailable, "the processor takes no more calls at the moment";
    UndoRefused = "undo_refused", Unavailable, "the processor refuses to give the money back";
    Contended = "contended", Unavailable, "other calls for this payment were in the way";
    OutOfTime = "out_of_time", Unavailable, "the payment could not be settled in time";
}

impl Code {
    /// As `google.rpc.ErrorInfo` has it, in upper case.
    pub fn reason(self) -> String {
        self.as_str().to_ascii_uppercase()
    }

    /// The code of a reason that a peer sent; `None` where this version does not know it.
    pub fn from_reason(reason: &str) -> Option<Self> {
        let is_upper = !reason.bytes().any(|byte| byte.is_ascii_lowercase());
        Self::ALL.iter().copied().find(|code| is_upper && code.as_str().eq_ignore_ascii_case(reason))
    }

    /// The code of a name that was stored; `None` where this version does not know it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// What the code means when it is said in that domain.
    pub(crate) const fn kind_in(self, domain: Domain) -> ErrorKind {
        match (self, domain) {
            // An item that the participant was asked for and does not have; to a customer it is a wrong field of an order.
            (Self::UnknownSku, Domain::Inventory) => ErrorKind::NotFound,
            _ => self.kind(),
        }
    }
}

amends_primitives::display_as!(Code => as_str);

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use axum::response::IntoResponse as _;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{problem::Problem, wire::code_name};

    fn root() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn problem_of_each_code_has_the_tables_status_in_http_and_grpc() {
        for &code in Code::ALL {
            let (http, grpc) = (code.kind().http_status(), code.kind().grpc_code());
            let problem = Problem::of(code, "x");
            assert_eq!((problem.http_status(), problem.grpc_code()), (http, grpc), "{code:?}");
            assert_eq!(problem.to_json()["status"], http.as_u16());
            assert_eq!(problem.to_json()["type"], format!("https://amends.invalid/errors/{code}"));
            let status = tonic::Status::from(problem.clone());
            let info = status.get_details_error_info().unwrap();
            assert_eq!((status.code(), info.domain.as_str()), (grpc, "amends.invalid"), "{code:?}");
            assert_eq!(Code::from_reason(&info.reason), Some(code));
            assert_eq!(Code::from_name(code.as_str()), Some(code));
            assert_eq!(problem.into_response().status(), http, "{code:?}");
        }
        assert_eq!((Code::from_reason("SOLD_OUT"), Code::from_reason("internal")), (None, None));
    }

    #[test]
    fn participants_speak_in_their_own_domain() {
        let absent = |domain| tonic::Status::from(Problem::of(Code::UnknownSku, "x").domain(domain));
        let said = |status: &tonic::Status| (status.code(), status.get_details_error_info().unwrap().domain);
        assert_eq!(said(&absent(Domain::Amends)), (tonic::Code::InvalidArgument, "amends.invalid".to_owned()));
        assert_eq!(said(&absent(Domain::Inventory)), (tonic::Code::NotFound, "amends.inventory".to_owned()));
        assert_eq!(said(&absent(Domain::Payments)), (tonic::Code::InvalidArgument, "amends.payments".to_owned()));
    }

    #[test]
    fn every_code_has_a_page_and_a_row_with_its_statuses() {
        let index = fs::read_to_string(root().join("docs/errors/README.md")).unwrap();
        let mut rows = index.lines().filter(|line| line.starts_with("| ["));
        for &code in Code::ALL {
            let page = fs::read_to_string(root().join(code.page())).unwrap_or_else(|error| panic!("{code:?}: {error}"));
            assert_eq!(page.lines().next(), Some(format!("# `{code}`").as_str()));
            let statuses = page.lines().nth(2).unwrap_or_default();
            let (http, grpc) = (code.kind().http_status().as_u16(), code_name(code.kind().grpc_code()));
            let (mut row, mut shown) = (format!("| [{code}]({code}.md) | `{grpc}` |"), String::new());
            // Some are never sent over HTTP: refusals of participants, and the end of a stream.
            if !page.contains("**When.** From the ") && code != Code::StreamExpired || statuses.starts_with("HTTP ") {
                row = format!("| [{code}]({code}.md) | {http} | `{grpc}` |");
                shown = format!("HTTP {http} ");
            }
            assert!(statuses.starts_with(&shown), "{}: not {shown}: {statuses}", code.page());
            assert!(statuses.contains(&format!("gRPC `{grpc}`")), "{}: not {grpc}: {statuses}", code.page());
            assert!(statuses.ends_with(&format!(", reason `{}`", code.reason())), "{}: {statuses}", code.page());
            assert_eq!(rows.next(), Some(row.as_str()), "the next row of docs/errors/README.md");
        }
        assert_eq!(rows.next(), None, "the row of no code");
    }

    #[test]
    fn every_page_has_a_code() {
        let mut pages = fs::read_dir(root().join("docs/errors")).unwrap().map(|entry| entry.unwrap().file_name());
        let stale = pages.find(|page| {
            let name = page.to_str().and_then(|page| page.strip_suffix(".md"));
            name != Some("README") && name.and_then(Code::from_name).is_none()
        });
        assert_eq!(stale, None);
    }
}
