//! What every record has beside an event's own fields: ids, the machine's name. And JSON objects as lists of members: enough to add ids
//! and to keep one of two equal keys, without building a tree.

use std::sync::OnceLock;

use opentelemetry::{
    Context,
    trace::{SpanId, TraceContextExt as _, TraceId},
};

/// Members of one object, as they are written: key (with its quotes) and value.
pub(crate) fn members(object: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let inner = object.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}")?;
    let mut found = Vec::with_capacity(32);
    let mut at = 0;
    while at < inner.len() {
        let key = at..string_end(inner, at)?;
        if inner.get(key.end) != Some(&b':') {
            return None;
        }
        let value = key.end + 1..value_end(inner, key.end + 1)?;
        at = value.end + 1;
        found.push((inner.get(key)?, inner.get(value)?));
    }
    Some(found)
}

/// Where the string that begins at `from` ends, its closing quote included.
fn string_end(text: &[u8], from: usize) -> Option<usize> {
    if text.get(from) != Some(&b'"') {
        return None;
    }
    let mut at = from + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the value that begins at `from` ends: at the comma of its own depth, or at the end.
fn value_end(text: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(at)
}

/// The ids of the current trace and span, if there is one.
pub(crate) fn current_ids() -> Option<(TraceId, SpanId)> {
    Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        ids.is_valid().then(|| (ids.trace_id(), ids.span_id()))
    })
}

/// Shows the correlation id of the work at hand, if there is one.
pub type CorrelationSource = fn(&mut dyn FnMut(&str));

static CORRELATION: OnceLock<CorrelationSource> = OnceLock::new();

/// Has every line name the correlation id that `source` shows, unless the line or a span around it names one. The first call counts.
pub fn correlate_by(source: CorrelationSource) {
    let _ = CORRELATION.set(source);
}

/// Hands the current correlation id to `use_it`, if there is one.
pub(crate) fn with_correlation(mut use_it: impl FnMut(&str)) {
    if let Some(source) = CORRELATION.get() {
        source(&mut use_it);
    }
}

/// This machine's name.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_an_object_into_its_members() {
        let show = |text: &str| {
            members(text.as_bytes()).map(|all| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                all.into_iter().map(|(k, v)| format!("{}={}", text(k), text(v))).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(show("{}\n").as_deref(), Some(""));
        let tricky = r#"{"a":1,"b\"":"x,}\\","c":{"d":[1,2,{"e":"]"}]},"f":null}"#;
        assert_eq!(show(tricky).as_deref(), Some(r#""a"=1 "b\""="x,}\\" "c"={"d":[1,2,{"e":"]"}]} "f"=null"#));
        for bad in ["", "x", "[1]", r#"{"a"}"#, r#"{"a":[1}"#, r#"{"a":"x}"#, "{1:2}"] {
            assert_eq!(show(bad), None, "{bad}");
        }
    }
}
