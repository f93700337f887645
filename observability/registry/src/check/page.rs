//! A page of metrics, in the text form of Prometheus or OpenMetrics.

use super::{Look, Mistake, Received};
use crate::{Attribute, Metric, Registry};

/// Which samples a metric of a type has: the suffixes of their names, with the labels that the form itself gives them.
const SUFFIXES: [(&str, &[&str], &[&str]); 3] = [
    ("counter", &["_total", "_created"], &[]),
    ("gauge", &[""], &[]),
    ("histogram", &["_bucket", "_sum", "_count", "_created"], &["le"]),
];

/// What an exemplar may say.
const OF_EXEMPLARS: [&str; 2] = ["trace_id", "span_id"];

impl Registry {
    /// What is wrong with a page of metrics.
    pub fn check_page(&self, page: &str) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for line in page.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                mistakes.extend(self.check_type(described));
            } else if !line.starts_with('#') && !line.is_empty() {
                match sample(line) {
                    Some(sample) => mistakes.extend(self.check_sample(&sample)),
                    None => mistakes.push(Mistake::Unreadable { what: line.to_owned() }),
                }
            }
        }
        // A family has many series with the same mistake.
        mistakes.sort();
        mistakes.dedup();
        mistakes
    }

    fn check_type(&self, described: &str) -> Option<Mistake> {
        let (name, kind) = described.split_once(' ')?;
        // OpenMetrics describes the counter without the suffix of its sample, Prometheus with it.
        let metric = self.metrics.get(name).or_else(|| self.metrics.get(name.strip_suffix("_total")?));
        match metric {
            None => Some(Mistake::UnknownSignal { what: format!("metric `{name}`") }),
            Some(metric) if metric.page_type() != kind => {
                let of = format!("metric `{name}` of type {kind}");
                Some(Mistake::Misnamed { of, expected: metric.page_type().to_owned() })
            }
            Some(_) => None,
        }
    }

    fn check_sample(&self, sample: &Sample<'_>) -> Vec<Mistake> {
        let of = format!("metric `{}`", sample.name);
        let Some((metric, given)) = self.metric_of(sample.name) else {
            return vec![Mistake::UnknownSignal { what: of }];
        };
        let mut look = Look::new(&of, self);
        for (name, value) in &sample.labels {
            if given.contains(&name.as_str()) {
                continue;
            }
            let allowed = look.find(&metric.labels, name, Attribute::label);
            // All labels are text; of what there are few, the value can be looked at.
            let value = match allowed.map(|attribute| &attribute.kind) {
                Some(crate::Kind::Int) if value.parse::<i64>().is_ok() => Received::Int,
                Some(crate::Kind::Boolean) if ["true", "false"].contains(&value.as_str()) => Received::Boolean,
                _ => Received::Text(value),
            };
            look.value(name, &value, allowed);
        }
        look.required(&metric.labels, Attribute::label);
        for name in sample.exemplar.iter().filter(|name| !OF_EXEMPLARS.contains(&name.as_str())) {
            look.mistakes.push(Mistake::Unknown { of: format!("exemplar of {of}"), name: name.clone() });
        }
        look.mistakes
    }

    /// The metric that has such a sample, and the labels that the form gives it.
    fn metric_of(&self, sample: &str) -> Option<(&Metric, &'static [&'static str])> {
        SUFFIXES.iter().find_map(|(kind, suffixes, labels)| {
            suffixes.iter().find_map(|suffix| {
                let metric = self.metrics.get(sample.strip_suffix(suffix)?)?;
                (metric.page_type() == *kind).then_some((metric, *labels))
            })
        })
    }
}

struct Sample<'a> {
    name: &'a str,
    labels: Vec<(String, String)>,
    /// The names of its labels.
    exemplar: Vec<String>,
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = if rest.starts_with('{') { labels(rest)? } else { (Vec::new(), rest) };
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, labels_alone(exemplar)?),
        None => (rest, Vec::new()),
    };
    value.split_whitespace().next()?.parse::<f64>().ok()?;
    Some(Sample { name, labels, exemplar: exemplar.into_iter().map(|(name, _)| name).collect() })
}

fn labels_alone(text: &str) -> Option<Vec<(String, String)>> {
    labels(text).map(|(labels, _)| labels)
}

/// The labels in braces at the beginning, and what follows.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut rest = text.strip_prefix('{')?;
    let mut found = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(letters.next()?.1),
                (_, letter) => value.push(letter),
            }
        };
        found.push((name.to_owned(), value));
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests;

    fn found(page: &str) -> Vec<String> {
        tests::said(&tests::registry().check_page(page))
    }

    #[test]
    fn pages_of_both_forms_have_no_mistakes() {
        let samples = "order_wait_seconds_bucket{le=\"+Inf\",saga_phase=\"action\"} 1 # {trace_id=\"ab\"} 0.5\n\
            order_wait_seconds_sum{saga_phase=\"action\"} 0.5\norder_wait_seconds_count{saga_phase=\"action\"} 1\norders_total 3\n";
        let open =
            format!("# HELP orders O.\n# TYPE orders counter\n# TYPE order_wait_seconds histogram\n{samples}# EOF\n");
        assert_eq!(found(&open), [""; 0]);
        assert_eq!(found(&open.replace("orders counter", "orders_total counter")), [""; 0]);
    }

    #[test]
    fn each_mistake_of_a_page_is_found() {
        for (bad, expected) in [
            ("# TYPE carts counter\n", "metric `carts`: not in the registry"),
            ("# TYPE orders gauge\n", "metric `orders` of type gauge: should be `counter`"),
            ("carts_total 1\n", "metric `carts_total`: not in the registry"),
            ("orders 1\n", "metric `orders`: not in the registry"),
            ("orders_total{order_id=\"o\"} 1\n", "metric `orders_total`: may not have `order_id`"),
            ("order_wait_seconds_sum 1\n", "metric `order_wait_seconds_sum`: lacks `saga_phase`"),
            (
                "order_wait_seconds_sum{saga_phase=\"a\\\"b\"} 1\n",
                "metric `order_wait_seconds_sum`: `saga_phase` is the text `a\"b`, and not of type enum",
            ),
            (
                "order_wait_seconds_sum{saga_phase=\"action\",saga_phase=\"action\"} 1\n",
                "metric `order_wait_seconds_sum`: has `saga_phase` twice",
            ),
            ("orders_total 1 # {order_id=\"o\"} 1\n", "exemplar of metric `orders_total`: may not have `order_id`"),
            ("orders_total{x} 1\n", "cannot be read: orders_total{x} 1"),
            ("orders_total one\n", "cannot be read: orders_total one"),
        ] {
            assert_eq!(found(bad), [expected], "{bad}");
        }
    }
}
