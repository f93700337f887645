//! What every journal has to do, as tests that any implementation can be put through: [`run`] gives each case a fresh store.

use std::{fmt, sync::Arc, time::Duration};

use amends_primitives::{IdSource, SagaId, SeededIds, Timestamp};
use async_trait::async_trait;
use futures::future::join_all;

use crate::{
    Cause, Failure, FailureKind, Refusal, Status, TraceContext,
    event::{Event, Record},
    journal::{
        Append, Appended, DefinitionId, Filter, Journal, JournalError, NewRow, Operator, OperatorRequest, ReplicaId,
        Requested, Resolution, Wish,
    },
};

/// The change of a host that the suite plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Writes this text.
    Note(String),
    /// Writes this text, and then refuses.
    Refuse(String),
    /// Writes this text, and then fails for a permanent reason.
    Fail(String),
}

/// A kind of store.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// Its journal.
    type Journal: Journal<Local = Probe>;

    /// A journal on an empty store.
    async fn fresh(&self) -> Self::Journal;

    /// Starts a saga in a transaction, and commits it or rolls it back.
    async fn start_in_tx(&self, journal: &Self::Journal, saga: &NewRow, commit: bool) -> Result<(), JournalError>;

    /// Moves the store's clock by this number of microseconds: forward, or back below zero. Where the clock is not ours to set, moving
    /// all leases the other way is the same.
    async fn set_clock(&self, journal: &Self::Journal, by_micros: i64);

    /// The texts that [`Probe`]s have written, in order.
    async fn notes(&self, journal: &Self::Journal) -> Vec<String>;
}

const LONG: Duration = Duration::from_hours(1);
/// Whatever the store's clock says is believed.
const LATEST: Timestamp = Timestamp::from_micros(i64::MAX);

struct World<'a, B: Backend> {
    backend: &'a B,
    journal: B::Journal,
    ids: SeededIds,
    now: Timestamp,
}

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name)
}

fn known() -> Vec<DefinitionId> {
    vec![DefinitionId { name: "probe".into(), version: 1 }, DefinitionId { name: "other".into(), version: 3 }]
}

impl<B: Backend> World<'_, B> {
    fn row(&self, owner: &str) -> NewRow {
        NewRow {
            id: SagaId::new(self.ids.next_id()),
            definition: known()[0].clone(),
            subject: "an order".into(),
            input: r#"{"amount":5}"#.into(),
            trace: TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            owner: replica(owner),
            at: self.now,
        }
    }

    async fn started(&self, owner: &str) -> SagaId {
        let row = self.row(owner);
        self.journal.start(&row).await.expect("start");
        row.id
    }

    /// An entry with one event that leaves the saga running.
    fn entry(&self, saga_id: SagaId, owner: &str, expected_seq: u64) -> Append<Probe> {
        let event = Event::StepStarted { step: "probe".into(), attempt: 1 };
        Append {
            saga_id,
            expected_seq,
            fence: 1,
            owner: replica(owner),
            records: vec![Record { at: self.now, event }],
            status: Status::Running,
            step: Some("probe".into()),
            failure: None,
            parked: None,
            wake_at: None,
            clears_request: false,
            releases: false,
            local: None,
            at: self.now,
        }
    }

    async fn append(&self, entry: Append<Probe>) -> Result<Appended, JournalError> {
        self.journal.append(Arc::new(entry)).await
    }

    async fn written(&self, entry: Append<Probe>) {
        assert_eq!(self.append(entry).await.expect("append"), Appended::Written(None));
    }

    async fn alive(&self, name: &str) {
        self.beat(name, LONG).await;
    }

    async fn dead(&self, name: &str) {
        self.beat(name, Duration::ZERO).await;
    }

    async fn beat(&self, name: &str, lease: Duration) -> crate::journal::Heartbeat {
        self.journal.heartbeat(&replica(name), lease, &known()).await.expect("heartbeat")
    }

    async fn claim(&self, name: &str, limit: u32) -> Vec<SagaId> {
        let claimed = self.journal.claim(&replica(name), &known(), limit, LATEST, self.now).await.expect("claim");
        claimed.sagas.into_iter().map(|stored| stored.row.id).collect()
    }

    async fn notes(&self) -> Vec<String> {
        self.backend.notes(&self.journal).await
    }
}

