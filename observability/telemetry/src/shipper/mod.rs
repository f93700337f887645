//! Sends log lines over TCP, or TLS over TCP, from a bounded queue, on a thread of its own.
//!
//! Logging never waits: a line that does not fit is dropped and counted. Every line ends as delivered or as lost, and is counted there.
//!
//! The protocol has no answers, so a line counts as delivered when the sink's machine has acknowledged it and the connection has lived
//! [`SETTLED_AFTER`] longer, or was closed by the sink in order. Until then it is kept, and sent again on the next connection: a sink that
//! is killed loses what it had read nothing of, and may be sent twice what it had just read. What is not exact: lines that the sink's
//! machine has acknowledged long ago and a sink that was stuck has never read are counted as delivered, as many as fit its receive buffer.
//!
//! Must not know: what a line looks like.

mod wire;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use self::wire::{Ended, Wire};
use crate::{InitError, outq::SendQueues};

pub(crate) use wire::Sink;

/// A batch is sent when it has this many bytes, or when nothing more waits.
const BATCH_BYTES: usize = 128 * 1024;
/// How long more lines are waited for after the first: a request's lines, and those of its neighbours, then cost one wake-up and one
/// system call.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that are kept until they are delivered. More than the buffers of a connection hold; when it is full, the queue fills.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a connection lives after an acknowledgement before what was acknowledged counts as read. A sink that is well reads within
/// milliseconds.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// A sink that takes nothing for this long is given up, and found again or not.
const WRITE_MAX: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// For how long lines are still sent at the end of the process. The process itself waits no longer than `crate::FLUSH_MAX`: a connection
/// that is being made or a name that is being resolved may take seconds.
const FLUSH_MAX: Duration = Duration::from_millis(250);
/// How often the thread looks what became of lines on their way.
const LOOK: Duration = Duration::from_millis(50);
/// The same at the end of the process.
const LAST_LOOK: Duration = Duration::from_millis(5);
/// How often it looks whether the sink is there, when there is nothing to send.
const IDLE: Duration = Duration::from_secs(1);

/// Why a line was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LossLabels {
    /// `queue_full`; `unacknowledged`: the process ended before the sink had taken what it was sent; `end_of_process`: before it was sent.
    pub reason: &'static str,
}

const REASONS: [LossLabels; 3] = [QUEUE_FULL, UNACKNOWLEDGED, END_OF_PROCESS];
const QUEUE_FULL: LossLabels = LossLabels { reason: "queue_full" };
const UNACKNOWLEDGED: LossLabels = LossLabels { reason: "unacknowledged" };
const END_OF_PROCESS: LossLabels = LossLabels { reason: "end_of_process" };

/// What became of lines. Once the process has ended, `lines` is `delivered` and all of `dropped` together.
#[derive(Debug, Clone, Default)]
pub struct ShipperMeters {
    /// Lines handed over.
    pub lines: Counter,
    /// Lines that the sink has.
    pub delivered: Counter,
    /// Lines that were sent again because a connection broke; the sink may have some of them twice.
    pub repeated: Counter,
    /// Lines lost, by reason.
    pub dropped: Family<LossLabels, Counter>,
    /// 1 while there is a connection.
    pub connected: Gauge,
}

impl ShipperMeters {
    /// All reasons, at 0: a rate needs a value from before the first loss.
    pub(crate) fn begin(&self) {
        for why in &REASONS {
            self.lose(0, why);
        }
    }

    fn lose(&self, lines: u64, why: &LossLabels) {
        self.dropped.get_or_create(why).inc_by(lines);
    }

    /// Lines lost, whatever for.
    pub fn dropped_in_all(&self) -> u64 {
        REASONS.iter().map(|why| self.dropped.get_or_create(why).get()).sum()
    }
}

/// What the threads share.
#[derive(Debug, Default)]
struct Flags {
    /// What waits is to be sent, and the thread to end.
    ending: AtomicBool,
    /// Nothing is taken any more.
    closed: AtomicBool,
}

/// Hands lines over.
#[derive(Clone)]
pub(crate) struct Sender {
    queue: SyncSender<Box<[u8]>>,
    meters: ShipperMeters,
    flags: Arc<Flags>,
}

impl Sender {
    /// Hands over a line, or drops it. Never waits.
    pub(crate) fn send(&self, line: Box<[u8]>) {
        self.meters.lines.inc();
        if self.flags.closed.load(Ordering::Acquire) {
            return self.meters.lose(1, &END_OF_PROCESS);
        }
        match self.queue.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.meters.lose(1, &QUEUE_FULL),
            Err(TrySendError::Disconnected(_)) => self.meters.lose(1, &END_OF_PROCESS),
        }
    }
}

/// The thread that sends.
#[derive(Debug)]
pub(crate) struct Shipper {
    queue: SyncSender<Box<[u8]>>,
    meters: ShipperMeters,
    flags: Arc<Flags>,
    /// Disconnected when the thread has ended.
    alive: Receiver<()>,
}

