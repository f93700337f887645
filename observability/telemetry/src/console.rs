//! Log lines on standard output or in a file.
//!
//! `tracing-bunyan-formatter` writes the JSON. Around it: spans' START and END lines are left out (two thirds of all lines,
//! and the traces have them), ids of trace and span are added to each line, and of two members of one name the first is
//! kept (the event's own; Elasticsearch refuses a line that has both).

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    sync::Arc,
};

use tracing::{Event, Metadata, Subscriber};
use tracing_bunyan_formatter::{BunyanFormattingLayer, JsonStorageLayer};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use crate::{BoxLayer, Config, InitError, LogFormat, LogTo, fields};

/// Where lines go.
#[derive(Clone)]
enum Output {
    Stdout,
    Stderr,
    File(Arc<File>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().lock().write(bytes),
            Self::Stderr => io::stderr().lock().write(bytes),
            // Opened for appending: each write lands whole at the end, whoever else writes there.
            Self::File(file) => (&**file).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().lock().flush(),
            Self::Stderr => io::stderr().lock().flush(),
            Self::File(file) => (&**file).flush(),
        }
    }
}

/// The console's layers: none, one for people, or two for machines.
pub(crate) fn layers(config: &Config) -> Result<Vec<BoxLayer>, InitError> {
    let (output, terminal) = match config.log {
        LogTo::Off => return Ok(Vec::new()),
        LogTo::Stdout => (Output::Stdout, io::stdout().is_terminal()),
        LogTo::Stderr => (Output::Stderr, io::stderr().is_terminal()),
        LogTo::File => {
            let file = OpenOptions::new().create(true).append(true).open(&config.log_file).map_err(InitError::File)?;
            (Output::File(Arc::new(file)), false)
        }
    };
    let people = match config.log_format {
        LogFormat::Pretty => true,
        LogFormat::Bunyan => false,
        LogFormat::Auto => terminal,
    };
    if people {
        let layer = tracing_subscriber::fmt::layer().compact().with_ansi(terminal).with_writer(move || output.clone());
        return Ok(vec![Box::new(layer)]);
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
    let formatter = BunyanFormattingLayer::with_default_fields(name, Completed(output), constant)
        .skip_fields(["otel.name", "otel.kind", "otel.status_code"].into_iter())
        .map_err(|error| InitError::Console(error.into()))?;
    Ok(vec![Box::new(JsonStorageLayer), Box::new(EventsOnly(formatter))])
}

/// Hands events on, and nothing of spans.
struct EventsOnly<L>(L);

impl<S: Subscriber + for<'a> LookupSpan<'a>, L: Layer<S>> Layer<S> for EventsOnly<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.0.on_event(event, context);
    }
}

/// Completes each line on its way out.
struct Completed(Output);

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
struct CompletedLine(Output);

impl Write for CompletedLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match complete(line) {
            Some(whole) => self.0.write_all(&whole)?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line with ids, and without second members of one name.
fn complete(line: &[u8]) -> Option<Vec<u8>> {
    let members = fields::members(line)?;
    let mut whole = Vec::with_capacity(line.len() + 100);
    whole.push(b'{');
    let mut kept: Vec<&[u8]> = Vec::with_capacity(members.len() + 2);
    let ids = fields::current_ids().map(|(trace, span)| (format!("\"{trace}\""), format!("\"{span}\"")));
    let ids = ids
        .iter()
        .flat_map(|(trace, span)| [(&br#""trace_id""#[..], trace.as_bytes()), (br#""span_id""#, span.as_bytes())]);
    for (key, value) in ids.chain(members) {
        if kept.contains(&key) {
            continue;
        }
        if !kept.is_empty() {
            whole.push(b',');
        }
        kept.push(key);
        whole.extend_from_slice(key);
        whole.push(b':');
        whole.extend_from_slice(value);
    }
    whole.extend_from_slice(b"}\n");
    Some(whole)
}