fn request(wish: Wish, now: Timestamp) -> OperatorRequest {
    OperatorRequest { operator: Operator { who: "ann".into(), why: "because".into() }, wish, at: now }
}

macro_rules! cases {
    ($($case:ident)*) => {
        /// Puts a kind of store through the whole suite.
        ///
        /// # Panics
        /// When it does not do what a journal has to do.
        pub async fn run<B: Backend>(backend: &B) {
            $(
                let world = World {
                    backend,
                    journal: backend.fresh().await,
                    ids: SeededIds::new(0x00c0_ffee),
                    now: Timestamp::from_millis(1_700_000_000_000),
                };
                $case(world).await;
                tracing::debug!(?backend, case = stringify!($case), "conforms");
            )*
        }
    };
}

cases! {
    a_started_saga_is_stored_as_it_was_given
    a_saga_exists_only_if_the_callers_transaction_commits
    an_id_is_used_once
    an_entry_moves_the_saga_and_keeps_its_events
    an_entry_is_refused_unless_it_is_the_owners_next
    a_repeated_entry_is_recognised
    a_change_commits_with_its_entry
    a_refused_change_leaves_nothing
    concurrent_entries_do_not_share_their_failures
    the_sagas_of_a_dead_replica_are_claimed_once
    a_living_replica_keeps_its_sagas
    a_clock_set_back_prolongs_no_lease
    a_clock_set_forward_ends_no_lease
    stats_count_replicas_by_the_stores_clock
    what_is_not_known_is_left_alone
    released_and_retired_sagas_can_be_claimed_at_once
    evicted_replicas_lose_their_sagas
    finished_sagas_belong_to_nobody
    requests_reach_the_owner_and_are_cleared_with_an_entry
    requests_are_refused_where_they_make_no_sense
    a_parked_saga_waits_for_a_request
    lists_are_newest_first_and_paged
    stats_count_what_is_unfinished
    only_old_finished_sagas_are_purged
    failures_and_causes_are_read_back
}

async fn a_started_saga_is_stored_as_it_was_given<B: Backend>(world: World<'_, B>) {
    let given = world.row("a");
    world.journal.start(&given).await.expect("start");
    let stored = world.journal.load(given.id).await.expect("load").expect("is there");
    assert_eq!(stored.records, []);
    let row = stored.row;
    assert_eq!((row.id, &row.definition, &row.subject), (given.id, &given.definition, &given.subject));
    assert_eq!((&row.input, &row.trace, row.owner), (&given.input, &given.trace, Some(given.owner)));
    assert_eq!((row.status, row.seq, row.fence, row.created_at), (Status::Running, 0, 1, world.now));
    assert_eq!((row.failure, row.parked, row.request, row.finished_at), (None, None, None, None));
    let missing = SagaId::new(world.ids.next_id());
    assert_eq!(world.journal.load(missing).await.expect("load"), None);
    let found = world.journal.snapshots(&[missing, given.id]).await.expect("snapshots");
    assert_eq!(found.iter().map(|snapshot| snapshot.id).collect::<Vec<_>>(), [given.id]);
}

async fn a_saga_exists_only_if_the_callers_transaction_commits<B: Backend>(world: World<'_, B>) {
    let (kept, dropped) = (world.row("a"), world.row("a"));
    world.backend.start_in_tx(&world.journal, &kept, true).await.expect("start");
    world.backend.start_in_tx(&world.journal, &dropped, false).await.expect("start");
    assert!(world.journal.row(kept.id).await.expect("row").is_some());
    assert!(world.journal.row(dropped.id).await.expect("row").is_none());
}

