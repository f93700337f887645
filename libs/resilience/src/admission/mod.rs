//! Whether new work is begun now, soon, or not at all: a [`limit`] of work under way that follows from measured time, and a [`queue`] before
//! it that takes in bursts and refuses what would wait too long. Work that is let in is finished; work that is refused has cost nothing.
//!
//! Must not know: what the work is.

mod limit;
mod queue;

use std::{sync::Arc, time::Duration};

use amends_primitives::Clock;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, gauge::Gauge},
};
use service_base::metrics::{Metrics, requests_shed};
use tokio::sync::oneshot;

use self::{
    limit::{Limit, Started},
    queue::Queue,
};
use crate::config::AdmissionConfig;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

/// Lets work in. Clones share it.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    meters: Meters,
}

struct State {
    limit: Limit,
    queue: Queue<oneshot::Sender<Working>>,
}

struct Meters {
    limit: Gauge,
    working: Gauge,
    queued: Gauge,
    refused: Counter,
}

/// There is more work than can be finished in reasonable time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more work arrives than can be finished in reasonable time")]
pub struct Overloaded;

/// A piece of work under way, until it is dropped. It is one that came to nothing unless it is [`done`](Self::done).
pub struct Working {
    admission: Arc<Shared>,
    started: Started,
    counts: bool,
}

/// Room for a piece of work: now, or when its turn comes.
pub enum Turn {
    /// There is room.
    Now(Working),
    /// There will be; dropped, the place in the queue is given up.
    Soon(Waiting),
}

/// A place in the queue.
pub struct Waiting(oneshot::Receiver<Working>);

impl Admission {
    /// For the work of a service, of which at most `max` pieces are under way or wait, and whose participants are each waited for no longer
    /// than `attempt` at a time.
    pub fn new(
        service: &'static str,
        config: &AdmissionConfig,
        max: usize,
        attempt: Duration,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Self {
        let now = clock.moment();
        let state =
            Mutex::new(State { limit: Limit::new(config, max, attempt, now), queue: Queue::new(config, max, now) });
        let labels = ServiceLabels { service };
        let gauge = |name, help| metrics.gauge::<ServiceLabels>(name, help).get_or_create_owned(&labels);
        let meters = Meters {
            limit: gauge("admission_limit", "Pieces of work that may be under way, as measured"),
            working: gauge("admission_working", "Pieces of work under way"),
            queued: gauge("admission_queued", "Pieces of work that wait for room"),
            refused: requests_shed(service, metrics),
        };
        let admission = Self(Arc::new(Shared { clock, state, meters }));
        admission.0.show(&admission.0.state.lock());
        admission
    }

    /// Room for one piece of work, at once or in turn.
    ///
    /// # Errors
    /// When it would wait too long. That is known at once.
    pub fn enter(&self) -> Result<Turn, Overloaded> {
        let shared = &self.0;
        let now = shared.clock.moment();
        let mut state = shared.state.lock();
        let turn = if state.queue.len() == 0
            && let Some(started) = state.limit.start(now)
        {
            Turn::Now(shared.working(started))
        } else if state.queue.has_room(state.limit.working(), now) {
            let (sender, receiver) = oneshot::channel();
            state.queue.push(sender, now);
            Turn::Soon(Waiting(receiver))
        } else {
            shared.meters.refused.inc();
            return Err(Overloaded);
        };
        shared.show(&state);
        Ok(turn)
    }
}

impl Shared {
    fn working(self: &Arc<Self>, started: Started) -> Working {
        Working { admission: Arc::clone(self), started, counts: false }
    }

    fn end(self: &Arc<Self>, started: Started, counts: bool) {
        let now = self.clock.moment();
        // Those who leave at this moment; dropped after the lock is, since dropping ends them.
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        state.limit.end(started, counts, now);
        while state.limit.has_room()
            && let Some(waiter) = state.queue.pop()
        {
            if waiter.is_closed() {
                continue;
            }
            let Some(started) = state.limit.start(now) else { break };
            if let Err(working) = waiter.send(self.working(started)) {
                gone.push(working);
            }
        }
        self.show(&state);
        drop(state);
        drop(gone);
    }

