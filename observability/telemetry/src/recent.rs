//! The latest lines of orders' stories, warnings and errors, kept in this process for an operator who has no log store: `amends logs`.
//!
//! A ring of bytes of a fixed size. A line's fields are copied into it as they are; the rest of the line is put together when it is
//! asked for. Nothing is allocated for a line.
//!
//! Must not know: who asks, and what an order is: it finds lines by any id in them, and the lines of the same traces.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    fmt,
    io::Write as _,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use amends_primitives::Timestamp;
use opentelemetry::trace::{SpanId, TraceId};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::{
    callsite::{self, Callsite},
    fields::{current_ids, with_correlation},
    json,
};

/// Longer ones are cut off: one line must not push all others out.
const LINE_BYTES_MAX: usize = 4096;
/// A line has about this many bytes; as many places are reserved.
const LINE_BYTES: usize = 256;

/// This process's ring, once telemetry is set up with one.
static RECENT: OnceLock<Recent> = OnceLock::new();

/// Makes `recent` this process's own. The first one stays.
pub(crate) fn install(recent: Recent) {
    let _ = RECENT.set(recent);
}

/// The lines that this process keeps about `id`, oldest first, one JSON object a line: those that name it, and those of the traces of
/// these. Nothing where no lines are kept.
pub fn about(id: &str) -> Option<Vec<u8>> {
    Some(RECENT.get()?.about(id))
}

/// One line.
#[derive(Clone)]
struct Line {
    at: SystemTime,
    metadata: &'static Metadata<'static>,
    trace: Option<(TraceId, SpanId)>,
    /// Where its fields are, each after a comma, and after them its message.
    from: usize,
    fields: usize,
    message: usize,
}

impl Line {
    const fn end(&self) -> usize {
        self.from + self.fields + self.message
    }
}

#[derive(Clone)]
struct Ring {
    bytes: Vec<u8>,
    /// Oldest first.
    lines: VecDeque<Line>,
    lines_max: usize,
}

/// Where a line is put together, before it is copied into the ring.
#[derive(Default)]
struct Draft {
    fields: Vec<u8>,
    message: Vec<u8>,
}

thread_local! {
    static DRAFT: RefCell<Draft> = RefCell::default();
}

/// The ring, shared.
#[derive(Clone)]
pub(crate) struct Recent {
    ring: Arc<Mutex<Ring>>,
    /// This process's, for each line.
    name: Arc<str>,
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

impl Recent {
    /// A ring of that many bytes.
    pub(crate) fn new(bytes: usize, name: &str) -> Self {
        let bytes = bytes.max(LINE_BYTES_MAX);
        let lines_max = bytes / LINE_BYTES;
        let ring = Ring { bytes: vec![0; bytes], lines: VecDeque::with_capacity(lines_max), lines_max };
        Self { ring: Arc::new(Mutex::new(ring)), name: name.into() }
    }

    fn keep(&self, event: &Event<'_>) {
        // Put together outside of the lock. A value whose `Debug` logs would find the buffers taken: its own line gets new ones.
        DRAFT.with(|draft| match draft.try_borrow_mut() {
            Ok(mut draft) => self.put(event, &mut draft),
            Err(_) => self.put(event, &mut Draft::default()),
        });
    }

    fn put(&self, event: &Event<'_>, draft: &mut Draft) {
        let metadata = event.metadata();
        let Draft { fields, message } = draft;
        fields.clear();
        message.clear();
        let callsite = callsite::of(metadata);
        event.record(&mut Kept { callsite: &callsite, fields, message });
        with_correlation(|id| {
            if !find(fields, br#","correlation_id":"#) {
                json::push_key(fields, "correlation_id");
                json::push_str(fields, id);
            }
        });
        if fields.len() + message.len() > LINE_BYTES_MAX {
            // Half a member is none.
            fields.clear();
        }
        message.truncate(LINE_BYTES_MAX - fields.len());
        let line = Line {
            at: SystemTime::now(),
            metadata,
            trace: current_ids(),
            from: 0,
            fields: fields.len(),
            message: message.len(),
        };
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(line, fields, message);
    }

