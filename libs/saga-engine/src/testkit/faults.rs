//! Everything that can go wrong once in a saga, one fault after the other.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use amends_primitives::{SagaId, Timestamp};
use async_trait::async_trait;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    Call, Cause, Closed, Intercept, Outcome, Refusal, Snapshot, Undo,
    journal::{
        Append, Appended, Claimed, DefinitionId, Filter, Heartbeat, Journal, JournalError, NewRow, OperatorRequest,
        Page, ReplicaId, Requested, SagaRow, Stats, Stored,
    },
    plan::{Conclusion, EffectKind},
    shape::{Role, Shape},
};

/// Entries of a journal that a crash is tried around. A saga that needs more has been followed long enough.
const APPENDS: u64 = 6;
/// Longer than any attempt, and than a short unwinding.
const LATE: Duration = Duration::from_secs(5);

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing.
    None,
    /// A call goes wrong.
    Call {
        /// Of this step.
        step: &'static str,
        /// Of this kind.
        kind: EffectKind,
        /// At this attempt, or at all.
        attempt: Option<u32>,
        /// In this way.
        what: CallFault,
    },
    /// The orchestrator crashes just before its n-th entry is written, from 1.
    CrashBeforeAppend(u64),
    /// The orchestrator crashes just after its n-th entry is written, before it knows.
    CrashAfterAppend(u64),
    /// The journal is unavailable for the n-th entry, from 1, and fails it without having written it.
    AppendFails(u64),
    /// The journal writes the n-th entry, from 1, and the answer gets lost.
    AppendAnswerLost(u64),
    /// Two of them.
    Both(Box<Fault>, Box<Fault>),
    /// One that begins only when the orchestrator has crashed once.
    AfterCrash(Box<Fault>),
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallFault {
    /// The participant says no, and nothing took effect. Only actions can be refused.
    Refuse,
    /// The request is surely not sent: a breaker is open. Only actions tell; anything else just has no answer.
    NotSent,
    /// The request gets lost.
    RequestLost,
    /// The answer gets lost.
    AnswerLost,
    /// The request arrives twice.
    Repeated,
    /// The request seems lost, and arrives later.
    Late(Duration),
    /// The step panics.
    Panic,
    /// The orchestrator crashes before the request is sent.
    CrashBefore,
    /// The orchestrator crashes when it was answered.
    CrashAfter,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { step, kind, attempt, what } => {
                let attempt = attempt.map_or("every attempt".to_owned(), |attempt| format!("attempt {attempt}"));
                write!(f, "{what:?} at {attempt} of {step}'s {}", kind.phase().as_str())
            }
            Self::Both(one, other) => write!(f, "{one} and {other}"),
            Self::AfterCrash(fault) => write!(f, "after the crash {fault}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Fault {
    /// Nothing at all, and then every single fault: each step, each way, each attempt its policy allows before the pivot and the first
    /// three elsewhere; and a crash before and after each entry of the journal.
    pub fn every(shape: &Shape) -> Vec<Self> {
        use CallFault as C;
        let mut faults = vec![Self::None];
        for step in shape.steps.iter().filter(|step| !step.local) {
            let kinds: &[EffectKind] = match step.role {
                Role::Compensable => &[EffectKind::Act, EffectKind::Compensate],
                Role::Pivot => &[EffectKind::Act, EffectKind::Close],
                Role::Retriable => &[EffectKind::Act],
            };
            for kind in kinds {
                let late = [Duration::from_millis(700), LATE, Duration::from_secs(90)].map(C::Late);
                let ways = [C::RequestLost, C::AnswerLost, C::Repeated, C::Panic, C::CrashBefore, C::CrashAfter];
                let of_actions = if *kind == EffectKind::Act { [C::Refuse, C::NotSent].as_slice() } else { &[] };
                for what in ways.into_iter().chain(late).chain(of_actions.iter().copied()) {
                    let attempts = (1..=step.policy.attempts_max.min(3)).map(Some);
                    // Crashing at every attempt would go on for ever.
                    let every = (!matches!(what, C::CrashBefore | C::CrashAfter)).then_some(None);
                    for attempt in attempts.chain(every) {
                        faults.push(Self::Call { step: step.name, kind: *kind, attempt, what });
                    }
                }
            }
        }
        for append in 1..=APPENDS {
            faults.extend([
                Self::CrashBeforeAppend(append),
                Self::CrashAfterAppend(append),
                Self::AppendFails(append),
                Self::AppendAnswerLost(append),
            ]);
        }
        faults
    }

    /// Pairs of faults: one that makes the saga unwind and anything else while that is put right; a call that arrives late, after a
    /// repeat of it was refused; and a crash after which an earlier step than the last one made does not work any more.
    pub fn every_pair(shape: &Shape) -> Vec<Self> {
        use CallFault as C;
        let both = |one: &Self, other: &Self| Self::Both(Box::new(one.clone()), Box::new(other.clone()));
        let act = |step, attempt, what| Self::Call { step, kind: EffectKind::Act, attempt, what };
        let remote = || shape.steps.iter().filter(|step| !step.local);
        let mut pairs = Vec::new();
        for step in remote() {
            for what in [C::Refuse, C::NotSent, C::AnswerLost, C::Late(LATE)] {
                let first = act(step.name, None, what);
                // A second and third attempt add little to the first, and half of the time.
                let later = |other: &Self| matches!(other, Self::Call { attempt: Some(2..), .. });
                let others = Self::every(shape)
                    .into_iter()
                    .filter(|other| *other != first && *other != Self::None && !later(other));
                pairs.extend(others.map(|other| both(&first, &other)));
            }
            for second in [C::Refuse, C::NotSent] {
                pairs.push(both(&act(step.name, Some(1), C::Late(LATE)), &act(step.name, Some(2), second)));
            }
            // The first attempt is late, and none after it is sent: what is given up is still in doubt.
            pairs.push(both(&act(step.name, Some(1), C::Late(LATE)), &act(step.name, None, C::NotSent)));
            for earlier in remote().filter(|earlier| earlier.stage <= step.stage) {
                for crash in [C::CrashBefore, C::CrashAfter] {
                    for what in [C::Refuse, C::NotSent, C::RequestLost, C::AnswerLost] {
                        let after = Self::AfterCrash(Box::new(act(earlier.name, None, what)));
                        pairs.push(both(&act(step.name, Some(1), crash), &after));
                    }
                }
            }
        }
        pairs
    }

    /// Whether a human may have to help: something after the point of no return, or on the way back, is never answered otherwise. What
    /// only goes unanswered ends by itself.
    pub fn may_park(&self, shape: &Shape) -> bool {
        match self {
            Self::Call { step, kind, attempt: None, what } => {
                let after_pivot = shape.steps.iter().any(|one| one.name == *step && one.role == Role::Retriable);
                let is_answer = matches!(what, CallFault::Refuse | CallFault::Panic);
                is_answer && (after_pivot || *kind != EffectKind::Act)
            }
            // Two faults together may, in ways that are not worth listing: going forward asks again what is never answered.
            Self::Both(..) | Self::AfterCrash(_) => true,
            _ => false,
        }
    }

    fn calls(&self, call: &Call, crashed: bool) -> Option<CallFault> {
        match self {
            Self::Call { step, kind, attempt, what } => {
                let hit = *step == call.key.step()
                    && *kind == call.kind
                    && attempt.is_none_or(|attempt| attempt == call.attempt);
                hit.then_some(*what)
            }
            Self::Both(one, other) => one.calls(call, crashed).or_else(|| other.calls(call, crashed)),
            Self::AfterCrash(fault) if crashed => fault.calls(call, crashed),
            _ => None,
        }
    }

    fn append(&self, number: u64) -> Option<&Self> {
        match self {
            Self::CrashBeforeAppend(n)
            | Self::CrashAfterAppend(n)
            | Self::AppendFails(n)
            | Self::AppendAnswerLost(n) => (*n == number).then_some(self),
            Self::Both(one, other) => one.append(number).or_else(|| other.append(number)),
            _ => None,
        }
    }
}

/// Makes a fault happen. One for a whole run, over all crashes, so that each crash happens once.
#[derive(Debug)]
pub struct FaultInjector {
    fault: Fault,
    appends: AtomicU64,
    /// Each of these crashes happens once.
    crashed: Mutex<HashSet<Call>>,
    crashes: AtomicU64,
    /// From here on everything works: a human has fixed it.
    fixed: AtomicBool,
    crash: Notify,
}

impl FaultInjector {
    /// For one run.
    pub fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            appends: AtomicU64::new(0),
            crashed: Mutex::default(),
            crashes: AtomicU64::new(0),
            fixed: false.into(),
            crash: Notify::new(),
        })
    }

    /// Waits for the orchestrator to crash.
    pub async fn crashes(&self) {
        self.crash.notified().await;
    }

    /// From here on everything works.
    pub fn fix(&self) {
        self.fixed.store(true, Ordering::SeqCst);
    }

    async fn die<T>(&self) -> T {
        self.crashes.fetch_add(1, Ordering::SeqCst);
        self.crash.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Intercept for FaultInjector {
    async fn attempt(
        &self,
        call: &Call,
        perform: &(dyn Fn() -> BoxFuture<'static, Conclusion> + Send + Sync),
    ) -> Conclusion {
        let crashed = self.crashes.load(Ordering::SeqCst) > 0;
        let what = if self.fixed.load(Ordering::SeqCst) { None } else { self.fault.calls(call, crashed) };
        let Some(what) = what else { return perform().await };
        match what {
            CallFault::Refuse => Conclusion::Acted(Outcome::Refused(Refusal::new("refused", "a fault was injected"))),
            CallFault::NotSent if call.kind == EffectKind::Act => {
                Conclusion::Acted(Outcome::not_sent("injected", "a fault was injected"))
            }
            CallFault::NotSent | CallFault::RequestLost => unknown(call.kind),
            CallFault::AnswerLost => {
                let _answer = perform().await;
                unknown(call.kind)
            }
            CallFault::Repeated => {
                let first = perform().await;
                let second = perform().await;
                assert_eq!(first, second, "a repeat of {call:?} was answered otherwise");
                second
            }
            CallFault::Late(delay) => {
                let request = perform();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    let _answer = request.await;
                });
                unknown(call.kind)
            }
            #[expect(clippy::panic, reason = "what is injected is a panic")]
            CallFault::Panic => panic!("a fault was injected"),
            CallFault::CrashBefore | CallFault::CrashAfter => {
                let again = !self.crashed.lock().insert(call.clone());
                if again {
                    return perform().await;
                }
                if what == CallFault::CrashAfter {
                    let _answer = perform().await;
                }
                self.die().await
            }
        }
    }
}