async fn an_id_is_used_once<B: Backend>(world: World<'_, B>) {
    let row = world.row("a");
    world.journal.start(&row).await.expect("start");
    assert!(matches!(world.journal.start(&row).await, Err(JournalError::Exists(id)) if id == row.id));
    let again = world.backend.start_in_tx(&world.journal, &row, true).await;
    assert!(matches!(again, Err(JournalError::Exists(id)) if id == row.id));
}

async fn an_entry_moves_the_saga_and_keeps_its_events<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let later = world.now + Duration::from_secs(1);
    let first = Append { wake_at: Some(later), ..world.entry(id, "a", 0) };
    world.written(first.clone()).await;
    let mut second = Append { at: later, ..world.entry(id, "a", 1) };
    second.records.push(Record { at: later, event: Event::Completed });
    second.status = Status::Completed;
    second.step = None;
    world.written(second.clone()).await;
    let stored = world.journal.load(id).await.expect("load").expect("is there");
    assert_eq!(stored.records, [first.records, second.records].concat());
    assert_eq!((stored.row.seq, stored.row.status, stored.row.step), (3, Status::Completed, None));
    assert_eq!((stored.row.wake_at, stored.row.finished_at, stored.row.updated_at), (None, Some(later), later));
}

async fn an_entry_is_refused_unless_it_is_the_owners_next<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let good = world.entry(id, "a", 0);
    let foreign = SagaId::new(world.ids.next_id());
    for wrong in [
        Append { expected_seq: 1, ..good.clone() },
        Append { fence: 2, ..good.clone() },
        Append { owner: replica("b"), ..good.clone() },
        Append { saga_id: foreign, ..good.clone() },
    ] {
        let wrong = Append { local: Some(Probe::Note("wrong".into())), ..wrong };
        assert_eq!(world.append(wrong.clone()).await.expect("append"), Appended::Fenced, "{wrong:?}");
    }
    world.written(good).await;
    assert_eq!(world.append(world.entry(id, "a", 5)).await.expect("append"), Appended::Fenced);
    assert_eq!(world.notes().await, Vec::<String>::new());
}

async fn a_repeated_entry_is_recognised<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let end = Append { status: Status::Completed, local: Some(Probe::Note("once".into())), ..world.entry(id, "a", 0) };
    for _ in 0..3 {
        world.written(end.clone()).await;
    }
    let stored = world.journal.load(id).await.expect("load").expect("is there");
    assert_eq!((stored.row.seq, stored.records.len()), (1, 1));
    assert_eq!(world.notes().await, ["once"]);
}

async fn a_change_commits_with_its_entry<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let entry = Append { local: Some(Probe::Note("one".into())), ..world.entry(id, "a", 0) };
    world.written(entry).await;
    let entry = Append { local: Some(Probe::Note("two".into())), ..world.entry(id, "a", 1) };
    world.written(entry).await;
    assert_eq!(world.notes().await, ["one", "two"]);
}

async fn a_refused_change_leaves_nothing<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let entry = world.entry(id, "a", 0);
    let refused = Append { local: Some(Probe::Refuse("no".into())), ..entry.clone() };
    let refusal = Refusal::new("refused", "no");
    assert_eq!(world.append(refused).await.expect("append"), Appended::LocalRefused(refusal));
    let failed = Append { local: Some(Probe::Fail("bad".into())), ..entry.clone() };
    assert!(world.append(failed).await.is_err_and(|error| !error.is_transient()));
    let stored = world.journal.load(id).await.expect("load").expect("is there");
    assert_eq!((stored.row.seq, stored.records.len()), (0, 0));
    assert_eq!(world.notes().await, Vec::<String>::new());
    world.written(entry).await;
}

