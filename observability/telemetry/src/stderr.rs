//! Standard error, for what is not a log line: a greeting, the reason why a program ends, a panic where there is no log.
//!
//! Standard error may be a pipe that is not read, or a terminal that is gone. Writing to it directly would hold the caller, and with it
//! the lock that every other writer needs. So lines go through a queue here too.

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::sink::{Sink, SinkMeters};

/// Lines that wait: these are few, and a person reads them.
const LINES_MAX: usize = 256;
/// A terminal takes a line in microseconds. What takes longer does not take it at all.
const PATIENCE: Duration = Duration::from_millis(250);

/// Writes a line to standard error, waiting a quarter of a second at most. What cannot be written is lost.
pub fn tell(line: &str) {
    if let Some(sink) = sink() {
        sink.send(format!("{line}\n").into_bytes());
        sink.flush(Instant::now() + PATIENCE);
    }
}

/// As [`tell`], without waiting at all: for code that must go on.
pub(crate) fn tell_later(line: &str) {
    if let Some(sink) = sink() {
        sink.send(format!("{line}\n").into_bytes());
    }
}

fn sink() -> Option<&'static Sink> {
    static SINK: OnceLock<Option<Sink>> = OnceLock::new();
    SINK.get_or_init(|| {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
        // Without a descriptor or a thread to spare, the failure cannot be reported either.
        Sink::start("stderr", Box::new(stderr), LINES_MAX, SinkMeters::default()).ok()
    })
    .as_ref()
}
