//! What a step is told about the attempt it makes.
//!
//! Must not know: transports. A host copies the key and the trace context into its own calls.

use std::time::Duration;

use amends_primitives::{StepKey, Timestamp};
use serde::{Deserialize, Serialize};

/// One attempt of an action, a compensation or a close.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The same in every attempt, and the same for an action and its compensation.
    pub key: StepKey,
    /// From 1. For logs and spans: it must not change what is asked for.
    pub attempt: u32,
    /// When the attempt began.
    pub now: Timestamp,
    /// After this the engine drops the attempt and takes its outcome as unknown.
    pub timeout: Duration,
    /// The trace the saga belongs to, also after it was resumed elsewhere.
    pub trace: TraceContext,
}

/// A W3C `traceparent`, and its `tracestate` after a space, kept in the saga's row so that a resumed saga continues its trace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceContext(Option<String>);

/// What of a `tracestate` is kept (W3C Trace Context asks for at least 512 characters, section 3.3.1.5).
const STATE_LENGTH_MAX: usize = 512;

impl TraceContext {
    /// No trace.
    pub const fn none() -> Self {
        Self(None)
    }

    /// From a `traceparent` header; anything malformed is no trace, as the W3C recommendation has it.
    pub fn parse(traceparent: &str) -> Self {
        let (traceparent, state) = traceparent.split_once(' ').unwrap_or((traceparent, ""));
        let parent = Self::parent(traceparent);
        if state.is_empty() { parent } else { parent.with_state(state) }
    }

    /// With the `tracestate` header that came along; one that is no header's text is left out.
    #[must_use]
    pub fn with_state(self, state: &str) -> Self {
        let fits =
            (1..=STATE_LENGTH_MAX).contains(&state.len()) && state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        Self(match self.traceparent() {
            Some(parent) if fits => Some(format!("{parent} {state}")),
            parent => parent.map(str::to_owned),
        })
    }

    fn parent(traceparent: &str) -> Self {
        let shaped = traceparent.len() >= 55
            && traceparent.is_ascii()
            && traceparent.bytes().enumerate().take(55).all(|(at, byte)| match at {
                2 | 35 | 52 => byte == b'-',
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            })
            && (traceparent.len() == 55 || traceparent.as_bytes()[55] == b'-');
        let valid = shaped
            && !traceparent.starts_with("ff")
            && traceparent[3..35].bytes().any(|byte| byte != b'0')
            && traceparent[36..52].bytes().any(|byte| byte != b'0');
        Self(valid.then(|| traceparent[..55].to_owned()))
    }

    /// The `traceparent` header's value.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.as_deref().and_then(|text| text.get(..55))
    }

    /// The `tracestate` header's value.
    pub fn tracestate(&self) -> Option<&str> {
        self.0.as_deref().and_then(|text| text.get(56..))
    }

    /// Both, as [`parse`](Self::parse) reads them: what a journal keeps.
    pub fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The trace id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.as_deref().and_then(|traceparent| traceparent.get(3..35))
    }

    /// The id of the span that the saga was started in: 16 hexadecimal digits.
    pub fn span_id(&self) -> Option<&str> {
        self.0.as_deref().and_then(|traceparent| traceparent.get(36..52))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracestate_is_kept_with_its_trace() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let both = TraceContext::parse(parent).with_state("a=1,b=2");
        assert_eq!((both.traceparent(), both.tracestate()), (Some(parent), Some("a=1,b=2")));
        assert_eq!(TraceContext::parse(both.text().unwrap()), both);
        assert_eq!(TraceContext::parse(parent).tracestate(), None);
        assert_eq!(TraceContext::none().with_state("a=1"), TraceContext::none());
        for bad in ["", "a=\u{e9}", &"x".repeat(513)] {
            assert_eq!(TraceContext::parse(parent).with_state(bad), TraceContext::parse(parent), "{bad}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_a_trace() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::parse(good).traceparent(), Some(good));
        assert_eq!(TraceContext::parse(good).trace_id(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(TraceContext::parse(good).span_id(), Some("00f067aa0ba902b7"));
        let future = format!("01{}-more", &good[2..]);
        assert_eq!(TraceContext::parse(&future).traceparent(), Some(&future[..55]));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), TraceContext::none(), "{bad}");
        }
    }
}
