//! A journal in memory, with the same rules as the stores: for tests, simulations and the tutorial.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use amends_primitives::{Clock as _, SagaId, Timestamp};
use async_trait::async_trait;
use parking_lot::Mutex;

use super::TokioClock;
use crate::{
    LocalOutcome, Snapshot, Status,
    journal::{
        Append, Appended, Claimed, DefinitionId, Filter, Heartbeat, Journal, JournalError, NewRow, OperatorRequest,
        Page, ReplicaId, Requested, SagaRow, Stats, StatsRow, Stored, Wish,
    },
};

/// Applies the host's changes where there is no SQL.
pub trait ApplyInMemory<L>: Send + Sync + 'static {
    /// Applies a change, or refuses it without having changed anything.
    ///
    /// # Errors
    /// When the host's store is to be seen failing; nothing may have been changed then.
    fn apply(&self, local: &L, now: Timestamp) -> Result<LocalOutcome, JournalError>;
}

impl<L, F> ApplyInMemory<L> for F
where
    F: Fn(&L, Timestamp) -> Result<LocalOutcome, JournalError> + Send + Sync + 'static,
{
    fn apply(&self, local: &L, now: Timestamp) -> Result<LocalOutcome, JournalError> {
        self(local, now)
    }
}

/// A journal in memory. Cheap to clone: clones share their sagas, as processes share a database.
pub struct MemoryJournal<L> {
    tables: Arc<Mutex<Tables>>,
    apply: Arc<dyn ApplyInMemory<L>>,
    /// The store's own, by which leases are.
    clock: TokioClock,
}

#[derive(Default)]
struct Tables {
    sagas: BTreeMap<SagaId, Stored>,
    /// When each replica's lease ends.
    replicas: HashMap<ReplicaId, Timestamp>,
    commits: u64,
}

/// A transaction in memory: what is started in it exists from [`commit`](Self::commit) on.
#[must_use = "commit it, or nothing of it happens"]
pub struct MemoryTx {
    tables: Arc<Mutex<Tables>>,
    starts: Vec<NewRow>,
}

impl MemoryTx {
    /// Makes it happen.
    ///
    /// # Errors
    /// When there is a saga of that id.
    pub fn commit(self) -> Result<(), JournalError> {
        let mut tables = self.tables.lock();
        if let Some(twice) = self.starts.iter().find(|saga| tables.sagas.contains_key(&saga.id)) {
            return Err(JournalError::Exists(twice.id));
        }
        for saga in self.starts {
            tables.sagas.insert(saga.id, Stored { row: row(saga), records: Vec::new() });
        }
        tables.commits += 1;
        Ok(())
    }
}

impl<L> Clone for MemoryJournal<L> {
    fn clone(&self) -> Self {
        Self { tables: Arc::clone(&self.tables), apply: Arc::clone(&self.apply), clock: self.clock.clone() }
    }
}

impl<L: Send + Sync + 'static> MemoryJournal<L> {
    /// An empty journal; `apply` makes the host's changes.
    pub fn new(apply: impl Fn(&L, Timestamp) -> LocalOutcome + Send + Sync + 'static) -> Self {
        Self::failing(move |local: &L, now: Timestamp| Ok(apply(local, now)))
    }

    /// An empty journal whose host's changes may fail.
    pub fn failing(apply: impl ApplyInMemory<L>) -> Self {
        Self { tables: Arc::default(), apply: Arc::new(apply), clock: TokioClock::default() }
    }

    /// Begins a transaction.
    pub fn begin(&self) -> MemoryTx {
        MemoryTx { tables: Arc::clone(&self.tables), starts: Vec::new() }
    }

    /// The store's clock, by which leases are, to be set.
    pub const fn clock(&self) -> &TokioClock {
        &self.clock
    }

    /// How many transactions have been committed: starts and appends.
    pub fn commits(&self) -> u64 {
        self.tables.lock().commits
    }

    /// All sagas, by id.
    pub fn all(&self) -> Vec<Stored> {
        self.tables.lock().sagas.values().cloned().collect()
    }
}

impl Tables {
    fn is_orphaned(&self, row: &SagaRow, now: Timestamp) -> bool {
        let living = |owner: &ReplicaId| self.replicas.get(owner).is_some_and(|until| *until > now);
        row.status.is_active() && !row.owner.as_ref().is_some_and(living)
    }

    fn is_claimable(&self, row: &SagaRow, known: &[DefinitionId], now: Timestamp) -> bool {
        let wanted = row.status == Status::Parked && row.request.is_some();
        known.contains(&row.definition) && (wanted || self.is_orphaned(row, now))
    }
}