impl Shipper {
    /// Starts it. The sink need not be there yet.
    pub(crate) fn start(sink: Sink, queue_max: usize, meters: ShipperMeters) -> Result<Self, InitError> {
        let (queue, lines) = sync_channel(queue_max);
        let flags = Arc::new(Flags::default());
        let work = Work {
            sink,
            lines,
            meters: meters.clone(),
            flags: Arc::clone(&flags),
            // Without it, what was written counts as acknowledged.
            queues: SendQueues::open().ok(),
            connection: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            sent: 0,
            at: 0,
            acknowledged: 0,
            moved: Instant::now(),
            backoff: BACKOFF_MIN,
            not_before: Instant::now(),
        };
        let (lives, alive) = sync_channel(0);
        std::thread::Builder::new()
            .name("log-shipper".to_owned())
            .spawn(move || {
                work.run();
                drop(lives);
            })
            .map_err(InitError::Thread)?;
        Ok(Self { queue, meters, flags, alive })
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender { queue: self.queue.clone(), meters: self.meters.clone(), flags: Arc::clone(&self.flags) }
    }

    /// Has what is waiting sent, and the thread end.
    pub(crate) fn end(&self) {
        self.flags.ending.store(true, Ordering::Release);
        // No line, only to wake it. Where the queue is full it is awake.
        let _full = self.queue.try_send(Box::default());
    }