    fn about(&self, id: &str) -> Vec<u8> {
        // Searched in a copy: those who write lines wait for no search.
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let quoted = format!("\"{id}\"");
        let mut traces: HashSet<String> = HashSet::new();
        for line in &ring.lines {
            let trace = ring.trace_of(line);
            if find(ring.fields(line), quoted.as_bytes()) || trace.as_deref() == Some(id) {
                traces.extend(trace);
            }
        }
        let mut out = Vec::new();
        for line in &ring.lines {
            let trace = ring.trace_of(line);
            if find(ring.fields(line), quoted.as_bytes()) || trace.is_some_and(|trace| traces.contains(&trace)) {
                ring.render(line, &self.name, &mut out);
            }
        }
        out
    }
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

impl Ring {
    fn push(&mut self, mut line: Line, fields: &[u8], message: &[u8]) {
        let head = self.lines.back().map_or(0, Line::end);
        line.from = head;
        if line.end() > self.bytes.len() {
            line.from = 0;
            // Those behind the head are the oldest.
            while self.lines.front().is_some_and(|first| first.from >= head) {
                self.lines.pop_front();
            }
        }
        let (from, to) = (line.from, line.end());
        while self.lines.len() == self.lines_max
            || self.lines.front().is_some_and(|first| first.from < to && from < first.end())
        {
            self.lines.pop_front();
        }
        self.bytes[from..from + line.fields].copy_from_slice(fields);
        self.bytes[from + line.fields..to].copy_from_slice(message);
        self.lines.push_back(line);
    }

    fn fields(&self, line: &Line) -> &[u8] {
        &self.bytes[line.from..line.from + line.fields]
    }

    /// As text: a message that was cut off may end in half a letter.
    fn message(&self, line: &Line) -> String {
        String::from_utf8_lossy(&self.bytes[line.from + line.fields..line.end()]).into_owned()
    }

    /// The trace it belongs to: that of its context, or one that it names itself.
    fn trace_of(&self, line: &Line) -> Option<String> {
        if let Some((trace, _)) = line.trace {
            return Some(trace.to_string());
        }
        let key = br#","trace_id":""#;
        let fields = self.fields(line);
        let at = fields.windows(key.len()).position(|window| window == key)? + key.len();
        String::from_utf8(fields.get(at..at + 32)?.to_vec()).ok()
    }

