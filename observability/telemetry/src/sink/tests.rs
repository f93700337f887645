//! Writers that block, refuse and recover.

use std::{
    io::{PipeReader, Read as _},
    sync::mpsc,
};

use tracing::Dispatch;
use tracing_subscriber::{Registry, layer::SubscriberExt as _};

use super::*;
use crate::{Config, LogFormat, console};

/// Long enough for any machine; only a failure waits for it.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A subscriber whose console is that sink.
fn subscriber(sink: &Sink) -> Dispatch {
    let config = Config { log_format: LogFormat::Pretty, ..Config::default() };
    let dispatch = Dispatch::new(Registry::default().with(console::layers_to(&config, false, sink).unwrap()));
    sink.tell_to(dispatch.downgrade());
    dispatch
}

/// Logs this number of lines, on a thread of its own: a caller that waits for the pipe would not return.
pub(crate) fn log_in_time(dispatch: &Dispatch, lines: u64, text: String) {
    let (dispatch, (done, logged)) = (dispatch.clone(), mpsc::channel());
    std::thread::spawn(move || {
        tracing::dispatcher::with_default(&dispatch, || {
            for _ in 0..lines {
                tracing::info!(text, "a line");
            }
        });
        let _ = done.send(());
    });
    logged.recv_timeout(Duration::from_mins(1)).expect("nobody waits for the pipe");
}

/// A sink on a pipe, its reader, and its counters.
fn on_a_pipe(lines_max: usize) -> (Sink, PipeReader, SinkMeters) {
    let (reader, writer) = io::pipe().unwrap();
    let meters = SinkMeters::default();
    (Sink::start("pipe", Box::new(writer), lines_max, meters.clone()).unwrap(), reader, meters)
}

#[test]
fn an_unread_pipe_costs_lines_and_they_are_told() {
    const LINES: u64 = 5_000;
    let (sink, mut reader, meters) = on_a_pipe(64);
    let dispatch = subscriber(&sink);
    let text = "x".repeat(1_000);
    log_in_time(&dispatch, LINES, text);
    assert!(meters.lines.get() >= LINES, "and perhaps lines that tell of the loss");
    // The pipe has taken 64 KiB, one batch of as much is stuck, and 64 lines wait.
    assert!(meters.dropped.get() >= LINES - 64 - 2 * 66, "{}", meters.dropped.get());
    assert!(!sink.flush(Instant::now()), "what is stuck is not taken for written");

    // The pipe is read: what waited arrives, the loss is told, and what follows is written again.
    let (send, text) = mpsc::channel();
    std::thread::spawn(move || {
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        let _ = send.send(read);
    });
    assert!(sink.flush(far()));
    tracing::dispatcher::with_default(&dispatch, || tracing::info!("after"));
    assert!(sink.flush(far()));
    drop((dispatch, sink));
    let text = text.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(text.contains("log lines were dropped") && text.contains("after"), "{}", &text[text.len() - 500..]);
}

#[test]
fn a_closed_pipe_costs_lines_and_nothing_else() {
    let (sink, reader, meters) = on_a_pipe(1_000);
    let dispatch = subscriber(&sink);
    drop(reader);
    tracing::dispatcher::with_default(&dispatch, || {
        for _ in 0..100 {
            tracing::info!("a line");
        }
    });
    assert!(sink.flush(far()), "what is refused is not waited for");
    assert!(meters.dropped.get() >= 100, "{}", meters.dropped.get());
    // That lines are refused is itself a line here, once; not once for each.
    assert!(meters.lines.get() <= 102, "{}", meters.lines.get());
}

#[test]
fn more_bytes_than_may_wait_are_dropped() {
    let (sink, _reader, meters) = on_a_pipe(1_000);
    for _ in 0..40 {
        sink.send(vec![b'x'; 1024 * 1024]);
    }
    assert!(meters.dropped.get() >= 24, "{}", meters.dropped.get());
}

/// Takes this number of bytes, then has no space left, then takes everything.
struct FillsUp {
    room: usize,
    refusals: u32,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for FillsUp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 && self.refusals > 0 {
            self.refusals -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = if self.refusals > 0 { bytes.len().min(self.room) } else { bytes.len() };
        self.room = self.room.saturating_sub(count);
        self.taken.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_cut_off_by_a_full_disk_does_not_spoil_the_next() {
    let (taken, meters) = (Arc::new(Mutex::new(Vec::new())), SinkMeters::default());
    let writer = FillsUp { room: 10, refusals: 1, taken: Arc::clone(&taken) };
    let sink = Sink::start("disk", Box::new(writer), 10, meters.clone()).unwrap();
    for line in ["whole\n", "cut off\n", "after\n"] {
        sink.send(line.as_bytes().to_vec());
        assert!(sink.flush(far()));
    }
    assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), "whole\ncut \nafter\n");
    assert_eq!((meters.lines.get(), meters.dropped.get()), (3, 1));
}

/// Takes nothing until it is let go, and then everything.
struct LetGo(mpsc::Receiver<()>);

impl Write for LetGo {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails once the other end is gone.
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_queue_is_written_within_the_end_of_a_process() {
    let (let_go, held) = mpsc::channel();
    let meters = SinkMeters::default();
    let sink = Sink::start("slow", Box::new(LetGo(held)), 8192, meters.clone()).unwrap();
    for _ in 0..8000 {
        sink.send(vec![b'x'; 2000]);
    }
    drop(let_go);
    assert!(sink.flush(Instant::now() + crate::FLUSH_MAX), "the writer waits for more where much is waiting");
    assert_eq!(meters.dropped.get(), 0);
}