async fn concurrent_entries_do_not_share_their_failures<B: Backend>(world: World<'_, B>) {
    let mut entries = Vec::new();
    for number in 0..60 {
        let entry = world.entry(world.started("a").await, "a", 0);
        entries.push(match number % 6 {
            0 => Append { local: Some(Probe::Note(format!("{number:02}"))), ..entry },
            1 => Append { local: Some(Probe::Refuse(format!("{number:02}"))), ..entry },
            2 => Append { local: Some(Probe::Fail(format!("{number:02}"))), ..entry },
            3 => Append { fence: 9, local: Some(Probe::Note("fenced".into())), ..entry },
            _ => entry,
        });
    }
    let verdicts = join_all(entries.iter().map(|entry| world.append(entry.clone()))).await;
    for (number, (verdict, entry)) in verdicts.into_iter().zip(&entries).enumerate() {
        let seq = world.journal.row(entry.saga_id).await.expect("row").expect("is there").seq;
        match number % 6 {
            1 => assert!(matches!(verdict, Ok(Appended::LocalRefused(_))) && seq == 0, "{number}: {verdict:?}"),
            2 => assert!(verdict.is_err() && seq == 0, "{number}: {verdict:?}"),
            3 => assert!(matches!(verdict, Ok(Appended::Fenced)) && seq == 0, "{number}: {verdict:?}"),
            _ => assert!(matches!(verdict, Ok(Appended::Written(None))) && seq == 1, "{number}: {verdict:?}"),
        }
    }
    let mut notes = world.notes().await;
    notes.sort();
    assert_eq!(notes, (0..60).step_by(6).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}

async fn the_sagas_of_a_dead_replica_are_claimed_once<B: Backend>(world: World<'_, B>) {
    world.dead("a").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(world.started("a").await);
    }
    let zombie = world.entry(ids[0], "a", 0);
    world.written(world.entry(ids[1], "a", 0)).await;
    world.alive("b").await;
    world.alive("c").await;
    assert!(world.beat("b", LONG).await.claimable);

    assert_eq!(world.claim("b", 3).await.len(), 3);
    let (more, others) = futures::join!(world.claim("b", 100), world.claim("c", 100));
    let mut claimed = [more, others].concat();
    claimed.extend(world.journal.owned(&replica("b")).await.expect("owned"));
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed, ids);
    assert!(!world.beat("b", LONG).await.claimable);
    assert_eq!(world.claim("c", 100).await, []);

    assert_eq!(world.append(zombie.clone()).await.expect("append"), Appended::Fenced);
    let row = world.journal.row(ids[0]).await.expect("row").expect("is there");
    assert_eq!(row.fence, 2);
    let owner = row.owner.expect("owned");
    let next = Append { owner, fence: 2, ..zombie };
    world.written(next).await;
    let stored = world.journal.load(ids[1]).await.expect("load").expect("is there");
    assert_eq!((stored.row.seq, stored.records.len()), (1, 1));
}

async fn a_living_replica_keeps_its_sagas<B: Backend>(world: World<'_, B>) {
    assert!(world.beat("a", LONG).await.lapsed);
    assert!(!world.beat("a", LONG).await.lapsed);
    let id = world.started("a").await;
    let heartbeat = world.beat("b", LONG).await;
    assert!(!heartbeat.claimable);
    let expiry = heartbeat.next_expiry.expect("a's");
    assert!(expiry > LONG / 2 && expiry <= LONG, "{expiry:?}");
    assert_eq!(world.claim("b", 10).await, []);
    assert_eq!(world.journal.owned(&replica("a")).await.expect("owned"), [id]);
    assert_eq!(world.journal.owned(&replica("b")).await.expect("owned"), []);
}

/// Takes no longer than the longest lease here.
async fn eventually_claimable<B: Backend>(world: &World<'_, B>, name: &str, lease: Duration) {
    for _ in 0..200 {
        if world.beat(name, lease).await.claimable {
            return;
        }
        tokio::time::sleep(lease / 20).await;
    }
    panic!("the lease of a replica that is gone does not end");
}