    fn render(&self, line: &Line, name: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"time":"#);
        json::push_display(out, &Timestamp::from(line.at));
        json::push_key(out, "name");
        json::push_str(out, name);
        out.extend_from_slice(&callsite::of(line.metadata).constant);
        json::push_key(out, "msg");
        json::push_str(out, &self.message(line));
        let fields = self.fields(line);
        if let Some((trace, span)) = line.trace
            && !find(fields, br#","trace_id":"#)
        {
            json::push_key(out, "trace_id");
            json::push_display(out, &trace);
            json::push_key(out, "span_id");
            json::push_display(out, &span);
        }
        out.extend_from_slice(fields);
        out.extend_from_slice(b"}\n");
    }
}

/// Copies an event's fields.
struct Kept<'a> {
    callsite: &'a Callsite,
    fields: &'a mut Vec<u8>,
    message: &'a mut Vec<u8>,
}

impl Kept<'_> {
    fn value(&mut self, field: &Field, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(key) = self.callsite.key(field) {
            self.fields.extend_from_slice(key);
            write(self.fields);
        }
    }
}

impl Visit for Kept<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, |out| drop(write!(out, "{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, |out| drop(write!(out, "{value}")));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, |out| json::push_f64(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, |out| drop(write!(out, "{value}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.callsite.is_message(field) {
            return self.message.extend_from_slice(value.as_bytes());
        }
        self.value(field, |out| json::push_str(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.callsite.is_message(field) {
            // Writing to a vector cannot fail.
            return drop(write!(self.message, "{value:?}"));
        }
        self.value(field, |out| json::push_debug(out, value));
    }
}

/// Keeps the lines.
pub(crate) struct RecentLayer(pub(crate) Recent);

/// What is kept: orders' stories, and what went wrong.
fn is_kept(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN || (*metadata.level() <= Level::INFO && metadata.target() == crate::STORY)
}

impl<S: Subscriber> Layer<S> for RecentLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if is_kept(event.metadata()) {
            self.0.keep(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Registry, layer::SubscriberExt as _};

    use super::*;

    fn lines(recent: &Recent, id: &str) -> Vec<serde_json::Value> {
        let text = String::from_utf8(recent.about(id)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn messages(recent: &Recent, id: &str) -> Vec<String> {
        lines(recent, id).iter().map(|line| line["msg"].as_str().unwrap().to_owned()).collect()
    }

    fn on(recent: &Recent, work: impl FnOnce()) {
        tracing::subscriber::with_default(Registry::default().with(RecentLayer(recent.clone())), work);
    }

    #[test]
    fn an_orders_lines_are_found_with_those_of_their_traces() {
        let recent = Recent::new(64 * 1024, "order-service");
        let trace = "0af7651916cd43dd8448eb211c80319c";
        on(&recent, || {
            tracing::info!(target: "story", trace_id = trace, order.id = "o-1", retry.attempt = 2, "step done");
            tracing::warn!(trace_id = trace, "of the same trace");
            tracing::info!(trace_id = trace, "not of a story");
            tracing::info!(target: "story", trace_id = "t-2", order.id = "o-12", "another order");
            tracing::info!(target: "story", { order.id = "o-1" }, "no \"trace\"");
            tracing::debug!(target: "story", { order.id = "o-1" }, "below the level");
        });
        assert_eq!(messages(&recent, "o-1"), ["step done", "of the same trace", "no \"trace\""]);
        assert_eq!(messages(&recent, trace), ["step done", "of the same trace"]);
        assert!(lines(&recent, "o-3").is_empty());
        let first = &lines(&recent, "o-1")[0];
        assert_eq!((&first["order_id"], &first["retry.attempt"]), (&"o-1".into(), &2.into()));
        assert_eq!((&first["name"], &first["log.level"]), (&"order-service".into(), &"INFO".into()));
        assert!(first["time"].as_str().unwrap().ends_with('Z'), "{first}");
    }

    #[test]
    fn the_ring_keeps_the_latest_whole_lines() {
        // Of lengths that do not fit its end evenly, and far more than fit.
        let recent = Recent::new(10_000, "x");
        for number in 0..1_000_usize {
            let text = "x".repeat(number * 7 % 901);
            on(&recent, || tracing::info!(target: "story", number, text, order.id = "o-1", "line"));
            let kept = lines(&recent, "o-1");
            let numbers: Vec<u64> = kept.iter().map(|line| line["number"].as_u64().unwrap()).collect();
            let (count, next) = (numbers.len() as u64, number as u64 + 1);
            assert!(count >= next.min(8), "{numbers:?}");
            assert_eq!(numbers, (next - count..next).collect::<Vec<_>>());
            for line in kept {
                assert_eq!(line["text"].as_str().unwrap().len() as u64, line["number"].as_u64().unwrap() * 7 % 901);
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_loses_its_fields() {
        let recent = Recent::new(64 * 1024, "x");
        let long = "ü".repeat(LINE_BYTES_MAX);
        on(&recent, || {
            tracing::warn!(trace_id = "t", long, "short message");
            tracing::warn!("{long} a long message");
        });
        let ring = recent.ring.lock().unwrap();
        let mut out = Vec::new();
        for line in &ring.lines {
            ring.render(line, "x", &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["msg"], "short message");
        assert!(lines[0]["long"].is_null() && lines[1]["msg"].as_str().unwrap().starts_with("üüü"));
    }
}
