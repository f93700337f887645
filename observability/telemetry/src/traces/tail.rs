//! Which of the traces that are recorded without being sampled are sent after all: those with a failure, a retry or something undone in
//! them, and those that took long. Decided as spans end; what has ended before is held until then, so many spans at the most.
//!
//! It sees this process alone. What another process recorded of the same trace is sent if that finds something in it, too; a failure is
//! seen by the one that calls and by the one that is called.
//!
//! Must not know: how spans are sent.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use opentelemetry::{
    Value,
    trace::{SpanContext, Status, TraceId},
};
use opentelemetry_sdk::trace::SpanData;

use crate::names::attribute as names;

/// About 1 KiB each.
const SPANS_MAX: usize = 16_384;
/// Of one trace; a stream that lives for an hour must not push all others out.
const SPANS_OF_TRACE_MAX: usize = 512;
/// How many traces are remembered as being sent.
const SENT_MAX: usize = 4_096;

#[derive(Debug)]
pub(super) struct Tail {
    slow: Duration,
    held: HashMap<TraceId, Vec<SpanData>>,
    /// The oldest first. Names traces that are no longer held, too.
    order: VecDeque<TraceId>,
    spans: usize,
    sent: HashSet<TraceId>,
    sent_order: VecDeque<TraceId>,
}

impl Tail {
    pub(super) fn new(slow: Duration) -> Self {
        Self {
            slow,
            held: HashMap::new(),
            order: VecDeque::new(),
            spans: 0,
            sent: HashSet::new(),
            sent_order: VecDeque::new(),
        }
    }

    /// Takes a span that has ended; what is to be sent now.
    pub(super) fn ended(&mut self, span: SpanData) -> Vec<SpanData> {
        let trace = span.span_context.trace_id();
        if self.sent.contains(&trace) {
            return vec![sampled(span)];
        }
        if self.is_worth_sending(&span) {
            self.remember(trace);
            let mut all = self.held.remove(&trace).unwrap_or_default();
            self.spans -= all.len();
            all.push(span);
            return all.into_iter().map(sampled).collect();
        }
        self.hold(trace, span);
        Vec::new()
    }

    fn hold(&mut self, trace: TraceId, span: SpanData) {
        let held = self.held.entry(trace).or_insert_with(|| {
            self.order.push_back(trace);
            Vec::new()
        });
        if held.len() < SPANS_OF_TRACE_MAX {
            held.push(span);
            self.spans += 1;
        }
        while self.spans > SPANS_MAX || self.order.len() > SPANS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.spans -= self.held.remove(&oldest).map_or(0, |spans| spans.len());
        }
    }

    fn remember(&mut self, trace: TraceId) {
        self.sent.insert(trace);
        self.sent_order.push_back(trace);
        if self.sent_order.len() > SENT_MAX
            && let Some(oldest) = self.sent_order.pop_front()
        {
            self.sent.remove(&oldest);
        }
    }

    fn is_worth_sending(&self, span: &SpanData) -> bool {
        let is_slow = span.end_time.duration_since(span.start_time).is_ok_and(|took| took >= self.slow);
        is_slow || matches!(span.status, Status::Error { .. }) || span.attributes.iter().any(tells_of_trouble)
    }
}

fn tells_of_trouble(attribute: &opentelemetry::KeyValue) -> bool {
    match (attribute.key.as_str(), &attribute.value) {
        (names::RETRY_ATTEMPT, Value::I64(attempt)) => *attempt > 1,
        (names::SAGA_PHASE, Value::String(phase)) => phase.as_str() != "action",
        (names::SAGA_OUTCOME, Value::String(outcome)) => outcome.as_str() != "completed" && outcome.as_str() != "done",
        (names::SAGA_RESUMED, Value::Bool(resumed)) => *resumed,
        _ => false,
    }
}

