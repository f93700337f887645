//! What signals mean to our programs: some stop them in an orderly way, the others are noted, and none kills them undrained.
//!
//! By default each signal listed here ends a process at once, with its work half done: a terminal that closes (SIGHUP), a habit from
//! other daemons (SIGUSR1), a file size limit that a log has reached (SIGXFSZ). SIGPIPE is missing because Rust ignores it already.
//!
//! They are handled on a thread of its own: also a program whose worker threads are all stuck is ended by a second signal.

use std::{future::poll_fn, io, sync::mpsc, task::Poll, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use crate::shutdown::Shutdown;

/// A signal this soon after the first is the same wish told twice: a terminal tells the whole group, and the process that started
/// this one may send it once more.
const INSIST_AFTER: Duration = Duration::from_millis(500);
/// A signal that is only noted is noted this often at most. SIGXFSZ comes with each write to a file that is too large, which may be the
/// log itself.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// How long the last words of a process may take that is told to end at once.
const LAST_WORDS_MAX: Duration = Duration::from_millis(250);
/// As shells report a process that SIGINT has ended.
const INSISTED: i32 = 130;

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Drain and end; again: end at once.
    Stop,
    /// Nothing; a line in the log.
    Note,
}

/// Every signal that would end the process and can be caught, but those that tell of a fault of its own.
fn meanings() -> Vec<(&'static str, SignalKind, Meaning)> {
    use Meaning::{Note, Stop};
    let mut all = vec![
        ("SIGINT", SignalKind::interrupt(), Stop),
        ("SIGTERM", SignalKind::terminate(), Stop),
        ("SIGQUIT", SignalKind::quit(), Stop),
        // The soft limit on processor time: what follows at the hard one is SIGKILL.
        ("SIGXCPU", SignalKind::from_raw(24), Stop),
        // Nothing is read again: configuration, keys and certificates are read at the start.
        ("SIGHUP", SignalKind::hangup(), Note),
        ("SIGUSR1", SignalKind::user_defined1(), Note),
        ("SIGUSR2", SignalKind::user_defined2(), Note),
        ("SIGALRM", SignalKind::alarm(), Note),
        // The write that was too much fails, as on a full disk.
        ("SIGXFSZ", SignalKind::from_raw(25), Note),
    ];
    if cfg!(target_os = "linux") {
        all.push(("SIGIO", SignalKind::io(), Note));
        // An uninterruptible power supply is about to be interrupted.
        all.push(("SIGPWR", SignalKind::from_raw(30), Stop));
    }
    all
}

impl Shutdown {
    /// Handles signals: SIGINT, SIGTERM and SIGQUIT announce shutdown, and trigger it `drain_delay` later; a second one ends the process at
    /// once: a person who insists is right. SIGHUP, SIGUSR1, SIGUSR2 and others that would kill it are noted in the log.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn on_signals(&self, drain_delay: Duration) -> io::Result<()> {
        listen(self.clone(), drain_delay)
    }
}

fn listen(shutdown: Shutdown, drain_delay: Duration) -> io::Result<()> {
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(tell.send(Err(error))),
        };
        runtime.block_on(async {
            let signals: io::Result<Vec<_>> =
                meanings().into_iter().map(|(name, kind, meaning)| Ok((name, meaning, signal(kind)?))).collect();
            match signals {
                Ok(signals) => {
                    drop(tell.send(Ok(())));
                    handle(signals, &shutdown, drain_delay).await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        });
    })?;
    told.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

type Listened = (&'static str, Meaning, Signal);

async fn handle(mut signals: Vec<Listened>, shutdown: &Shutdown, drain_delay: Duration) {
    let mut first: Option<Instant> = None;
    let mut noted: Vec<(&'static str, Instant)> = Vec::new();
    loop {
        let (name, meaning) = next(&mut signals).await;
        match (meaning, first) {
            (Meaning::Note, _) => {
                noted.retain(|(_, at)| at.elapsed() < NOTE_EVERY);
                if !noted.iter().any(|(known, _)| *known == name) {
                    noted.push((name, Instant::now()));
                    tracing::info!(signal = name, "a signal that stops nothing here");
                }
            }
            (Meaning::Stop, None) => {
                first = Some(Instant::now());
                tracing::info!(signal = name, ?drain_delay, "stopping; a second signal ends at once");
                shutdown.announce();
                let (shutdown, since) = (shutdown.clone(), Instant::now());
                tokio::spawn(async move {
                    tokio::time::sleep_until(since + drain_delay).await;
                    shutdown.trigger();
                });
            }
            (Meaning::Stop, Some(at)) if at.elapsed() < INSIST_AFTER => {}
            (Meaning::Stop, Some(_)) => {
                tracing::warn!(signal = name, "second signal: ending at once");
                amends_telemetry::flush(LAST_WORDS_MAX);
                std::process::exit(INSISTED);
            }
        }
    }
}

async fn next(signals: &mut [Listened]) -> (&'static str, Meaning) {
    poll_fn(|context| {
        let arrived = signals.iter_mut().find_map(|(name, meaning, signal)| match signal.poll_recv(context) {
            Poll::Ready(Some(())) => Some((*name, *meaning)),
            Poll::Ready(None) | Poll::Pending => None,
        });
        arrived.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a signal to this very process.
    async fn raise(name: &str) {
        let pid = std::process::id().to_string();
        let sent = tokio::process::Command::new("kill").args([&format!("-{}", &name[3..]), &pid]).status().await;
        assert!(sent.unwrap().success());
    }

    #[test]
    fn only_wishes_to_end_stop_a_process() {
        let stop: Vec<&str> =
            meanings().into_iter().filter(|(_, _, meaning)| *meaning == Meaning::Stop).map(|(name, ..)| name).collect();
        assert_eq!(&stop[..4], ["SIGINT", "SIGTERM", "SIGQUIT", "SIGXCPU"]);
        for name in ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXFSZ"] {
            assert!(meanings().contains(&(
                name,
                meanings().iter().find(|known| known.0 == name).unwrap().1,
                Meaning::Note
            )));
        }
    }

    #[tokio::test]
    async fn a_hang_up_ends_nothing_and_a_quit_drains() {
        let shutdown = Shutdown::new();
        listen(shutdown.clone(), Duration::ZERO).unwrap();
        // Unhandled, the first of these would end this test's process.
        for name in ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXFSZ"] {
            raise(name).await;
        }
        assert!(!shutdown.is_announced());
        raise("SIGQUIT").await;
        shutdown.triggered().await;
    }
}
