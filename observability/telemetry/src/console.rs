//! Log lines on standard output or in a file, by way of a queue: a pipe that is not read, or a full disk, costs lines and never time.
//!
//! `tracing-bunyan-formatter` writes the JSON. Around it: spans' START and END lines are left out (two thirds of all lines,
//! and the traces have them), ids of trace and span are added to each line, and of two members of one name the first is
//! kept (the event's own; Elasticsearch refuses a line that has both).

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::fd::{AsFd as _, BorrowedFd},
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::{Layer, filter::FilterFn, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use crate::{
    BoxLayer, Config, InitError, LogFormat, LogTo, STORY, callsite, fields, json,
    sink::{Sink, SinkMeters},
};

/// The console's layers: none, one for people, or two for machines; and the queue they write to.
pub(crate) fn layers(config: &Config, meters: SinkMeters) -> Result<(Vec<BoxLayer>, Option<Sink>), InitError> {
    let (output, terminal) = match config.log {
        LogTo::Off => return Ok((Vec::new(), None)),
        LogTo::Stdout => (own(io::stdout().as_fd())?, io::stdout().is_terminal()),
        LogTo::Stderr => (own(io::stderr().as_fd())?, io::stderr().is_terminal()),
        // Opened for appending: each write lands whole at the end, whatever else is written there.
        LogTo::File => {
            let file = OpenOptions::new().create(true).append(true).open(&config.log_file).map_err(InitError::File)?;
            (file, false)
        }
    };
    let sink = Sink::start("log-console", Box::new(output), config.log_queue_max, meters)?;
    Ok((layers_to(config, terminal, &sink)?, Some(sink)))
}

/// A descriptor of our own for the same file. Through the standard library's handle, a write that does not return would keep the lock
/// that every other writer of this process waits for.
fn own(descriptor: BorrowedFd<'_>) -> Result<File, InitError> {
    descriptor.try_clone_to_owned().map(File::from).map_err(InitError::File)
}

/// The layers, on a queue that is there already.
pub(crate) fn layers_to(config: &Config, terminal: bool, sink: &Sink) -> Result<Vec<BoxLayer>, InitError> {
    let tells_stories = config.tells_stories();
    let people = match config.log_format {
        LogFormat::Pretty => true,
        LogFormat::Bunyan => false,
        LogFormat::Auto => terminal,
    };
    if people {
        let sink = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .compact()
            .with_ansi(terminal)
            // It would write to standard error, which may block.
            .log_internal_errors(false)
            .with_writer(move || Line(sink.clone()));
        let filter = FilterFn::new(move |metadata| tells_stories || !is_story(metadata));
        return Ok(vec![Box::new(layer.with_filter(filter))]);
    }
    let constant = [
        ("service_name", &config.service_name),
        ("service_version", &config.service_version),
        ("environment", &config.environment),
    ];
    let constant: HashMap<_, _> =
        constant.into_iter().map(|(key, value)| (key.to_owned(), value.as_str().into())).collect();
    let name = config.service_name.clone();
    // Said to OpenTelemetry; the rest of the line says it again.
    let formatter = BunyanFormattingLayer::with_default_fields(name, Completed(sink.clone()), constant)
        .skip_fields(["otel.name", "otel.kind", "otel.status_code"].into_iter())
        .map_err(|error| InitError::Console(error.into()))?;
    Ok(vec![Box::new(JsonStorageLayer), Box::new(EventsOnly { formatter, tells_stories })])
}

/// Takes one whole line per `write`, as the formatters hand them over.
struct Line(Sink);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of an order's story. What a human must see, the console has all the same.
fn is_story(metadata: &Metadata<'_>) -> bool {
    metadata.target() == STORY && *metadata.level() > Level::WARN
}

/// Hands events on, and nothing of spans.
struct EventsOnly<L> {
    formatter: L,
    tells_stories: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>, L: Layer<S>> Layer<S> for EventsOnly<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if self.tells_stories || !is_story(event.metadata()) {
            self.formatter.on_event(event, context);
        }
    }
}

/// Completes each line on its way out.
struct Completed(Sink);

impl<'a> MakeWriter<'a> for Completed {
    type Writer = CompletedLine;

    fn make_writer(&'a self) -> CompletedLine {
        CompletedLine(self.0.clone())
    }

    fn make_writer_for(&'a self, _: &Metadata<'_>) -> CompletedLine {
        self.make_writer()
    }
}

/// Takes one whole line per `write`, as the formatter hands it over.
struct CompletedLine(Sink);

impl Write for CompletedLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(complete(line).unwrap_or_else(|| line.to_vec()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line with ids, with names as records have them, and without second members of one name.
fn complete(line: &[u8]) -> Option<Vec<u8>> {
    let members = fields::members(line)?;
    let mut correlation = Vec::new();
    fields::with_correlation(|id| json::push_str(&mut correlation, id));
    let mut whole = Vec::with_capacity(line.len() + 160);
    whole.push(b'{');
    let mut kept: Vec<Cow<'_, [u8]>> = Vec::with_capacity(members.len() + 3);
    let ids = fields::current_ids().map(|(trace, span)| (format!("\"{trace}\""), format!("\"{span}\"")));
    let ids = ids
        .iter()
        .flat_map(|(trace, span)| [(&br#""trace_id""#[..], trace.as_bytes()), (br#""span_id""#, span.as_bytes())]);
    let correlation = (!correlation.is_empty()).then_some((&br#""correlation_id""#[..], &*correlation));
    // What the work at hand belongs to is last: a line about another piece of work names that.
    for (key, value) in ids.chain(members).chain(correlation) {
        let key = callsite::record_key(key);
        if kept.contains(&key) {
            continue;
        }
        if !kept.is_empty() {
            whole.push(b',');
        }
        whole.extend_from_slice(&key);
        whole.push(b':');
        whole.extend_from_slice(value);
        kept.push(key);
    }
    whole.extend_from_slice(b"}\n");
    Some(whole)
}
