//! What operators ask for.

use amends_primitives::{IdSource as _, SagaId};

use super::world::{Backend, LATEST, LONG, World, known, replica, request};
use crate::{
    Status,
    journal::{Append, Appended, Journal as _, Requested, Resolution, Wish},
};

pub(super) async fn requests_reach_the_owner_and_are_cleared_with_an_entry<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn requests_are_refused_where_they_make_no_sense<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn a_parked_saga_waits_for_a_request<B: Backend>(world: World<'_, B>) {
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
