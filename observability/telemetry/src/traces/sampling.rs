//! Which share of the traces that begin here is recorded; a caller's decision goes before it.
//!
//! Must not know: exporters.

use opentelemetry_sdk::trace::Sampler;

/// Records this percentage of traces, chosen by their ids, so that every service chooses the same.
pub(crate) fn of_percent(percent: f64) -> Sampler {
    Sampler::TraceIdRatioBased(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanKind, TraceId};
    use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample as _};

    use super::*;

    /// How many of a thousand traces, their ids spread evenly, are recorded.
    fn recorded(percent: f64) -> usize {
        let sampler = of_percent(percent);
        let id = |n: u64| TraceId::from(u128::from(n * (u64::MAX / 1000)));
        let decide = |n| sampler.should_sample(None, id(n), "request", &SpanKind::Server, &[], &[]).decision;
        (0..1000).filter(|n| decide(*n) == SamplingDecision::RecordAndSample).count()
    }

    #[test]
    fn the_share_recorded_is_the_percentage() {
        for (percent, about) in [(0.0, 0), (1.0, 10), (25.0, 250), (50.0, 500), (100.0, 1000)] {
            assert!(recorded(percent).abs_diff(about) <= 1, "{percent} %: {}", recorded(percent));
        }
    }
}
