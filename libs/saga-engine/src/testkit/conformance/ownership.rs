//! Which replica a saga belongs to, and by whose clock.

use std::time::Duration;

use amends_primitives::Timestamp;

use super::world::{Backend, LATEST, LONG, World, known, replica};
use crate::{
    Status,
    journal::{Append, Appended, DefinitionId, Journal as _, NewRow},
};

pub(super) async fn the_sagas_of_a_dead_replica_are_claimed_once<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn a_living_replica_keeps_its_sagas<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn a_clock_set_back_prolongs_no_lease<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn a_clock_set_forward_ends_no_lease<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn stats_count_replicas_by_the_stores_clock<B: Backend>(world: World<'_, B>) {
    world.dead("b").await;
    world.alive("a").await;
    world.alive("c").await;
    for now in [Timestamp::from_millis(0), LATEST] {
        assert_eq!(world.journal.stats(now).await.expect("stats").replicas, 2);
    }
}

pub(super) async fn what_is_not_known_is_left_alone<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn released_and_retired_sagas_can_be_claimed_at_once<B: Backend>(world: World<'_, B>) {
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

pub(super) async fn evicted_replicas_lose_their_sagas<B: Backend>(world: World<'_, B>) {
    world.alive("a").await;
    world.alive("b").await;
    let id = world.started("a").await;
    world.journal.evict_others(&replica("b")).await.expect("evict");
    assert_eq!(world.claim("b", 10).await, [id]);
    assert!(world.beat("a", LONG).await.lapsed);
    assert!(!world.beat("b", LONG).await.lapsed);
}

pub(super) async fn finished_sagas_have_no_owner<B: Backend>(world: World<'_, B>) {
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
