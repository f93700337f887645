//! Sends log lines over TCP from a bounded queue, on a thread of its own.
//!
//! Logging never waits: a line that does not fit is dropped and counted. A batch that could not be sent is sent again
//! on the next connection, so that a restart of Logstash loses nothing that still fits the queue.

use std::{
    io::{self, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use crate::{InitError, Meters};

/// A batch is sent when it has this many bytes, or when nothing more waits.
const BATCH_BYTES: usize = 128 * 1024;
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A sink that takes nothing for this long is given up, and found again or not.
const WRITE_MAX: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// For how long connections are still tried at the end of the process. The process itself waits no longer than `crate::FLUSH_MAX`: a
/// connection that is being made, a write or a name that is being resolved may take seconds.
const FLUSH_MAX: Duration = Duration::from_millis(250);
/// How often the thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Hands lines over.
#[derive(Clone)]
pub(crate) struct Sender {
    queue: SyncSender<Vec<u8>>,
    meters: Meters,
}

impl Sender {
    /// Hands over a line, or drops it. Never waits.
    pub(crate) fn send(&self, line: Vec<u8>) {
        self.meters.lines.inc();
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(line) {
            self.meters.dropped.inc();
        }
    }
}

/// The thread that sends.
#[derive(Debug)]
pub(crate) struct Shipper {
    queue: SyncSender<Vec<u8>>,
    meters: Meters,
    ending: Arc<AtomicBool>,
    /// Disconnected when the thread has ended.
    alive: Receiver<()>,
}

impl Shipper {
    /// Starts it. The sink need not be there yet.
    pub(crate) fn start(address: &str, queue_max: usize, meters: Meters) -> Result<Self, InitError> {
        let (queue, lines) = sync_channel(queue_max);
        let ending = Arc::new(AtomicBool::new(false));
        let work = Work {
            address: address.to_owned(),
            lines,
            meters: meters.clone(),
            ending: Arc::clone(&ending),
            connection: None,
            backoff: BACKOFF_MIN,
            end: None,
        };
        let (lives, alive) = sync_channel(0);
        std::thread::Builder::new()
            .name("log-shipper".to_owned())
            .spawn(move || {
                work.run();
                drop(lives);
            })
            .map_err(InitError::Thread)?;
        Ok(Self { queue, meters, ending, alive })
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender { queue: self.queue.clone(), meters: self.meters.clone() }
    }

    /// Has what is waiting sent, and the thread end.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Waits until the thread has ended, at most until `deadline`. It may sit in a write that does not return: then it is left behind.
    pub(crate) fn ended(&self, deadline: Instant) {
        let _timeout = self.alive.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

struct Work {
    address: String,
    lines: Receiver<Vec<u8>>,
    meters: Meters,
    ending: Arc<AtomicBool>,
    connection: Option<TcpStream>,
    backoff: Duration,
    /// When to stop trying, once the process ends.
    end: Option<Instant>,
}

impl Work {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_BYTES + 4096);
        loop {
            let count = self.collect(&mut batch);
            if count == 0 && self.ending.load(Ordering::Acquire) {
                return;
            }
            if count > 0 && !self.deliver(&batch) {
                self.meters.dropped.inc_by(count);
                let left = self.lines.try_iter().count();
                self.meters.dropped.inc_by(u64::try_from(left).unwrap_or(u64::MAX));
                return;
            }
            batch.clear();
        }
    }

    /// Fills the batch with what waits; waits itself for the first line. How many lines it has.
    fn collect(&mut self, batch: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        match self.lines.recv_timeout(LOOK) {
            Ok(line) => {
                batch.extend_from_slice(&line);
                count += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            // All senders are gone.
            Err(RecvTimeoutError::Disconnected) => self.ending.store(true, Ordering::Release),
        }
        while batch.len() < BATCH_BYTES
            && let Ok(line) = self.lines.try_recv()
        {
            batch.extend_from_slice(&line);
            count += 1;
        }
        count
    }

    /// Sends the batch, on as many connections as it takes. `false` when the process ends first.
    fn deliver(&mut self, batch: &[u8]) -> bool {
        loop {
            if self.connected().and_then(|mut stream| stream.write_all(batch)).is_ok() {
                self.backoff = BACKOFF_MIN;
                return true;
            }
            self.connection = None;
            self.meters.connected.set(0);
            if !self.pause() {
                return false;
            }
        }
    }

    fn connected(&mut self) -> io::Result<&TcpStream> {
        if self.connection.as_ref().is_some_and(has_ended) {
            self.connection = None;
        }
        if self.connection.is_none() {
            let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
            for address in self.address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECT_MAX) {
                    Ok(stream) => {
                        stream.set_write_timeout(Some(WRITE_MAX))?;
                        self.meters.connected.set(1);
                        self.connection = Some(stream);
                        break;
                    }
                    Err(error) => last = error,
                }
            }
            if self.connection.is_none() {
                return Err(last);
            }
        }
        self.connection.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Waits before the next connection. `false` when the process ends and the time for flushing is up.
    fn pause(&mut self) -> bool {
        let until = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        while Instant::now() < until {
            std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            if self.ending.load(Ordering::Acquire) {
                // No time for a pause: try at once, until the time is up.
                let end = *self.end.get_or_insert_with(|| Instant::now() + FLUSH_MAX);
                return Instant::now() < end;
            }
        }
        true
    }
}

/// Whether the other side has closed. A write would not tell: it succeeds once more, into nothing.
fn has_ended(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let ended = match stream.peek(&mut [0]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).is_err() || ended
}