#[async_trait]
impl<L: Send + Sync + 'static> Journal for MemoryJournal<L> {
    type Local = L;
    type Tx = MemoryTx;

    async fn start_in_tx(&self, tx: &mut MemoryTx, saga: &NewRow) -> Result<(), JournalError> {
        if self.tables.lock().sagas.contains_key(&saga.id) {
            return Err(JournalError::Exists(saga.id));
        }
        tx.starts.push(saga.clone());
        Ok(())
    }

    async fn start(&self, saga: &NewRow) -> Result<(), JournalError> {
        let mut tx = self.begin();
        self.start_in_tx(&mut tx, saga).await?;
        tx.commit()
    }

    async fn append(&self, entry: Arc<Append<L>>) -> Result<Appended, JournalError> {
        let mut tables = self.tables.lock();
        let Some(stored) = tables.sagas.get(&entry.saga_id) else { return Ok(Appended::Fenced) };
        let row = &stored.row;
        let keeps = entry.status.is_active() && !entry.releases;
        let owner_after = keeps.then(|| entry.owner.clone());
        let before =
            row.seq == entry.expected_seq && row.fence == entry.fence && row.owner.as_ref() == Some(&entry.owner);
        let after = !entry.records.is_empty()
            && row.seq == entry.next_seq()
            && row.fence == entry.fence
            && row.owner == owner_after;
        let request = row.request.clone().filter(|_| !entry.clears_request);
        if after {
            return Ok(Appended::Written(request));
        }
        if !before {
            return Ok(Appended::Fenced);
        }
        if let Some(local) = &entry.local
            && let LocalOutcome::Refused(refusal) = self.apply.apply(local, entry.at)?
        {
            return Ok(Appended::LocalRefused(refusal));
        }
        if let Some(stored) = tables.sagas.get_mut(&entry.saga_id) {
            let row = &mut stored.row;
            row.seq = entry.next_seq();
            row.status = entry.status;
            row.step.clone_from(&entry.step);
            row.failure.clone_from(&entry.failure);
            row.parked.clone_from(&entry.parked);
            row.wake_at = entry.wake_at;
            row.owner = owner_after;
            row.request.clone_from(&request);
            row.updated_at = entry.at;
            row.finished_at = entry.status.is_finished().then_some(entry.at);
            stored.records.extend_from_slice(&entry.records);
        }
        tables.commits += 1;
        Ok(Appended::Written(request))
    }

    async fn load(&self, id: SagaId) -> Result<Option<Stored>, JournalError> {
        Ok(self.tables.lock().sagas.get(&id).cloned())
    }

    async fn row(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        Ok(self.tables.lock().sagas.get(&id).map(|stored| stored.row.clone()))
    }

    async fn snapshots(&self, ids: &[SagaId]) -> Result<Vec<Snapshot>, JournalError> {
        let tables = self.tables.lock();
        Ok(ids.iter().filter_map(|id| tables.sagas.get(id)).map(|stored| stored.row.snapshot()).collect())
    }

    async fn heartbeat(
        &self,
        replica: &ReplicaId,
        lease: Duration,
        known: &[DefinitionId],
    ) -> Result<Heartbeat, JournalError> {
        let (mut tables, now) = (self.tables.lock(), self.clock.now());
        let lapsed = tables.replicas.insert(replica.clone(), now + lease).is_none();
        for until in tables.replicas.values_mut() {
            *until = (*until).min(now + lease);
        }
        let rows = || tables.sagas.values().map(|stored| &stored.row);
        let others = tables.replicas.iter().filter(|(id, until)| *id != replica && **until > now);
        Ok(Heartbeat {
            lapsed,
            claimable: rows().any(|row| tables.is_claimable(row, known, now)),
            requests: rows()
                .any(|row| row.status.is_active() && row.owner.as_ref() == Some(replica) && row.request.is_some()),
            next_expiry: others.map(|(_, until)| until.since(now)).min(),
            store_now: now,
        })
    }

    async fn claim(
        &self,
        replica: &ReplicaId,
        known: &[DefinitionId],
        limit: u32,
        believed: Timestamp,
        now: Timestamp,
    ) -> Result<Claimed, JournalError> {
        let (mut tables, ended_by) = (self.tables.lock(), self.clock.now().min(believed));
        let claimable = tables.sagas.values().filter(|stored| tables.is_claimable(&stored.row, known, ended_by));
        let ids: Vec<SagaId> =
            claimable.map(|stored| stored.row.id).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let mut claimed = Claimed::default();
        for id in ids {
            if let Some(stored) = tables.sagas.get_mut(&id) {
                stored.row.owner = Some(replica.clone());
                stored.row.fence += 1;
                stored.row.updated_at = now;
                claimed.sagas.push(stored.clone());
            }
        }
        Ok(claimed)
    }

    async fn evict_others(&self, replica: &ReplicaId) -> Result<(), JournalError> {
        self.tables.lock().replicas.retain(|id, _| id == replica);
        Ok(())
    }

    async fn owned(&self, replica: &ReplicaId) -> Result<Vec<SagaId>, JournalError> {
        let tables = self.tables.lock();
        let owned = tables
            .sagas
            .values()
            .filter(|stored| stored.row.status.is_active() && stored.row.owner.as_ref() == Some(replica));
        Ok(owned.map(|stored| stored.row.id).collect())
    }

    async fn retire(&self, replica: &ReplicaId, now: Timestamp) -> Result<u64, JournalError> {
        let mut tables = self.tables.lock();
        tables.replicas.remove(replica);
        let mut given_up = 0;
        for stored in tables.sagas.values_mut() {
            if stored.row.status.is_active() && stored.row.owner.as_ref() == Some(replica) {
                stored.row.owner = None;
                stored.row.updated_at = now;
                given_up += 1;
            }
        }
        Ok(given_up)
    }

    async fn request(&self, id: SagaId, request: &OperatorRequest) -> Result<Requested, JournalError> {
        let mut tables = self.tables.lock();
        let Some(stored) = tables.sagas.get_mut(&id) else { return Ok(Requested::NotFound) };
        let row = &mut stored.row;
        let may = match request.wish {
            Wish::Cancel => row.status.is_active(),
            Wish::Retry => !row.status.is_finished(),
            Wish::Resolve { .. } => row.status == Status::Parked,
        };
        Ok(if row.request.is_some() {
            Requested::Busy
        } else if may {
            row.request = Some(request.clone());
            Requested::Accepted
        } else {
            Requested::NotInStatus(row.status)
        })
    }

    async fn requests(&self, replica: &ReplicaId) -> Result<Vec<(SagaId, OperatorRequest)>, JournalError> {
        let tables = self.tables.lock();
        let mine = tables.sagas.values().map(|stored| &stored.row);
        let mine = mine.filter(|row| row.status.is_active() && row.owner.as_ref() == Some(replica));
        Ok(mine.filter_map(|row| row.request.clone().map(|request| (row.id, request))).collect())
    }

    async fn list(&self, filter: &Filter) -> Result<Page, JournalError> {
        let tables = self.tables.lock();
        let matches = |row: &&SagaRow| {
            filter.status.is_none_or(|status| row.status == status)
                && filter.definition.as_ref().is_none_or(|name| row.definition.name == *name)
                && filter.step.as_ref().is_none_or(|step| row.step.as_ref() == Some(step))
                && filter.subject.as_ref().is_none_or(|subject| row.subject == *subject)
                && filter.trace_id.as_ref().is_none_or(|trace_id| row.trace.trace_id() == Some(trace_id))
                && filter.created_before.is_none_or(|before| row.created_at < before)
                && filter.cursor.is_none_or(|cursor| row.id < cursor)
        };
        let size = usize::try_from(filter.page_size()).unwrap_or(usize::MAX);
        let rows: Vec<SagaRow> =
            tables.sagas.values().rev().map(|stored| &stored.row).filter(matches).take(size).cloned().collect();
        let next = if rows.len() == size { rows.last().map(|row| row.id) } else { None };
        Ok(Page { rows, next })
    }

    async fn stats(&self, now: Timestamp) -> Result<Stats, JournalError> {
        let tables = self.tables.lock();
        let mut counts: BTreeMap<(String, u32, Status), (u64, Duration)> = BTreeMap::new();
        for row in tables.sagas.values().map(|stored| &stored.row).filter(|row| !row.status.is_finished()) {
            let key = (row.definition.name.clone(), row.definition.version, row.status);
            let (count, oldest) = counts.entry(key).or_default();
            (*count, *oldest) = (*count + 1, (*oldest).max(now.since(row.created_at)));
        }
        let counts = counts.into_iter().map(|((name, version, status), (count, oldest))| StatsRow {
            definition: DefinitionId { name, version },
            status,
            count,
            oldest,
        });
        let store_now = self.clock.now();
        let replicas = tables.replicas.values().filter(|until| **until > store_now).count() as u64;
        Ok(Stats { counts: counts.collect(), replicas })
    }

    async fn purge(&self, before: Timestamp, limit: u32) -> Result<u64, JournalError> {
        let mut tables = self.tables.lock();
        let old = tables.sagas.values().filter(|stored| stored.row.finished_at.is_some_and(|at| at < before));
        let ids: Vec<SagaId> =
            old.map(|stored| stored.row.id).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        for id in &ids {
            tables.sagas.remove(id);
        }
        Ok(ids.len() as u64)
    }
}

fn row(saga: NewRow) -> SagaRow {
    SagaRow {
        id: saga.id,
        definition: saga.definition,
        subject: saga.subject,
        input: saga.input,
        trace: saga.trace,
        status: Status::Running,
        step: None,
        failure: None,
        parked: None,
        seq: 0,
        fence: 1,
        owner: Some(saga.owner),
        wake_at: None,
        request: None,
        created_at: saga.at,
        updated_at: saga.at,
        finished_at: None,
    }
}