async fn a_clock_set_back_prolongs_no_lease<B: Backend>(world: World<'_, B>) {
    let lease = Duration::from_millis(200);
    world.beat("gone", lease).await;
    let id = world.started("gone").await;
    world.backend.set_clock(&world.journal, -3_600_000_000).await;
    // Cut to its length, and not ended: the replica may be alive.
    let seen = world.beat("b", lease).await;
    assert!(!seen.claimable, "{seen:?}");
    assert_eq!(world.claim("b", 10).await, []);
    let expiry = world.beat("b", lease).await.next_expiry;
    assert!(expiry.is_none_or(|expiry| expiry <= lease), "{expiry:?}");
    eventually_claimable(&world, "b", lease).await;
    assert_eq!(world.claim("b", 10).await, [id]);
}

async fn a_clock_set_forward_ends_no_lease<B: Backend>(world: World<'_, B>) {
    world.alive("a").await;
    let id = world.started("a").await;
    world.backend.set_clock(&world.journal, 7_200_000_000).await;
    // A replica that watched the clock knows better than it.
    let believed = world.beat("b", LONG).await.store_now - 2 * LONG;
    let early = world.journal.claim(&replica("b"), &known(), 10, believed, world.now).await.expect("claim");
    assert!(early.sagas.is_empty(), "a living replica's sagas were taken: {early:?}");
    // Its next heartbeat is by the clock as it is now.
    world.alive("a").await;
    assert_eq!(world.claim("b", 10).await, []);
    assert_eq!(world.journal.row(id).await.expect("row").expect("is there").owner, Some(replica("a")));
}

async fn stats_count_replicas_by_the_stores_clock<B: Backend>(world: World<'_, B>) {
    world.dead("b").await;
    world.alive("a").await;
    world.alive("c").await;
    for now in [Timestamp::from_millis(0), LATEST] {
        assert_eq!(world.journal.stats(now).await.expect("stats").replicas, 2);
    }
}

async fn what_is_not_known_is_left_alone<B: Backend>(world: World<'_, B>) {
    world.alive("b").await;
    let newer = NewRow { definition: DefinitionId { name: "probe".into(), version: 2 }, ..world.row("gone") };
    let older = NewRow { definition: DefinitionId { name: "other".into(), version: 3 }, ..world.row("gone") };
    for row in [&newer, &older] {
        world.journal.start(row).await.expect("start");
    }
    assert_eq!(world.claim("b", 10).await, [older.id]);
    assert!(!world.beat("b", LONG).await.claimable);
    let none = world.journal.claim(&replica("b"), &[], 10, LATEST, world.now).await.expect("claim");
    assert!(none.sagas.is_empty());
}

async fn released_and_retired_sagas_can_be_claimed_at_once<B: Backend>(world: World<'_, B>) {
    world.alive("a").await;
    world.alive("b").await;
    let (released, retired) = (world.started("a").await, world.started("a").await);
    let entry = Append { releases: true, ..world.entry(released, "a", 0) };
    world.written(entry).await;
    assert!(world.beat("b", LONG).await.claimable);
    assert_eq!(world.claim("b", 10).await, [released]);
    assert_eq!(world.journal.retire(&replica("a"), world.now).await.expect("retire"), 1);
    assert_eq!(world.claim("b", 10).await, [retired]);
    assert_eq!(world.append(world.entry(retired, "a", 0)).await.expect("append"), Appended::Fenced);
}

async fn evicted_replicas_lose_their_sagas<B: Backend>(world: World<'_, B>) {
    world.alive("a").await;
    world.alive("b").await;
    let id = world.started("a").await;
    world.journal.evict_others(&replica("b")).await.expect("evict");
    assert_eq!(world.claim("b", 10).await, [id]);
    assert!(world.beat("a", LONG).await.lapsed);
    assert!(!world.beat("b", LONG).await.lapsed);
}

async fn finished_sagas_belong_to_nobody<B: Backend>(world: World<'_, B>) {
    world.alive("b").await;
    for status in [Status::Completed, Status::Unwound, Status::Parked] {
        let id = world.started("gone").await;
        let end = Append { status, ..world.entry(id, "gone", 0) };
        world.written(end).await;
        assert_eq!(world.journal.row(id).await.expect("row").expect("is there").owner, None);
    }
    assert!(!world.beat("b", LONG).await.claimable);
    assert_eq!(world.claim("b", 10).await, []);
    assert_eq!(world.journal.owned(&replica("gone")).await.expect("owned"), []);
}