    /// Waits until the thread has ended, at most until `deadline`. It may be making a connection: then it is left behind.
    pub(crate) fn ended(&self, deadline: Instant) {
        let _timeout = self.alive.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Lines that are sent together, kept until they are delivered.
struct Chunk {
    lines: u64,
    bytes: Vec<u8>,
    /// How much of the connection's stream was written when it had all of these.
    end: u64,
    /// Since when the sink's machine is known to have it.
    acknowledged: Option<Instant>,
}

struct Work {
    sink: Sink,
    lines: Receiver<Box<[u8]>>,
    meters: ShipperMeters,
    flags: Arc<Flags>,
    queues: Option<SendQueues>,
    connection: Option<Wire>,
    /// What is not delivered yet, in order.
    kept: VecDeque<Chunk>,
    kept_bytes: usize,
    /// How many chunks are written to this connection, and how much of the next.
    sent: usize,
    at: usize,
    /// How much of the connection's stream the other side had acknowledged when it was last asked.
    acknowledged: u64,
    /// When that moved last, or there was nothing to acknowledge.
    moved: Instant,
    backoff: Duration,
    /// When the next connection may be tried.
    not_before: Instant,
}

impl Work {
    fn run(mut self) {
        let mut end = None;
        loop {
            let is_ending = self.flags.ending.load(Ordering::Acquire);
            if is_ending && end.is_none() {
                end = Some(Instant::now() + FLUSH_MAX);
                // No time for a pause: try at once.
                (self.backoff, self.not_before) = (LAST_LOOK, Instant::now());
            }
            let is_empty = self.collect(is_ending);
            self.send();
            self.settle(is_ending);
            let is_done = is_empty && self.kept.is_empty();
            if end.is_some_and(|end| is_done || end <= Instant::now()) {
                return self.give_up();
            }
        }
    }

    /// Takes what waits; waits itself for the first line. Whether nothing is left.
    fn collect(&mut self, is_ending: bool) -> bool {
        let wait = if is_ending {
            LAST_LOOK
        } else if self.kept.is_empty() {
            IDLE
        } else {
            LOOK
        };
        if self.kept_bytes > KEPT_BYTES_MAX {
            std::thread::sleep(wait);
            return false;
        }
        let first = match self.lines.recv_timeout(wait) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return true,
            // All senders are gone.
            Err(RecvTimeoutError::Disconnected) => {
                self.flags.ending.store(true, Ordering::Release);
                return true;
            }
        };
        if !is_ending {
            std::thread::sleep(GATHER);
        }
        let mut chunk = Chunk { lines: 0, bytes: Vec::new(), end: 0, acknowledged: None };
        let mut add = |line: Box<[u8]>| {
            chunk.lines += u64::from(!line.is_empty());
            chunk.bytes.extend_from_slice(&line);
            chunk.bytes.len() < BATCH_BYTES
        };
        let mut has_room = add(first);
        let mut is_empty = false;
        while has_room && !is_empty {
            match self.lines.try_recv() {
                Ok(line) => has_room = add(line),
                Err(_) => is_empty = true,
            }
        }
        if chunk.lines > 0 {
            self.kept_bytes += chunk.bytes.len();
            self.kept.push_back(chunk);
        }
        is_empty
    }

    /// Writes what the connection takes; makes the connection where there is none.
    fn send(&mut self) {
        if let Some(ended) = self.connection.as_mut().and_then(Wire::has_ended) {
            self.lose_connection(ended);
        }
        while self.sent < self.kept.len() {
            match self.write() {
                Ok(()) => {}
                // Asked again when the loop comes back here: the process may be ending.
                Err(error) if is_later(&error) && self.moved.elapsed() < WRITE_MAX => return,
                Err(error) => {
                    let ended = if is_later(&error) { Ended::Stalled } else { Ended::Broken };
                    return self.lose_connection(ended);
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.connection.is_none() {
            if Instant::now() < self.not_before {
                // The pause after a failure: lines wait in the queue.
                std::thread::sleep(LAST_LOOK);
                self.moved = Instant::now();
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.connection = Some(self.sink.connect()?);
            self.meters.connected.set(1);
            (self.acknowledged, self.moved) = (0, Instant::now());
        }
        let (Some(wire), Some(chunk)) = (&mut self.connection, self.kept.get_mut(self.sent)) else { return Ok(()) };
        if self.at < chunk.bytes.len() {
            self.at += wire.write(&chunk.bytes[self.at..])?;
            self.moved = Instant::now();
            return Ok(());
        }
        wire.flush()?;
        (chunk.end, chunk.acknowledged) = (wire.written(), None);
        (self.sent, self.at) = (self.sent + 1, 0);
        self.backoff = BACKOFF_MIN;
        Ok(())
    }

    /// Asks what the sink's machine has acknowledged, and lets go of what is delivered.
    fn settle(&mut self, is_ending: bool) {
        let Some(wire) = &self.connection else { return };
        let now = Instant::now();
        let waiting = match &self.queues {
            // A connection that is gone tells nothing: the next write finds that out.
            Some(queues) => queues.of(wire.stream()).ok(),
            None => Some(0),
        };
        let Some(waiting) = waiting else { return };
        let acknowledged = wire.written().saturating_sub(waiting);
        if acknowledged > self.acknowledged || waiting == 0 {
            (self.acknowledged, self.moved) = (acknowledged, now);
        }
        for chunk in self.kept.iter_mut().take(self.sent).filter(|chunk| chunk.end <= acknowledged) {
            chunk.acknowledged.get_or_insert(now);
        }
        if is_ending {
            // No time to see whether the connection lives on: a sink that has taken everything is well.
            if waiting == 0 {
                self.deliver(|_| true);
            }
        } else if now.duration_since(self.moved) < SETTLED_AFTER {
            self.deliver(|since| now.duration_since(since) >= SETTLED_AFTER);
        }
    }

    /// Lets go of chunks from the first on, as long as they are acknowledged and `is_settled`.
    fn deliver(&mut self, is_settled: impl Fn(Instant) -> bool) {
        while self.sent > 0
            && self.kept.front().and_then(|chunk| chunk.acknowledged).is_some_and(&is_settled)
            && let Some(chunk) = self.kept.pop_front()
        {
            self.sent -= 1;
            self.kept_bytes -= chunk.bytes.len();
            self.meters.delivered.inc_by(chunk.lines);
        }
    }

    fn lose_connection(&mut self, ended: Ended) {
        if ended == Ended::InOrder {
            // It has read what its machine had acknowledged: with anything unread it would have been reset.
            self.settle(false);
            self.deliver(|_| true);
        }
        if let Some(wire) = self.connection.take() {
            self.meters.connected.set(0);
            if ended == Ended::Stalled {
                wire.abort();
            }
        }
        let repeated = self.sent + usize::from(self.at > 0);
        self.meters.repeated.inc_by(self.kept.iter().take(repeated).map(|chunk| chunk.lines).sum());
        for chunk in self.kept.iter_mut().take(repeated) {
            (chunk.end, chunk.acknowledged) = (0, None);
        }
        (self.sent, self.at) = (0, 0);
        self.not_before = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// The process ends: counts what was not delivered, and sees to it that it does not arrive after all.
    fn give_up(mut self) {
        self.flags.closed.store(true, Ordering::Release);
        if self.moved.elapsed() < FLUSH_MAX / 2 {
            // It is still taking lines: what it has acknowledged, it has.
            self.deliver(|_| true);
        }
        let written = self.sent + usize::from(self.at > 0);
        let (mut unacknowledged, mut unsent) = (0, 0);
        for (at, chunk) in self.kept.iter().enumerate() {
            *(if at < written { &mut unacknowledged } else { &mut unsent }) += chunk.lines;
        }
        if unacknowledged > 0
            && let Some(wire) = self.connection.take()
        {
            wire.abort();
        }
        self.meters.lose(unacknowledged, &UNACKNOWLEDGED);
        // Those who were handing over a line when the queue was closed have done so after this.
        std::thread::sleep(LAST_LOOK);
        unsent += self.lines.try_iter().filter(|line| !line.is_empty()).map(|_| 1).sum::<u64>();
        self.meters.lose(unsent, &END_OF_PROCESS);
        self.meters.connected.set(0);
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