fn unknown(kind: EffectKind) -> Conclusion {
    let cause = Cause::environment("injected", "a fault was injected");
    match kind {
        EffectKind::Act => Conclusion::Acted(Outcome::Unknown(cause)),
        EffectKind::Compensate => Conclusion::Compensated(Undo::NotYet(cause)),
        EffectKind::Close => Conclusion::Closed(Closed::NotYet(cause)),
    }
}

/// A journal with injected faults.
pub struct FaultyJournal<J> {
    inner: J,
    injector: Arc<FaultInjector>,
}

impl<J> FaultyJournal<J> {
    /// Puts a fault injector before a journal.
    pub const fn new(inner: J, injector: Arc<FaultInjector>) -> Self {
        Self { inner, injector }
    }
}

#[async_trait]
impl<J: Journal> Journal for FaultyJournal<J> {
    type Local = J::Local;
    type Tx = J::Tx;

    async fn append(&self, entry: Arc<Append<J::Local>>) -> Result<Appended, JournalError> {
        let number = self.injector.appends.fetch_add(1, Ordering::SeqCst) + 1;
        let unavailable = || JournalError::Unavailable("a fault was injected".into());
        match self.injector.fault.append(number) {
            Some(Fault::CrashBeforeAppend(_)) => self.injector.die().await,
            Some(Fault::CrashAfterAppend(_)) => {
                let _written = self.inner.append(entry).await;
                self.injector.die().await
            }
            Some(Fault::AppendFails(_)) => Err(unavailable()),
            Some(Fault::AppendAnswerLost(_)) => {
                let _written = self.inner.append(entry).await;
                Err(unavailable())
            }
            _ => self.inner.append(entry).await,
        }
    }