/// What is sent says that it was chosen.
fn sampled(span: SpanData) -> SpanData {
    let own = &span.span_context;
    let flags = own.trace_flags().with_sampled(true);
    let context = SpanContext::new(own.trace_id(), own.span_id(), flags, own.is_remote(), own.trace_state().clone());
    SpanData { span_context: context, ..span }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use opentelemetry::{
        InstrumentationScope, KeyValue,
        trace::{SpanId, SpanKind, TraceFlags, TraceState},
    };

    use super::*;

    pub(in super::super) fn span(trace: u128, id: u64, attributes: Vec<KeyValue>) -> SpanData {
        let flags = TraceFlags::default();
        SpanData {
            span_context: SpanContext::new(TraceId::from(trace), SpanId::from(id), flags, false, TraceState::NONE),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "span".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH + Duration::from_millis(20),
            attributes,
            dropped_attributes_count: 0,
            events: opentelemetry_sdk::trace::SpanEvents::default(),
            links: opentelemetry_sdk::trace::SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    fn tail() -> Tail {
        Tail::new(Duration::from_millis(500))
    }

    fn ids(spans: &[SpanData]) -> Vec<u64> {
        assert!(spans.iter().all(|span| span.span_context.is_sampled()));
        spans.iter().map(|span| u64::from_be_bytes(span.span_context.span_id().to_bytes())).collect()
    }

    fn failed(trace: u128, id: u64) -> SpanData {
        SpanData { status: Status::error(""), ..span(trace, id, Vec::new()) }
    }

    #[test]
    fn failure_sends_what_came_before_it_and_after() {
        let mut tail = tail();
        assert!(tail.ended(span(1, 1, Vec::new())).is_empty());
        assert!(tail.ended(span(2, 2, Vec::new())).is_empty());
        assert_eq!(ids(&tail.ended(failed(1, 3))), [1, 3]);
        assert_eq!(ids(&tail.ended(span(1, 4, Vec::new()))), [4]);
        assert!(tail.ended(span(2, 5, Vec::new())).is_empty());
    }

    #[test]
    fn slow_retried_undone_and_resumed_work_is_sent() {
        let slow = SpanData { end_time: SystemTime::UNIX_EPOCH + Duration::from_secs(1), ..span(1, 1, Vec::new()) };
        assert_eq!(ids(&tail().ended(slow)), [1]);
        for (attribute, is_sent) in [
            (KeyValue::new("retry.attempt", 1), false),
            (KeyValue::new("retry.attempt", 2), true),
            (KeyValue::new("saga.phase", "action"), false),
            (KeyValue::new("saga.phase", "compensation"), true),
            (KeyValue::new("saga.outcome", "completed"), false),
            (KeyValue::new("saga.outcome", "failed"), true),
            (KeyValue::new("saga.resumed", true), true),
        ] {
            let sent = tail().ended(span(1, 1, vec![attribute.clone()]));
            assert_eq!(!sent.is_empty(), is_sent, "{attribute:?}");
        }
    }

    #[test]
    fn so_many_spans_are_held_and_the_oldest_go_first() {
        let mut tail = tail();
        for trace in 0..SPANS_MAX as u128 + 10 {
            tail.ended(span(trace, 1, Vec::new()));
        }
        assert_eq!((tail.spans, tail.held.len(), tail.order.len()), (SPANS_MAX, SPANS_MAX, SPANS_MAX));
        assert_eq!(ids(&tail.ended(failed(3, 9))), [9], "the first is gone");
        assert_eq!(ids(&tail.ended(failed(100, 9))), [1, 9]);
    }

    #[test]
    fn one_trace_does_not_push_the_others_out() {
        let mut tail = tail();
        tail.ended(span(1, 1, Vec::new()));
        for id in 0..(2 * SPANS_MAX) as u64 {
            tail.ended(span(2, id, Vec::new()));
        }
        assert_eq!((tail.spans, ids(&tail.ended(failed(1, 2)))), (SPANS_OF_TRACE_MAX + 1, vec![1, 2]));
    }
}
