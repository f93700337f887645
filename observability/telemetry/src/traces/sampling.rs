//! Which traces are recorded, and which of those are certain to be sent. Decided before a span is made: by the caller's flag where the
//! caller is one of us, else by the trace's id, and for so many traces a second at the most.
//!
//! A trace that is recorded without being sampled costs the same here and nothing at the collector, unless the [tail](super::tail) finds
//! it worth sending. Its flag is not set (W3C Trace Context, section 3.2.2.5), so those who are called see no more than a hint.
//!
//! Must not know: exporters.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::{Config, names::attribute};

/// In a context: work begins here for a caller outside, whose flag decides nothing.
#[derive(Debug, Clone, Copy)]
pub struct Edge;

/// In a context: the service that does the work, and its spans' `service.name`. Those of several services may come from one process.
#[derive(Debug, Clone, Copy)]
pub struct OfService(pub &'static str);

/// Our member of `tracestate`.
pub const STATE_KEY: &str = "amends";
/// Its value where spans are recorded that are not sampled.
const RECORDED: &str = "r";

#[derive(Debug, Clone)]
pub(super) struct Head {
    sampled: Sampler,
    recorded: Sampler,
    rate: Arc<Rate>,
}

impl Head {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            sampled: Sampler::TraceIdRatioBased(config.sample_percent / 100.0),
            recorded: Sampler::TraceIdRatioBased(config.record_percent / 100.0),
            rate: Arc::new(Rate::new(config.traces_per_second, Instant::now())),
        }
    }

    fn decide(&self, parent: Option<&Context>, trace: TraceId, now: Instant) -> SamplingDecision {
        use SamplingDecision::{Drop, RecordAndSample, RecordOnly};

        let is_edge = parent.is_some_and(|context| context.get::<Edge>().is_some());
        let span = parent.map(|context| context.span());
        if let Some(span) = span.filter(|span| span.span_context().is_valid()) {
            let caller = span.span_context();
            let is_outside = caller.is_remote() && is_edge;
            // The service that began the trace has decided, for all of us.
            let is_recorded = if caller.is_remote() {
                caller.trace_state().get(STATE_KEY) == Some(RECORDED)
            } else {
                span.is_recording()
            };
            match caller.is_sampled() {
                _ if is_outside => {}
                true => return RecordAndSample,
                false if is_recorded => return RecordOnly,
                false => return Drop,
            }
        }
        let decision = if within(&self.sampled, trace) {
            RecordAndSample
        } else if within(&self.recorded, trace) {
            RecordOnly
        } else {
            return Drop;
        };
        if self.rate.take(now) { decision } else { Drop }
    }
}

/// By the trace's id, so that every service chooses the same.
fn within(share: &Sampler, trace: TraceId) -> bool {
    let result = share.should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

impl ShouldSample for Head {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let decision = self.decide(parent, trace, Instant::now());
        let state = parent.map_or(TraceState::NONE, |context| context.span().span_context().trace_state().clone());
        let trace_state = with_mark(state, decision == SamplingDecision::RecordOnly);
        let mut attributes = Vec::new();
        if decision != SamplingDecision::Drop
            && let Some(OfService(name)) = parent.and_then(|context| context.get::<OfService>())
        {
            attributes.push(KeyValue::new(attribute::SERVICE, *name));
        }
        SamplingResult { decision, attributes, trace_state }
    }
}

/// What is left of this second's share, in traces; filled again as time passes.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    left: Mutex<(f64, Instant)>,
}

impl Rate {
    fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: Mutex::new((per_second, now)) }
    }

    fn take(&self, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let passed = now.saturating_duration_since(left.1).min(Duration::from_secs(1));
        left.0 = passed.as_secs_f64().mul_add(self.per_second, left.0).min(self.per_second);
        left.1 = now;
        let has = left.0 >= 1.0;
        if has {
            left.0 -= 1.0;
        }
        has
    }
}

