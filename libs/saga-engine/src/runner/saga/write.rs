//! A saga's side of the journal: what is pending, and what waits while the journal is unavailable. What to write is decided elsewhere.

use std::sync::Arc;

use amends_primitives::Timestamp;

use super::{Saga, Stop};
use crate::{
    Backoff, LocalOutcome, Refusal, Snapshot,
    event::{Event, Record},
    journal::{Append, Appended, Journal, JournalError, OperatorRequest},
    plan::{self, Next},
    retry,
    runner::publish,
    state::State,
    transition,
};

/// A change of the host's that fails this often for other reasons than an unavailable database is taken for refused: it would hold
/// the saga up for ever.
const LOCAL_FAILURES_MAX: u32 = 8;

impl<J: Journal> Saga<J> {
    /// Makes what is pending durable.
    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        let pending = self.active.records.lock().len() > self.durable;
        if pending || self.clears_request {
            let _applied = self.write(Vec::new(), None).await?;
        }
        Ok(())
    }

    /// The state after these events, too.
    pub(super) fn after(&self, events: &[Event], at: Timestamp) -> Result<State, Stop> {
        let mut after = self.state.clone();
        for event in events {
            let record = Record { at, event: event.clone() };
            transition::apply(&self.shape, &mut after, &record).map_err(Stop::Bug)?;
        }
        Ok(after)
    }

    /// Makes what is pending and `events` durable, together with the host's change.
    pub(super) async fn write(&mut self, events: Vec<Event>, local: Option<J::Local>) -> Result<LocalOutcome, Stop> {
        let at = self.now();
        let after = self.after(&events, at)?;
        let entry = Arc::new(self.entry(&after, events, local, at, false));
        let written_from = tokio::time::Instant::now();
        let request = match self.append(&entry).await? {
            Ok(request) => request,
            Err(refusal) => return Ok(LocalOutcome::Refused(refusal)),
        };
        self.core.metrics.append_seconds.observe(written_from.elapsed().as_secs_f64());
        self.state = after;
        let mut records = self.active.records.lock();
        let known = records.len() - self.durable;
        records.extend_from_slice(&entry.records[known..]);
        self.durable = records.len();
        drop(records);
        for record in &entry.records[known..] {
            self.tell(&record.event);
        }
        self.owes_outcome = false;
        self.clears_request = false;
        if request.is_some() {
            self.request = request;
        }
        publish(&self.active.snapshots, self.snapshot());
        Ok(LocalOutcome::Applied)
    }

    /// Goes on trying while the journal is unavailable. What an operator asked for meanwhile, or why the host refused its change.
    async fn append(&self, entry: &Arc<Append<J::Local>>) -> Result<Result<Option<OperatorRequest>, Refusal>, Stop> {
        let mut failures = 0_u32;
        loop {
            let error = match self.core.journal.append(Arc::clone(entry)).await {
                Ok(Appended::Written(request)) => return Ok(Ok(request)),
                Ok(Appended::LocalRefused(refusal)) => return Ok(Err(refusal)),
                Ok(Appended::Fenced) => return Err(Stop::Lost),
                Err(error) => error,
            };
            failures += 1;
            self.core.metrics.journal_errors.inc();
            self.warn_of(&error, failures);
            if entry.local.is_some() && !error.is_transient() && failures >= LOCAL_FAILURES_MAX {
                return Ok(Err(Refusal::new("local_change_failed", error.to_string())));
            }
            let config = &self.core.config;
            let waits = Backoff { first: config.journal_retry_first, cap: config.journal_retry_cap, spread: 0.3 };
            let wait = retry::backoff(&waits, failures, (self.core.jitter)(), None);
            tokio::select! {
                biased;
                () = self.core.hand_over.cancelled() => return Err(Stop::HandOver),
                () = self.active.lost.cancelled() => return Err(Stop::Lost),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn warn_of(&self, error: &JournalError, failures: u32) {
        let (id, source) = (self.id, std::error::Error::source(error).map(ToString::to_string));
        if error.is_transient() {
            // Every saga in memory finds this out; the keeper says it once for all of them.
            tracing::debug!(saga.id = %id, %error, source, failures, "the journal is unavailable, trying again");
        } else {
            tracing::warn!(saga.id = %id, %error, source, failures, "the journal could not be written, trying again");
        }
    }

    fn entry(
        &self,
        after: &State,
        events: Vec<Event>,
        local: Option<J::Local>,
        at: Timestamp,
        releases: bool,
    ) -> Append<J::Local> {
        let mut records = self.active.records.lock()[self.durable..].to_vec();
        records.extend(events.into_iter().map(|event| Record { at, event }));
        let wake_at = match plan::next(&self.shape, after, at) {
            Next::Wait(wake_at) => wake_at,
            _ => None,
        };
        Append {
            saga_id: self.id,
            expected_seq: self.durable as u64,
            fence: self.fence,
            owner: self.core.replica.clone(),
            records,
            status: after.status(),
            step: after.current_step(&self.shape).map(|index| self.shape.step(index).name.to_owned()),
            failure: after.failure().cloned(),
            parked: after.parked().cloned(),
            wake_at,
            clears_request: self.clears_request,
            releases,
            local,
            at,
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            id: self.id,
            status: self.state.status(),
            failure: self.state.failure().cloned(),
            parked: self.state.parked().cloned(),
            seq: self.durable as u64,
        }
    }

    /// Leaves the saga to another replica, with what is known about it. If that fails, the keeper's retiring does it.
    pub(super) async fn give_up(&mut self) {
        let at = self.now();
        let entry = Arc::new(self.entry(&self.state, Vec::new(), None, at, true));
        if let Ok(Appended::Written(_)) = self.core.journal.append(entry).await {
            self.durable = self.active.records.lock().len();
        }
        tracing::info!(saga.id = %self.id, saga.name = self.shape.name, "saga handed over");
    }
}
