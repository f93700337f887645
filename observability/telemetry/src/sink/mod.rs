//! A bounded queue before a writer that may block for ever, fail, or be slow: a pipe that is not read, a full disk, a terminal that is gone.
//!
//! Callers hand lines over and never wait. A thread writes them; what does not fit the queue, and what the writer refuses, is dropped,
//! counted, and told once the writer takes lines again. That thread is never joined: it may sit in a `write` that does not return, and
//! the end of the process must not wait for that.
//!
//! Must not know: what a line looks like.

use std::{
    io::{self, Write},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tracing::dispatcher::WeakDispatch;

use crate::InitError;

/// Lines that wait are written together, up to this many bytes: one system call for all of them.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes that wait at most, whatever the number of lines: what a stuck writer may cost this process in memory.
const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the writer waits for more lines after the first, unless more than a batch waited already: a request's lines, and those of its
/// neighbours, then cost one wake-up and one system call. A process that is killed loses as much.
const GATHER: Duration = Duration::from_millis(2);
/// A terminal that another program has made non-blocking is asked again after this.
const PAUSE_WHEN_FULL: Duration = Duration::from_millis(20);
/// Losses are told this often at most, so that a slow writer is not kept busy with what it has lost.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What became of lines.
#[derive(Debug, Clone, Default)]
pub struct SinkMeters {
    /// Lines handed over.
    pub lines: Counter,
    /// Lines dropped: the queue was full, or the writer refused them.
    pub dropped: Counter,
}

#[derive(Default)]
struct Shared {
    meters: SinkMeters,
    /// Bytes in the queue and in the batch that is being written.
    bytes: AtomicUsize,
    /// Lines that the queue took.
    accepted: AtomicU64,
    /// Lines that were dropped and of which the log does not tell yet.
    untold: AtomicU64,
    /// How many of the accepted lines were written, or refused by the writer.
    settled: Mutex<u64>,
    changed: Condvar,
    /// Where losses are told; nowhere until it is set.
    teller: OnceLock<WeakDispatch>,
}

/// Hands lines over. Clones share the queue; the thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Sink {
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Sink {
    /// Starts the thread `name`, which writes to `writer`. `lines_max` lines wait at most.
    pub(crate) fn start(
        name: &'static str,
        writer: Box<dyn Write + Send>,
        lines_max: usize,
        meters: SinkMeters,
    ) -> Result<Self, InitError> {
        let (queue, lines) = sync_channel(lines_max);
        let shared = Arc::new(Shared { meters, ..Shared::default() });
        let work = Work { name, writer, lines, shared: Arc::clone(&shared), torn: false, failing: false, told: None };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || work.run()).map_err(InitError::Thread)?;
        Ok(Self { queue, shared })
    }

    /// Tells losses to that subscriber from now on.
    pub(crate) fn tell_to(&self, dispatch: WeakDispatch) {
        // Only the first one counts; a sink belongs to one subscriber.
        let _ = self.shared.teller.set(dispatch);
    }

    /// Hands over whole lines, or drops them. Never waits.
    pub(crate) fn send(&self, line: Vec<u8>) {
        let shared = &self.shared;
        shared.meters.lines.inc();
        let length = line.len();
        let fits = shared.bytes.fetch_add(length, Ordering::Relaxed).saturating_add(length) <= QUEUE_BYTES_MAX;
        // Counted before it is sent: a flush that begins after this call must wait for this line.
        shared.accepted.fetch_add(1, Ordering::AcqRel);
        let taken =
            fits && !matches!(self.queue.try_send(line), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)));
        if !taken {
            shared.bytes.fetch_sub(length, Ordering::Relaxed);
            shared.lose(1);
            shared.settle(1);
        }
    }

    /// Waits until everything handed over so far is written or lost, at most until `deadline`. Whether it is.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        let target = self.shared.accepted.load(Ordering::Acquire);
        let mut settled = self.shared.settled.lock().unwrap_or_else(PoisonError::into_inner);
        while *settled < target {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(settled, left);
            settled = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("bytes", &self.shared.bytes.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

impl Shared {
    fn lose(&self, lines: u64) {
        self.meters.dropped.inc_by(lines);
        self.untold.fetch_add(lines, Ordering::Relaxed);
    }

    fn settle(&self, lines: u64) {
        *self.settled.lock().unwrap_or_else(PoisonError::into_inner) += lines;
        self.changed.notify_all();
    }
}

struct Work {
    name: &'static str,
    writer: Box<dyn Write + Send>,
    lines: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    /// The writer has refused the rest of a line.
    torn: bool,
    /// The last write was refused.
    failing: bool,
    /// When losses were told last.
    told: Option<Instant>,
}

impl Work {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_BYTES);
        let mut ends = Vec::new();
        let mut is_last = true;
        // Ends when no sender is left.
        while let Ok(first) = self.lines.recv() {
            if is_last {
                std::thread::sleep(GATHER);
            }
            batch.clear();
            ends.clear();
            if self.torn {
                // What follows a line that was cut off must not be read as its rest.
                batch.push(b'\n');
            }
            let prefix = batch.len();
            batch.extend_from_slice(&first);
            ends.push(batch.len());
            is_last = false;
            while batch.len() < BATCH_BYTES && !is_last {
                match self.lines.try_recv() {
                    Ok(line) => {
                        batch.extend_from_slice(&line);
                        ends.push(batch.len());
                    }
                    Err(_) => is_last = true,
                }
            }
            let (written, refused) = self.write(&batch);
            let lost = ends.iter().filter(|end| **end > written).count();
            if written > 0 {
                self.torn = written > prefix && !ends.contains(&written);
            }
            self.shared.bytes.fetch_sub(batch.len() - prefix, Ordering::Relaxed);
            self.shared.lose(u64::try_from(lost).unwrap_or(u64::MAX));
            self.report(refused, is_last);
            self.shared.settle(u64::try_from(ends.len()).unwrap_or(u64::MAX));
        }
    }

    /// Writes as much as the writer takes: how many bytes, and why not all.
    fn write(&mut self, batch: &[u8]) -> (usize, Option<io::Error>) {
        let mut written = 0;
        while written < batch.len() {
            match self.writer.write(&batch[written..]) {
                Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE_WHEN_FULL),
                Err(error) => return (written, Some(error)),
            }
        }
        (written, self.writer.flush().err())
    }

    /// Says that the writer refuses lines, once; and how many were lost, once it takes them again and has written `all` that waited.
    fn report(&mut self, refused: Option<io::Error>, all: bool) {
        if let Some(error) = refused {
            if !std::mem::replace(&mut self.failing, true) {
                // This line is for other sinks: this one is likely to refuse it.
                self.tell(|name| tracing::warn!(sink = name, %error, "log lines are refused"));
            }
            return;
        }
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) || self.failing;
        let lines = self.shared.untold.load(Ordering::Relaxed);
        if is_due && all && lines > 0 {
            self.tell(|name| tracing::warn!(sink = name, lines, "log lines were dropped"));
            // What is lost meanwhile may be this very line: then it is told again.
            if self.shared.untold.load(Ordering::Relaxed) == lines {
                self.shared.untold.fetch_sub(lines, Ordering::Relaxed);
                self.told = Some(Instant::now());
            }
        }
        self.failing &= !all;
    }

    fn tell(&self, event: impl FnOnce(&'static str)) {
        if let Some(dispatch) = self.shared.teller.get().and_then(WeakDispatch::upgrade) {
            tracing::dispatcher::with_default(&dispatch, || event(self.name));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
