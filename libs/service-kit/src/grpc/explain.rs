//! Refusals that a gRPC server makes before a method runs, said as all our refusals are: with a code a program can read, and no fault of
//! ours where the message was the caller's.
//!
//! The library refuses a message that is too long with `OUT_OF_RANGE`, one that is none with `INTERNAL`, and a coded one with
//! `UNIMPLEMENTED`, all without details. Our own refusals always have details, so a refusal without them, in the answer's head, is the
//! library's: whatever it says of a message in one of these codes becomes ours, and no text has to be recognised. Must not know: services.

use axum::{extract::Request, middleware::Next, response::Response};
use tonic::{Code as Grpc, Status};
use tonic_types::StatusExt as _;

use service_base::problem::{Code, Problem};

/// Where a status carries its details.
const DETAILS: &str = "grpc-status-details-bin";

/// Gives the library's own refusals the details that ours have.
pub(super) async fn explain(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let headers = response.headers();
    if !headers.contains_key("grpc-status") || headers.contains_key(DETAILS) {
        return response;
    }
    let Some(status) = Status::from_header_map(headers) else { return response };
    let Some(explained) = explained(&status) else { return response };
    let mut plain = explained.into_http::<axum::body::Body>();
    // What the library says besides: the codings it would read, the correlation id.
    for (name, value) in headers {
        if !name.as_str().starts_with("grpc-status") && name != "grpc-message" && !plain.headers().contains_key(name) {
            plain.headers_mut().append(name, value.clone());
        }
    }
    plain
}

/// What a status of the library's own means; `None` where it needs no explanation.
fn explained(status: &Status) -> Option<Status> {
    let about_message = |code, message: &str| Problem::of(code, message).field("message", message);
    let problem = match status.code() {
        // Both of a message's length: as it is, and once decompressed.
        Grpc::OutOfRange | Grpc::ResourceExhausted => about_message(Code::PayloadTooLarge, "the message is too long"),
        Grpc::Internal => about_message(Code::BadRequest, "the message cannot be read"),
        // No text: there is no such method. With one: the message is coded.
        Grpc::Unimplemented if status.message().is_empty() => {
            Problem::of(Code::MethodNotAllowed, "there is no such gRPC method here")
        }
        Grpc::Unimplemented => {
            let detail = "the message is compressed; send it as it is";
            let told = Status::from(Problem::of(Code::UnsupportedMediaType, detail));
            // gRPC's own code for a coding that is not read, by which clients send the message again as it is.
            return Some(Status::with_error_details(Grpc::Unimplemented, told.message(), told.get_error_details()));
        }
        _ => return None,
    };
    Some(problem.into())
}
