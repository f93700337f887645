//! The `Prefer` header (RFC 7240), as far as we know it: `wait=N` and `respond-async`. What we do not understand we ignore, as the
//! RFC asks; what we honour we name in `Preference-Applied`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a caller prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Prefer {
    wait: Option<u64>,
    respond_async: bool,
}

impl Prefer {
    /// Reads all `Prefer` headers; of a preference given twice, the first counts.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for preference in texts.flat_map(|text| text.split(',')) {
            let token = preference.split(';').next().unwrap_or_default();
            let (name, value) = token.split_once('=').map_or((token, ""), |(name, value)| (name, value));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
            match name.as_str() {
                "respond-async" => prefer.respond_async = true,
                "wait" if prefer.wait.is_none() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    prefer.wait = value.parse().ok();
                }
                _ => {}
            }
        }
        prefer
    }

    /// How long to wait for the end. `respond-async` alone is "not at all"; with `wait=N` it is "N seconds, and then go on without
    /// me" (RFC 7240, 4.3), which is what `wait=N` means here anyway.
    pub(super) fn wait(self) -> Option<Duration> {
        match (self.wait, self.respond_async) {
            (Some(seconds), _) => Some(Duration::from_secs(seconds)),
            (None, true) => Some(Duration::ZERO),
            (None, false) => None,
        }
    }

    /// What was honoured, given whether the answer came before the end.
    pub(super) fn applied(self, waited_at_most: Duration, accepted_only: bool) -> Option<String> {
        let respond_async = (self.respond_async && accepted_only).then(|| "respond-async".to_owned());
        let wait = self.wait.map(|seconds| format!("wait={}", seconds.min(waited_at_most.as_secs())));
        let applied: Vec<String> = respond_async.into_iter().chain(wait).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(lines: &[&str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, line.parse().unwrap());
        }
        Prefer::of(&headers)
    }

    #[test]
    fn what_is_understood_is_honoured_and_named() {
        let check = |lines: &[&str], wait: Option<u64>, applied: Option<&str>| {
            let prefer = prefer(lines);
            assert_eq!(prefer.wait(), wait.map(Duration::from_secs), "{lines:?}");
            assert_eq!(prefer.applied(Duration::from_mins(1), true).as_deref(), applied, "{lines:?}");
        };
        check(&[], None, None);
        check(&["wait=10"], Some(10), Some("wait=10"));
        check(&["wait=\"7\"; foo=bar"], Some(7), Some("wait=7"));
        check(&["respond-async"], Some(0), Some("respond-async"));
        check(&["Respond-Async, WAIT=3"], Some(3), Some("respond-async, wait=3"));
        check(&["respond-async", "wait=3, wait=4"], Some(3), Some("respond-async, wait=3"));
        check(&["wait=1000"], Some(1000), Some("wait=60"));
        check(&["wait=-1, handling=lenient"], None, None);
        check(&["wait=99999999999999999999999"], None, None);
        check(&["wait=, return=minimal"], None, None);
    }

    #[test]
    fn an_answer_that_is_the_end_was_not_asynchronous() {
        assert_eq!(prefer(&["respond-async"]).applied(Duration::from_mins(1), false), None);
    }
}
