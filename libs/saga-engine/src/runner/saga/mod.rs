//! The task of one saga: ask the plan, perform, remember; until it has settled or is not ours any more.

mod write;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use amends_primitives::{SagaId, Timestamp};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use opentelemetry::trace::FutureExt as _;
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;

use super::{Active, Core, perform, record_output, spans, spans::SagaSpan, wall::Wall};
use crate::{
    Cause, Happened, Journaling, LocalOutcome, Outcome, StepContext, StepKey, Told, TraceContext, Undo,
    driver::{AnyDefinition, Driver},
    event::{Event, Record},
    journal::{Journal, OperatorRequest, Resolution, SagaRow},
    metrics::{AttemptLabels, SagaLabels, StepLabels},
    plan::{self, Conclusion, Effect, EffectKind, Next},
    shape::Shape,
    state::State,
    transition::{self, IllegalEvent},
};

/// Why a saga stops here without having settled.
#[derive(Debug)]
enum Stop {
    /// Another replica has it.
    Lost,
    /// This replica shuts down.
    HandOver,
    /// This program made a mistake.
    Bug(IllegalEvent),
}

pub(super) struct Saga<J: Journal> {
    core: Arc<Core<J>>,
    id: SagaId,
    fence: u64,
    trace: TraceContext,
    span: SagaSpan,
    definition: Arc<dyn AnyDefinition<J::Local>>,
    shape: Arc<Shape>,
    driver: Box<dyn Driver<J::Local>>,
    /// The sum of all events, also of those not journaled yet. Its times are the wall clock's as `wall` last told it.
    state: State,
    wall: Wall,
    active: Arc<Active>,
    /// How many of its events are journaled.
    durable: usize,
    /// An attempt has ended since: what it told is known to this replica alone.
    owes_outcome: bool,
    inbox: mpsc::Receiver<OperatorRequest>,
    /// Asked, and not answered in the journal yet.
    request: Option<OperatorRequest>,
    /// The last one answered: it may arrive by several ways.
    answered: Option<OperatorRequest>,
    clears_request: bool,
}

impl<J: Journal> Saga<J> {
    #[expect(clippy::too_many_arguments, reason = "the parts of a saga, put together in this one place")]
    pub(super) fn new(
        core: Arc<Core<J>>,
        row: &SagaRow,
        definition: &Arc<dyn AnyDefinition<J::Local>>,
        driver: Box<dyn Driver<J::Local>>,
        state: State,
        active: Arc<Active>,
        inbox: mpsc::Receiver<OperatorRequest>,
        durable: usize,
    ) -> Self {
        let wall = Wall::new(core.now(), Instant::now());
        let span = SagaSpan::open(row, &core.spans);
        Self {
            core,
            id: row.id,
            fence: row.fence,
            trace: row.trace.clone(),
            span,
            definition: Arc::clone(definition),
            shape: Arc::clone(definition.shape()),
            driver,
            state,
            wall,
            active,
            durable,
            owes_outcome: false,
            inbox,
            request: row.request.clone(),
            answered: None,
            clears_request: false,
        }
    }

    pub(super) async fn run(self) {
        let (span, context) = (self.span.span().clone(), self.span.context().clone());
        self.work().instrument(span).with_context(context).await;
    }

    async fn work(mut self) {
        // A panic in the host's own pure code (recording, changes, hooks) must not leave a saga that is neither run nor missed.
        let ran = AssertUnwindSafe(self.until_settled()).catch_unwind().await;
        let now = self.now();
        let (id, name, metrics) = (self.id, self.shape.name, &self.core.metrics);
        match ran {
            Ok(Ok(())) => {
                let status = self.state.status();
                metrics.settled(name, status.as_str(), now.since(self.state.started_at));
                let parked = self.state.parked();
                self.span.ended(
                    if parked.is_some() { "parked" } else { status.as_str() },
                    parked.map(|cause| cause.code.as_str()),
                );
                // Told to the host, whose log has the whole story.
                tracing::debug!(saga.id = %id, saga.name = name, %status, "saga settled");
                if parked.is_some() {
                    self.core.sweep.notify_one();
                }
            }
            Ok(Err(Stop::Lost)) => {
                metrics.fenced.inc();
                self.span.ended("lost", None);
                tracing::warn!(saga.id = %id, saga.name = name, "another replica has taken the saga over");
            }
            Ok(Err(Stop::HandOver)) => {
                self.span.ended("handed_over", None);
                self.give_up().await;
            }
            Ok(Err(Stop::Bug(error))) => {
                metrics.unreadable.inc();
                self.span.ended("stopped", Some("bug"));
                tracing::error!(saga.id = %id, saga.name = name, %error, "saga stopped by a mistake of the engine");
            }
            Err(_panic) => {
                metrics.unreadable.inc();
                self.span.ended("stopped", Some("panic"));
                tracing::error!(saga.id = %id, saga.name = name, "the saga's own code panicked; it is tried again later");
            }
        }
    }

