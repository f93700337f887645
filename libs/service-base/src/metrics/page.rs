//! What `/metrics` answers, and in which of Prometheus's two text formats.
//!
//! The registry writes OpenMetrics. The older format, which a scraper gets that does not ask for OpenMetrics, is the same text without
//! exemplars and end mark, with counters named in full.

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the older format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which format a scraper asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With exemplars.
    OpenMetrics,
    /// For people, and for scrapers that know no other.
    Text,
}

impl Format {
    /// What an `Accept` header prefers. OpenMetrics only where it is named, as Prometheus's own libraries do.
    pub fn of(accept: Option<&str>) -> Self {
        let mut best = [0.0_f32; 2];
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let which = match parts.next() {
                Some("application/openmetrics-text") => 0,
                Some("text/plain" | "text/*") => 1,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
            best[which] = quality.unwrap_or(0.0_f32).max(best[which]);
        }
        if best[0] > 0.0 && best[0] >= best[1] { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Text => TEXT,
        }
    }
}

/// The same page in the older format.
pub(super) fn to_text(open_metrics: &str) -> String {
    let mut page = String::with_capacity(open_metrics.len());
    // A name's HELP line comes before its TYPE line, and only that says whether the name lacks its suffix.
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some((name, text)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = Some((name, text));
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                page.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            page.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            continue;
        }
        page.extend([without_exemplar(line), "\n"]);
    }
    page
}

/// A sample up to its exemplar. Values of labels may hold anything, so what is within quotes is passed over.
fn without_exemplar(line: &str) -> &str {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'#' if !is_quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_sent_only_to_scrapers_that_name_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (Some(prometheus), Format::OpenMetrics),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (Some("application/openmetrics-text;q=0.5, text/plain"), Format::Text),
            (Some("application/openmetrics-text; q=0"), Format::Text),
            (Some("text/plain;version=0.0.4"), Format::Text),
            (Some("*/*"), Format::Text),
            (None, Format::Text),
        ] {
            assert_eq!(Format::of(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn text_format_has_full_names_and_no_exemplars() {
        let open = "# HELP orders Orders.\n# TYPE orders counter\norders_total{a=\"x # {\\\"\"} 2 # {trace_id=\"f\"} 1.0\n\
                    # HELP waits Waits.\n# TYPE waits histogram\n# UNIT waits seconds\nwaits_bucket{le=\"1.0\"} 1 # {trace_id=\"f\"} 0.2\n# EOF\n";
        let text = "# HELP orders_total Orders.\n# TYPE orders_total counter\norders_total{a=\"x # {\\\"\"} 2\n\
                    # HELP waits Waits.\n# TYPE waits histogram\nwaits_bucket{le=\"1.0\"} 1\n";
        assert_eq!(to_text(open), text);
    }
}