async fn requests_reach_the_owner_and_are_cleared_with_an_entry<B: Backend>(world: World<'_, B>) {
    world.alive("a").await;
    let id = world.started("a").await;
    let asked = request(Wish::Cancel, world.now);
    assert_eq!(world.journal.request(id, &asked).await.expect("request"), Requested::Accepted);
    let twice = request(Wish::Retry, world.now);
    assert_eq!(world.journal.request(id, &twice).await.expect("request"), Requested::Busy);
    assert!(world.beat("a", LONG).await.requests);
    assert!(!world.beat("b", LONG).await.requests);
    assert_eq!(world.journal.requests(&replica("a")).await.expect("requests"), [(id, asked.clone())]);
    let written = world.append(world.entry(id, "a", 0)).await.expect("append");
    assert_eq!(written, Appended::Written(Some(asked)));
    let clearing = Append { clears_request: true, ..world.entry(id, "a", 1) };
    world.written(clearing).await;
    assert!(!world.beat("a", LONG).await.requests);
    assert_eq!(world.journal.request(id, &twice).await.expect("request"), Requested::Accepted);
}

async fn requests_are_refused_where_they_make_no_sense<B: Backend>(world: World<'_, B>) {
    let (running, completed) = (world.started("a").await, world.started("a").await);
    world.written(Append { status: Status::Completed, ..world.entry(completed, "a", 0) }).await;
    let resolve = Wish::Resolve { step: "probe".into(), resolution: Resolution::Undone };
    for (id, wish, expected) in [
        (running, resolve.clone(), Requested::NotInStatus(Status::Running)),
        (completed, Wish::Cancel, Requested::NotInStatus(Status::Completed)),
        (completed, Wish::Retry, Requested::NotInStatus(Status::Completed)),
        (completed, resolve, Requested::NotInStatus(Status::Completed)),
        (SagaId::new(world.ids.next_id()), Wish::Cancel, Requested::NotFound),
    ] {
        let asked = request(wish, world.now);
        assert_eq!(world.journal.request(id, &asked).await.expect("request"), expected, "{asked:?}");
    }
}

async fn a_parked_saga_waits_for_a_request<B: Backend>(world: World<'_, B>) {
    world.alive("b").await;
    let id = world.started("a").await;
    world.written(Append { status: Status::Parked, ..world.entry(id, "a", 0) }).await;
    assert!(!world.beat("b", LONG).await.claimable);
    let resolve =
        Wish::Resolve { step: "probe".into(), resolution: Resolution::Done { output: serde_json::json!({"id": 7}) } };
    let asked = request(resolve, world.now);
    assert_eq!(world.journal.request(id, &asked).await.expect("request"), Requested::Accepted);
    assert!(world.beat("b", LONG).await.claimable);
    let claimed = world.journal.claim(&replica("b"), &known(), 10, LATEST, world.now).await.expect("claim");
    assert_eq!(claimed.sagas.len(), 1);
    let row = &claimed.sagas[0].row;
    assert_eq!((row.id, row.status, row.fence, row.request.as_ref()), (id, Status::Parked, 2, Some(&asked)));
}

