//! Lists, counts, and what is deleted.

use std::time::Duration;

use super::world::{Backend, LONG, World};
use crate::{
    Cause, Failure, FailureKind, Status,
    journal::{Append, Filter, Journal as _},
};

pub(super) async fn lists_are_newest_first_and_paged<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn stats_count_what_is_unfinished<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn only_old_finished_sagas_are_purged<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn failures_and_causes_are_read_back<B: Backend>(world: World<'_, B>) {
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