    async fn until_settled(&mut self) -> Result<(), Stop> {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, perform::Ended>> = FuturesUnordered::new();
        loop {
            if let Some(request) = self.request.take() {
                self.answer(request).await?;
            }
            let now = self.now();
            match plan::next(&self.shape, &self.state, now) {
                Next::Settled => return self.flush().await,
                Next::Perform(effects) => {
                    self.lease_held().await?;
                    for effect in &effects {
                        let at = self.now();
                        self.note(plan::started(&self.shape, *effect), at)?;
                    }
                    // An attempt before it is made, with the outcome before it in one commit. That the first steps are next is what the
                    // saga's own row tells, as long as it has no events.
                    if self.journals_every_step() && (self.durable > 0 || self.owes_outcome) {
                        self.flush().await?;
                    }
                    for effect in effects {
                        in_flight.push(self.attempt(effect));
                    }
                }
                Next::Change(effect) => self.change(effect).await?,
                Next::Decide(event) => self.decide(event).await?,
                Next::Wait(until) => {
                    let wait = until.map(|until| until.since(now));
                    let waits_long = wait.is_none_or(|wait| wait > self.core.config.quiet_wait_max);
                    let owes_outcome = self.journals_every_step() && self.owes_outcome;
                    if in_flight.is_empty() && waits_long || owes_outcome {
                        self.flush().await?;
                    }
                    tokio::select! {
                        biased;
                        () = self.core.hand_over.cancelled() => return Err(Stop::HandOver),
                        () = self.active.lost.cancelled() => return Err(Stop::Lost),
                        Some(ended) = in_flight.next(), if !in_flight.is_empty() => self.conclude(ended)?,
                        Some(request) = self.inbox.recv() => self.request = Some(request),
                        () = sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// A replica that may have lost its sagas does not act for them until it knows.
    async fn lease_held(&self) -> Result<(), Stop> {
        if self.core.lease.is_held() && !self.active.lost.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.active.lost.cancelled() => Err(Stop::Lost),
            () = self.core.hand_over.cancelled() => Err(Stop::HandOver),
            () = self.core.lease.held() => Ok(()),
        }
    }

    /// Now, by the wall clock. If that was set since, the saga's times move along, so that every wait and the deadline last as long as
    /// they were meant to; what is journaled keeps the times that people saw.
    fn now(&mut self) -> Timestamp {
        let now = self.core.now();
        let moved = self.wall.asked(now, Instant::now());
        self.state.clock_was_set(moved);
        now
    }

    fn context(&mut self, effect: Effect) -> StepContext {
        let now = self.now();
        StepContext {
            key: StepKey::of_definition(self.id, self.shape.step(effect.step).name),
            attempt: effect.attempt,
            now,
            timeout: plan::timeout(&self.shape, &self.state, effect, now).max(Duration::from_millis(1)),
            trace: self.trace.clone(),
        }
    }

    fn attempt(&mut self, effect: Effect) -> BoxFuture<'static, perform::Ended> {
        let context = self.context(effect);
        let attempt = self.driver.attempt(effect, context.clone());
        perform::perform(effect, &context, attempt, self.core.intercept.clone(), &self.span)
    }

    fn conclude(&mut self, (effect, mut conclusion, took): perform::Ended) -> Result<(), Stop> {
        let output = match &conclusion {
            Conclusion::Acted(Outcome::Done(output)) | Conclusion::Closed(crate::Closed::WasDone(output)) => {
                Some(output)
            }
            _ => None,
        };
        if let Some(output) = output
            && let Err(error) = self.driver.record(effect.step, output)
        {
            // Written by the same type a moment ago: its serialisation does not read back. Surely not a refusal.
            let cause = Cause::permanent("unreadable_output", error.to_string());
            conclusion = match effect.kind {
                EffectKind::Close => Conclusion::Closed(crate::Closed::NotYet(cause)),
                EffectKind::Act | EffectKind::Compensate => Conclusion::Acted(Outcome::Unknown(cause)),
            };
        }
        self.count(effect, &conclusion, took);
        let jitter = (self.core.jitter)();
        let at = self.now();
        let event = plan::concluded(&self.shape, &self.state, effect, conclusion, at, jitter);
        self.owes_outcome = true;
        self.note(event, at)
    }

    fn journals_every_step(&self) -> bool {
        self.shape.journaling == Journaling::EveryStep
    }

    /// Applies an event, to be journaled with the next decision.
    fn note(&mut self, event: Event, at: Timestamp) -> Result<(), Stop> {
        let record = Record { at, event };
        transition::apply(&self.shape, &mut self.state, &record).map_err(Stop::Bug)?;
        self.tell(&record.event);
        self.active.records.lock().push(record);
        Ok(())
    }

    fn tell(&self, event: &Event) {
        if !event.is_beginning() {
            let (happened, shape, state) = (Happened::Event(event), &*self.shape, &self.state);
            self.driver.tell(&Told { id: self.id, trace: &self.trace, happened, shape, state });
        }
    }

    /// A decision, with the host's change that belongs to it.
    async fn decide(&mut self, event: Event) -> Result<(), Stop> {
        let local = match &event {
            Event::Unwinding { failure } => self.driver.on_unwinding(failure),
            Event::Unwound => self.state.failure().and_then(|failure| self.driver.on_unwound(failure)),
            Event::Parked { cause, .. } => self.driver.on_parked(cause),
            _ => None,
        };
        let parked = matches!(event, Event::Parked { .. });
        match self.write(vec![event.clone()], local).await? {
            LocalOutcome::Applied => Ok(()),
            LocalOutcome::Refused(_) if parked => self.write(vec![event], None).await.map(|_| ()),
            LocalOutcome::Refused(refusal) => {
                // The host may refuse a step's change, not the end of the saga. Without it, the saga may not end either.
                let cause =
                    Cause::permanent(&refusal.code, format!("the host refused {}: {}", event.name(), refusal.message));
                self.write(vec![Event::Parked { step: None, cause }], None).await.map(|_| ())
            }
        }
    }

    /// A local step: its change and its events in one commit, and with them the end of the saga, if it was the last.
    async fn change(&mut self, effect: Effect) -> Result<(), Stop> {
        let (now, context) = (self.now(), self.context(effect));
        let local = self.driver.change(effect, &context);
        let (span, _) = self.span.attempt(&context, effect.kind);
        let begun = plan::started(&self.shape, effect);
        let applied = match effect.kind {
            EffectKind::Act => Conclusion::Acted(Outcome::Done(serde_json::Value::Null)),
            EffectKind::Compensate | EffectKind::Close => Conclusion::Compensated(Undo::Undone),
        };
        let done = plan::concluded(&self.shape, &self.state, effect, applied.clone(), now, 0.0);
        let mut events = vec![begun.clone(), done];
        let after = self.after(&events, now)?;
        if plan::next(&self.shape, &after, now) == Next::Decide(Event::Completed) {
            events.push(Event::Completed);
        }
        match self.write(events, local).instrument(span.clone()).await? {
            LocalOutcome::Applied => {
                spans::conclude(&span, &applied);
                self.count(effect, &applied, Duration::ZERO);
                Ok(())
            }
            LocalOutcome::Refused(refusal) => {
                let refused = match effect.kind {
                    EffectKind::Act => Conclusion::Acted(Outcome::Refused(refusal)),
                    EffectKind::Compensate | EffectKind::Close => {
                        Conclusion::Compensated(Undo::NotYet(Cause::permanent(refusal.code, refusal.message)))
                    }
                };
                spans::conclude(&span, &refused);
                self.count(effect, &refused, Duration::ZERO);
                let (at, jitter) = (self.now(), (self.core.jitter)());
                self.note(begun, at)?;
                self.note(plan::concluded(&self.shape, &self.state, effect, refused, at, jitter), at)
            }
        }
    }

    /// Journals what becomes of an operator's request.
    async fn answer(&mut self, request: OperatorRequest) -> Result<(), Stop> {
        if self.answered.as_ref() == Some(&request) {
            return Ok(());
        }
        let mut event = plan::requested(&self.shape, &self.state, &request);
        if let Event::Resolved { resolution: Resolution::Done { .. }, .. } = &event
            && let Err(error) = record_output(&mut *self.driver, &self.definition, &event)
        {
            event = Event::RequestRefused { by: request.operator.clone(), reason: format!("resolve: {error}") };
        }
        let at = self.now();
        self.note(event, at)?;
        self.clears_request = true;
        self.answered = Some(request);
        self.flush().await
    }

    fn count(&self, effect: Effect, conclusion: &Conclusion, took: Duration) {
        let outcome = conclusion.outcome();
        let (saga, step, phase) = (self.shape.name, self.shape.step(effect.step).name, effect.kind.phase().as_str());
        let metrics = &self.core.metrics;
        metrics.attempts.get_or_create(&AttemptLabels { saga, step, phase, outcome: outcome.as_str() }).inc();
        metrics.attempt_seconds.get_or_create(&StepLabels { saga, step, phase }).observe(took.as_secs_f64());
    }
}

impl<J: Journal> Core<J> {
    /// Counts a saga that was stored.
    pub(crate) fn count_started(&self, saga: &'static str) {
        self.metrics.started.get_or_create(&SagaLabels { saga }).inc();
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