async fn lists_are_newest_first_and_paged<B: Backend>(world: World<'_, B>) {
    let mut ids = Vec::new();
    for number in 0..7_u32 {
        let mut row = world.row("a");
        row.subject = format!("order {}", number % 2);
        row.at = world.now + Duration::from_secs(u64::from(number));
        world.journal.start(&row).await.expect("start");
        ids.push(row.id);
    }
    world.written(Append { status: Status::Parked, ..world.entry(ids[2], "a", 0) }).await;
    ids.reverse();
    let list = async |filter: Filter| {
        let page = world.journal.list(&filter).await.expect("list");
        (page.rows.iter().map(|row| row.id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(Filter::default()).await, (ids.clone(), None));
    let (first, cursor) = list(Filter { limit: 3, ..Filter::default() }).await;
    let (second, cursor) = list(Filter { limit: 3, cursor, ..Filter::default() }).await;
    let (third, end) = list(Filter { limit: 3, cursor, ..Filter::default() }).await;
    assert_eq!(([first, second, third].concat(), end), (ids.clone(), None));
    let one = |filter: Filter| list(Filter { limit: 100, ..filter });
    assert_eq!(one(Filter { status: Some(Status::Parked), ..Filter::default() }).await.0, [ids[4]]);
    assert_eq!(one(Filter { step: Some("probe".into()), ..Filter::default() }).await.0, [ids[4]]);
    assert_eq!(one(Filter { subject: Some("order 1".into()), ..Filter::default() }).await.0, [ids[1], ids[3], ids[5]]);
    assert_eq!(one(Filter { definition: Some("nothing".into()), ..Filter::default() }).await.0, []);
    let trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    assert_eq!(one(Filter { trace_id, ..Filter::default() }).await.0, ids);
    assert_eq!(one(Filter { trace_id: Some("0".repeat(32)), ..Filter::default() }).await.0, []);
    let created_before = Some(world.now + Duration::from_secs(2));
    assert_eq!(one(Filter { created_before, ..Filter::default() }).await.0, ids[5..]);
}

async fn stats_count_what_is_unfinished<B: Backend>(world: World<'_, B>) {
    for status in
        [Status::Running, Status::Running, Status::Unwinding, Status::Completed, Status::Unwound, Status::Parked]
    {
        let id = world.started("a").await;
        world.written(Append { status, ..world.entry(id, "a", 0) }).await;
    }
    let stats = world.journal.stats(world.now + Duration::from_secs(5)).await.expect("stats");
    let mut counts: Vec<_> = stats.counts.iter().map(|row| (row.status, row.count)).collect();
    counts.sort();
    assert_eq!(counts, [(Status::Running, 2), (Status::Unwinding, 1), (Status::Parked, 1)]);
    assert_eq!(stats.oldest_active(), Some(Duration::from_secs(5)));
    assert!(stats.counts.iter().all(|row| row.oldest == Duration::from_secs(5)), "{stats:?}");
}

async fn only_old_finished_sagas_are_purged<B: Backend>(world: World<'_, B>) {
    let (then, now) = (world.now, world.now + LONG);
    let mut sagas = Vec::new();
    for (status, at) in [
        (Status::Completed, then),
        (Status::Unwound, then),
        (Status::Completed, then),
        (Status::Unwound, now),
        (Status::Running, then),
        (Status::Unwinding, then),
        (Status::Parked, then),
    ] {
        let id = world.started("a").await;
        world.written(Append { status, at, ..world.entry(id, "a", 0) }).await;
        sagas.push(id);
    }
    for expected in [2, 1, 0] {
        assert_eq!(world.journal.purge(now, 2).await.expect("purge"), expected);
    }
    let (old, kept) = sagas.split_at(3);
    for id in old {
        assert_eq!(world.journal.load(*id).await.expect("load"), None);
    }
    for id in kept {
        let stored = world.journal.load(*id).await.expect("load").expect("kept");
        assert_eq!(stored.records.len(), 1);
    }
}

async fn failures_and_causes_are_read_back<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let failure = Failure {
        step: Some("charge".into()),
        kind: FailureKind::Refused,
        code: "declined".into(),
        message: "„Nein“, sagte \"sie\" \u{0}\n".into(),
    };
    let cause = Cause::permanent("unimplemented", "no answer").retry_after(Duration::from_millis(1500));
    let entry = Append {
        status: Status::Parked,
        failure: Some(failure.clone()),
        parked: Some(cause.clone()),
        ..world.entry(id, "a", 0)
    };
    world.written(entry).await;
    let row = world.journal.row(id).await.expect("row").expect("is there");
    assert_eq!((row.failure, row.parked), (Some(failure), Some(cause)));
}
