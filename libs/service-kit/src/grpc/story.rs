//! A participant's line of an order's story: what it answered to a step of a saga.

use service_base::wire::{code_name, is_server_fault};
use tonic::{Code, Status};
use tracing::Span;

/// Writes the line, once for each call, in the span of the step: that names the saga, the step, and the order as far as it is known.
pub fn told(step: &Span, verb: &'static str, failed: Option<&Status>) {
    step.in_scope(|| {
        let code = failed.map_or(Code::Ok, Status::code);
        // As the caller's saga takes it: a refusal surely had no effect, a fault may have had one.
        let outcome = match code {
            Code::Ok => "done",
            code if is_server_fault(code) => "unknown",
            _ => "refused",
        };
        tracing::info!(
            target: "story",
            error = failed.map(Status::message),
            rpc.method = verb,
            rpc.status_code = code_name(code),
            saga.outcome = outcome,
            "step answered"
        );
    });
}