    fn show(&self, state: &State) {
        let shown = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.meters.limit.set(shown(state.limit.limit()));
        self.meters.working.set(shown(state.limit.working()));
        self.meters.queued.set(shown(state.queue.len()));
    }
}

impl Working {
    /// The work is done, and took as long as such work takes.
    pub fn done(mut self) {
        self.counts = true;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.admission.end(self.started, self.counts);
    }
}

impl Waiting {
    /// Waits for the turn.
    pub async fn turn(self) -> Option<Working> {
        // `None` only when the whole of admission is gone.
        self.0.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use amends_primitives::{ManualClock, Timestamp};

    use super::*;

    fn admission(max: usize) -> (Admission, Arc<ManualClock>, Metrics) {
        let (clock, metrics) = (Arc::new(ManualClock::new(Timestamp::from_millis(0))), Metrics::new());
        let config = AdmissionConfig { working_min: 2, working_first: 2, ..AdmissionConfig::default() };
        (
            Admission::new("orders", &config, max, Duration::from_secs(30), Arc::clone(&clock) as _, &metrics),
            clock,
            metrics,
        )
    }

    fn now(turn: Result<Turn, Overloaded>) -> Working {
        match turn {
            Ok(Turn::Now(working)) => working,
            Ok(Turn::Soon(_)) => panic!("has to wait"),
            Err(Overloaded) => panic!("was refused"),
        }
    }

    fn soon(turn: Result<Turn, Overloaded>) -> Waiting {
        match turn {
            Ok(Turn::Soon(waiting)) => waiting,
            Ok(Turn::Now(_)) => panic!("need not wait"),
            Err(Overloaded) => panic!("was refused"),
        }
    }

    #[tokio::test]
    async fn turns_come_in_order_as_work_ends() {
        let (admission, ..) = admission(100);
        let (one, two) = (now(admission.enter()), now(admission.enter()));
        let (mut third, fourth) = (Box::pin(soon(admission.enter()).turn()), soon(admission.enter()));
        assert!(futures::poll!(&mut third).is_pending());
        one.done();
        let third = third.await.unwrap();
        let mut fourth = Box::pin(fourth.turn());
        assert!(futures::poll!(&mut fourth).is_pending());
        drop((two, third));
        assert!(futures::poll!(&mut fourth).is_ready());
    }

    #[tokio::test]
    async fn who_has_left_the_queue_takes_no_room() {
        let (admission, _, metrics) = admission(100);
        let (one, two) = (now(admission.enter()), now(admission.enter()));
        drop(soon(admission.enter()));
        let last = soon(admission.enter());
        drop(one);
        let last = last.turn().await.unwrap();
        drop((two, last));
        let page = metrics.encode();
        for line in [r#"admission_working{service="orders"} 0"#, r#"admission_queued{service="orders"} 0"#] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn turn_given_to_who_leaves_at_that_moment_is_given_back() {
        let (admission, ..) = admission(100);
        let (one, two) = (now(admission.enter()), now(admission.enter()));
        let third = soon(admission.enter());
        drop(one);
        // Its turn has come, and it does not take it.
        drop(third);
        drop(two);
        let _both = (now(admission.enter()), now(admission.enter()));
    }

    #[test]
    fn standing_queue_refuses_at_once_and_is_counted() {
        let (admission, clock, metrics) = admission(100);
        let _working = (now(admission.enter()), now(admission.enter()));
        let _waits = soon(admission.enter());
        clock.advance(Duration::from_secs(2));
        assert!(admission.enter().is_err());
        assert!(metrics.encode().contains(r#"requests_shed_total{service="orders"} 1"#));
    }

    #[test]
    fn one_too_many_is_refused_without_a_queue() {
        let (admission, ..) = admission(1);
        let working = now(admission.enter());
        assert!(admission.enter().is_err());
        drop(working);
        now(admission.enter());
    }
}
