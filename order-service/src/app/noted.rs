//! What a request's span says of the order that the request is about: what people look for when they have an order and want its trace.

use amends_primitives::OrderId;
use service_base::context::is_recording;
use tracing::Span;

use crate::ports::{Fingerprint, IdempotencyKey};

/// So much of a hash tells keys apart, and gives no key away.
const HASH_DIGITS: usize = 16;

/// Which order it is about.
pub(super) fn order(id: OrderId) {
    if is_recording() {
        Span::current().record("order.id", tracing::field::display(id));
    }
}

/// Under which key, as a hash.
pub(super) fn key(key: &IdempotencyKey) {
    if is_recording() {
        let hash = Fingerprint::of(key.as_str().as_bytes());
        Span::current().record("idempotency.key", hash.as_str().get(..HASH_DIGITS).unwrap_or_default());
    }
}

/// Whether it was answered as an earlier one was.
pub(super) fn replayed(is_replayed: bool) {
    if is_recording() {
        Span::current().record("idempotency.replayed", is_replayed);
    }
}
