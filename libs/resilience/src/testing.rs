//! A dependency that misbehaves on cue, for the tests of the layers around it. It insists on being asked whether it is ready.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tower::{Service, ServiceExt as _, util::MapErr};

use super::{Attempt, Call, Classify, Deadline, Edge, GuardError, Verdict};

/// Who calls whom in these tests.
pub(super) const EDGE: Edge = Edge::new("order-service", "payment-service");

/// Why the dependency did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TestFailure {
    /// It decided, and refused.
    Refused,
    /// It is down.
    Down,
    /// The connection is refused.
    Unreachable,
    /// It gave up when its caller's time was over.
    Late,
    /// It was not called: our own token was missing.
    GivenUp,
    /// It asks for a pause of this length.
    Busy(Duration),
}

impl Classify for TestFailure {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Refused => Verdict::Answered,
            Self::Down | Self::Unreachable | Self::Late => Verdict::Transient { retry_after: None },
            Self::GivenUp => Verdict::NotSent,
            Self::Busy(wait) => Verdict::Limited { retry_after: *wait },
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Refused => "FAILED_PRECONDITION",
            Self::Down | Self::Unreachable | Self::GivenUp => "UNAVAILABLE",
            Self::Late => "DEADLINE_EXCEEDED",
            Self::Busy(_) => "RESOURCE_EXHAUSTED",
        }
    }

    fn nothing_sent(&self) -> bool {
        matches!(self, Self::Unreachable | Self::GivenUp)
    }

    fn is_slowness(&self) -> bool {
        matches!(self, Self::Late | Self::Unreachable)
    }
}

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What is said, or not said, to one call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Done,
    Fail(TestFailure),
    After(Duration),
    Hang,
}

pub(super) const DOWN: Answer = Answer::Fail(TestFailure::Down);

#[derive(Debug, Default)]
struct Seen {
    answers: Mutex<VecDeque<Answer>>,
    attempts: Mutex<Vec<Attempt>>,
    live: AtomicU32,
    live_max: AtomicU32,
}

/// Clones are one dependency; each must be ready before it is called, and is not, once it was.
#[derive(Debug)]
pub(super) struct Dependency {
    seen: Arc<Seen>,
    ready: bool,
}

impl Clone for Dependency {
    fn clone(&self) -> Self {
        Self { seen: Arc::clone(&self.seen), ready: false }
    }
}

impl Dependency {
    /// That gives these answers in turn, and the last of them for ever.
    pub(super) fn that<const N: usize>(answers: [Answer; N]) -> Self {
        let dependency = Self { seen: Arc::default(), ready: false };
        dependency.will(answers);
        dependency
    }

    pub(super) fn will<const N: usize>(&self, answers: [Answer; N]) {
        *self.seen.answers.lock() = answers.into();
    }

    /// With the error that the layers ask for.
    pub(super) fn guarded(&self) -> MapErr<Self, fn(TestFailure) -> GuardError<TestFailure>> {
        self.clone().map_err(GuardError::Failed)
    }

    /// The attempts it has seen since it was last asked.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        std::mem::take(&mut *self.seen.attempts.lock())
    }

    /// Their number.
    pub(super) fn calls(&self) -> usize {
        self.attempts().len()
    }

    /// How many calls it is working on.
    pub(super) fn live(&self) -> u32 {
        self.seen.live.load(Ordering::SeqCst)
    }

    /// How many it has been working on at most.
    pub(super) fn live_max(&self) -> u32 {
        self.seen.live_max.load(Ordering::SeqCst)
    }
}

struct Live(Arc<Seen>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Call<()>> for Dependency {
    type Response = &'static str;
    type Error = TestFailure;
    type Future = BoxFuture<'static, Result<&'static str, TestFailure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TestFailure>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being asked whether it is ready");
        self.seen.attempts.lock().push(call.attempt);
        let live = self.seen.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.seen.live_max.fetch_max(live, Ordering::SeqCst);
        let live = Live(Arc::clone(&self.seen));
        let answer = {
            let mut answers = self.seen.answers.lock();
            let last = answers.back().copied();
            if answers.len() > 1 { answers.pop_front() } else { last }
        };
        Box::pin(async move {
            let _live = live;
            match answer {
                Some(Answer::Done) | None => {}
                Some(Answer::Fail(ill)) => return Err(ill),
                Some(Answer::After(wait)) => tokio::time::sleep(wait).await,
                Some(Answer::Hang) => std::future::pending().await,
            }
            Ok("done")
        })
    }
}

pub(super) const LONG: Duration = Duration::from_secs(25);

/// A call with this deadline.
pub(super) fn call_within(wait: Duration) -> Call<()> {
    Call::new("test.Payments/Charge", Deadline::after(wait), ())
}

/// A call that may take as long as any test lasts.
pub(super) fn call() -> Call<()> {
    call_within(LONG)
}