    async fn start_in_tx(&self, tx: &mut J::Tx, saga: &NewRow) -> Result<(), JournalError> {
        self.inner.start_in_tx(tx, saga).await
    }

    async fn start(&self, saga: &NewRow) -> Result<(), JournalError> {
        self.inner.start(saga).await
    }

    async fn load(&self, id: SagaId) -> Result<Option<Stored>, JournalError> {
        self.inner.load(id).await
    }

    async fn row(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        self.inner.row(id).await
    }

    async fn snapshots(&self, ids: &[SagaId]) -> Result<Vec<Snapshot>, JournalError> {
        self.inner.snapshots(ids).await
    }

    async fn heartbeat(
        &self,
        replica: &ReplicaId,
        lease: Duration,
        known: &[DefinitionId],
    ) -> Result<Heartbeat, JournalError> {
        self.inner.heartbeat(replica, lease, known).await
    }

    async fn claim(
        &self,
        replica: &ReplicaId,
        known: &[DefinitionId],
        limit: u32,
        believed: Timestamp,
        now: Timestamp,
    ) -> Result<Claimed, JournalError> {
        self.inner.claim(replica, known, limit, believed, now).await
    }

    fn is_exclusive(&self) -> bool {
        self.inner.is_exclusive()
    }

    async fn evict_others(&self, replica: &ReplicaId) -> Result<(), JournalError> {
        self.inner.evict_others(replica).await
    }

    async fn owned(&self, replica: &ReplicaId) -> Result<Vec<SagaId>, JournalError> {
        self.inner.owned(replica).await
    }

    async fn retire(&self, replica: &ReplicaId, now: Timestamp) -> Result<u64, JournalError> {
        self.inner.retire(replica, now).await
    }

    async fn request(&self, id: SagaId, request: &OperatorRequest) -> Result<Requested, JournalError> {
        self.inner.request(id, request).await
    }

    async fn requests(&self, replica: &ReplicaId) -> Result<Vec<(SagaId, OperatorRequest)>, JournalError> {
        self.inner.requests(replica).await
    }

    async fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        self.inner.list(filter).await
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, JournalError> {
        self.inner.stats(now).await
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, JournalError> {
        self.inner.purge(before, limit).await
    }
}