/// The `tracestate` that tells those who are called whether to record what is not sampled.
fn with_mark(state: TraceState, is_recorded: bool) -> TraceState {
    match (is_recorded, state.get(STATE_KEY)) {
        (true, Some(RECORDED)) | (false, None) => state,
        (true, _) => state.insert(STATE_KEY, RECORDED).unwrap_or(state),
        (false, Some(_)) => state.delete(STATE_KEY).unwrap_or(state),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    fn head(sample_percent: f64, record_percent: f64, traces_per_second: u32) -> Head {
        Head::new(&Config { sample_percent, record_percent, traces_per_second, ..Config::default() })
    }

    fn id(n: u64) -> TraceId {
        TraceId::from(u128::from(n * (u64::MAX / 1000)))
    }

    /// How many of a thousand traces, their ids spread evenly, are decided so.
    fn count(head: &Head, decision: &SamplingDecision) -> usize {
        let now = Instant::now();
        (0..1000).filter(|n| head.decide(None, id(*n), now) == *decision).count()
    }

    fn from(is_sampled: bool) -> Context {
        let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        from_with(flags, TraceState::NONE)
    }

    fn from_with(flags: TraceFlags, state: TraceState) -> Context {
        Context::new().with_remote_span_context(SpanContext::new(id(1), SpanId::from(7), flags, true, state))
    }

    #[test]
    fn the_share_sampled_is_the_percentage() {
        for (percent, about) in [(0.0, 0), (1.0, 10), (25.0, 250), (50.0, 500), (100.0, 1000)] {
            let sampled = count(&head(percent, 0.0, 1_000_000), &SamplingDecision::RecordAndSample);
            assert!(sampled.abs_diff(about) <= 1, "{percent} %: {sampled}");
        }
    }

    #[test]
    fn what_is_not_sampled_is_recorded_in_its_share() {
        let head = head(10.0, 40.0, 1_000_000);
        let recorded = count(&head, &SamplingDecision::RecordOnly);
        assert!(recorded.abs_diff(300) <= 2, "{recorded}");
    }

    #[test]
    fn callers_among_us_decide_for_the_trace() {
        let (none, all) = (head(0.0, 0.0, 1000), head(100.0, 100.0, 1000));
        let now = Instant::now();
        assert_eq!(none.decide(Some(&from(true)), id(1), now), SamplingDecision::RecordAndSample);
        assert_eq!(none.decide(Some(&from(false)), id(1), now), SamplingDecision::Drop);
        assert_eq!(all.decide(Some(&from(false)), id(1), now), SamplingDecision::Drop);
        let recording = from_with(TraceFlags::default(), with_mark(TraceState::NONE, true));
        assert_eq!(none.decide(Some(&recording), id(1), now), SamplingDecision::RecordOnly);
    }

    #[test]
    fn tracestate_says_whether_it_is_recorded_and_keeps_the_rest() {
        let theirs = TraceState::from_key_value([("vendor", "1")]).unwrap();
        let recorded = with_mark(theirs.clone(), true);
        assert_eq!(recorded.header(), "amends=r,vendor=1");
        assert_eq!(with_mark(recorded.clone(), true).header(), "amends=r,vendor=1");
        assert_eq!(with_mark(recorded, false).header(), "vendor=1");
        assert_eq!(with_mark(theirs, false).header(), "vendor=1");
    }

    #[test]
    fn flag_of_an_outsider_decides_nothing() {
        let (none, all) = (head(0.0, 0.0, 1000), head(100.0, 100.0, 1000));
        let now = Instant::now();
        for sampled in [true, false] {
            let caller = from(sampled).with_value(Edge);
            assert_eq!(none.decide(Some(&caller), id(1), now), SamplingDecision::Drop);
            assert_eq!(all.decide(Some(&caller), id(1), now), SamplingDecision::RecordAndSample);
        }
    }

    #[test]
    fn so_many_traces_begin_in_a_second_and_no_more() {
        let head = head(100.0, 100.0, 5);
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let begin = |n: u64, ms: u64| head.decide(None, id(n), at(ms)) != SamplingDecision::Drop;
        assert_eq!((0..100).filter(|n| begin(*n, 1)).count(), 5);
        assert_eq!((0..100).filter(|n| begin(*n, 401)).count(), 2);
        assert_eq!((0..100).filter(|n| begin(*n, 60_000)).count(), 5, "what was not used does not add up");
    }

    #[test]
    fn the_service_is_named_by_the_context() {
        let context = Context::new().with_value(OfService("order-service"));
        let sample = |head: Head| head.should_sample(Some(&context), id(1), "", &SpanKind::Server, &[], &[]).attributes;
        assert_eq!(sample(head(100.0, 0.0, 9)), [KeyValue::new("service", "order-service")]);
        assert_eq!(sample(head(0.0, 0.0, 9)), []);
    }
}
