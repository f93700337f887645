//! Starting sagas, and writing entries with the host's changes.

use std::time::Duration;

use amends_primitives::{IdSource as _, SagaId};
use futures::future::join_all;

use super::world::{Backend, Probe, World, replica};
use crate::{
    Refusal, Status,
    event::{Event, Record},
    journal::{Append, Appended, Journal as _, JournalError},
};

pub(super) async fn a_started_saga_is_stored_as_it_was_given<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn a_saga_exists_only_if_the_callers_transaction_commits<B: Backend>(world: World<'_, B>) {
    let (kept, dropped) = (world.row("a"), world.row("a"));
    world.backend.start_in_tx(&world.journal, &kept, true).await.expect("start");
    world.backend.start_in_tx(&world.journal, &dropped, false).await.expect("start");
    assert!(world.journal.row(kept.id).await.expect("row").is_some());
    assert!(world.journal.row(dropped.id).await.expect("row").is_none());
}

pub(super) async fn an_id_is_used_once<B: Backend>(world: World<'_, B>) {
    let row = world.row("a");
    world.journal.start(&row).await.expect("start");
    assert!(matches!(world.journal.start(&row).await, Err(JournalError::Exists(id)) if id == row.id));
    let again = world.backend.start_in_tx(&world.journal, &row, true).await;
    assert!(matches!(again, Err(JournalError::Exists(id)) if id == row.id));
}

pub(super) async fn an_entry_moves_the_saga_and_keeps_its_events<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn an_entry_is_refused_unless_it_is_the_owners_next<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn a_repeated_entry_is_recognised<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let end = Append { status: Status::Completed, local: Some(Probe::Note("once".into())), ..world.entry(id, "a", 0) };
    for _ in 0..3 {
        world.written(end.clone()).await;
    }
    let stored = world.journal.load(id).await.expect("load").expect("is there");
    assert_eq!((stored.row.seq, stored.records.len()), (1, 1));
    assert_eq!(world.notes().await, ["once"]);
}

pub(super) async fn a_change_commits_with_its_entry<B: Backend>(world: World<'_, B>) {
    let id = world.started("a").await;
    let entry = Append { local: Some(Probe::Note("one".into())), ..world.entry(id, "a", 0) };
    world.written(entry).await;
    let entry = Append { local: Some(Probe::Note("two".into())), ..world.entry(id, "a", 1) };
    world.written(entry).await;
    assert_eq!(world.notes().await, ["one", "two"]);
}

pub(super) async fn a_refused_change_leaves_nothing<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn concurrent_entries_do_not_share_their_failures<B: Backend>(world: World<'_, B>) {
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
