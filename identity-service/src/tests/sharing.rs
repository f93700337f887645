//! Revocations on their way to other processes: stored first, shared after, and shared again until it worked.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use amends_auth::{Revocable, session_name};
use amends_primitives::{SteadyTime, Timestamp};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use super::support::{Reply, World, config};
use crate::{
    app::{Core, Failure, TokenError, authenticate::Presented, keys::Keys, revocations::Singles},
    ports::{Revocation, ShareError, Sharing},
};

/// Where others look. It can be down, and it can lose what it has.
struct Place {
    names: Mutex<BTreeSet<String>>,
    complete: AtomicBool,
    down: AtomicBool,
    asked: Semaphore,
}

impl Place {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            names: Mutex::default(),
            complete: AtomicBool::new(false),
            down: AtomicBool::new(false),
            asked: Semaphore::new(0),
        })
    }

    fn fails(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn has(&self, reply: &Reply) -> bool {
        self.names.lock().contains(&session_name(reply.claims()["sid"].as_str().unwrap()))
    }

    fn answer(&self) -> Result<(), ShareError> {
        self.asked.add_permits(1);
        if self.down.load(Ordering::SeqCst) { Err(ShareError("down".to_owned())) } else { Ok(()) }
    }

    /// Waits until it was asked this number of times more.
    async fn asked(&self, times: u32) {
        let asked = tokio::time::timeout(Duration::from_mins(1), self.asked.acquire_many(times)).await;
        asked.expect("nobody asks any more").unwrap().forget();
    }
}

struct At(Arc<Place>);

#[async_trait]
impl Sharing for At {
    async fn share(&self, revoked: &[Revocation], _: Timestamp) -> Result<(), ShareError> {
        self.0.answer()?;
        self.0.names.lock().extend(revoked.iter().map(|revoked| revoked.name.clone()));
        Ok(())
    }

    async fn has_forgotten(&self) -> Result<bool, ShareError> {
        self.0.answer()?;
        Ok(!self.0.complete.load(Ordering::SeqCst))
    }

    async fn remember(&self) -> Result<(), ShareError> {
        self.0.answer()?;
        self.0.complete.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A replica on the same store that shares there.
async fn replica(world: &World, place: &Arc<Place>) -> Arc<Core> {
    let core = &world.app.core;
    let keys = Keys::new(config(&world.database).rotation_policy());
    keys.refresh(core.store.as_ref(), &core.keyring, core.now()).await.unwrap();
    Arc::new(Core {
        store: Arc::clone(&core.store),
        sharing: Some(Arc::new(At(Arc::clone(place)))),
        known: core.known.clone(),
        singles: Singles::default(),
        unshared: Notify::new(),
        steady: Mutex::new(SteadyTime::new(Duration::from_hours(1))),
        shared_at: Mutex::default(),
        keys,
        keyring: Arc::clone(&core.keyring),
        passwords: core.passwords.clone(),
        clock: Arc::clone(&core.clock),
        ids: Arc::clone(&core.ids),
        metrics: core.metrics.clone(),
        settings: core.settings.clone(),
    })
}

async fn log_out(core: &Core, reply: &Reply) -> Result<(), TokenError> {
    core.revoke(Presented::default(), reply.text("refresh_token")).await
}

#[tokio::test]
async fn a_session_is_over_though_it_cannot_be_shared() {
    let (world, place) = (World::new().await, Place::new());
    let core = replica(&world, &place).await;
    let (login, other) = (world.login().await, world.login().await);
    place.fails(true);
    let refused = log_out(&core, &login).await;
    assert!(matches!(refused, Err(TokenError::Failed(Failure::Sharing(_)))), "{refused:?}");
    assert!(!world.is_active(login.text("access_token")).await, "it is stored");
    assert!(world.is_known_revoked(&login).await);
    assert_eq!(world.refresh(login.text("refresh_token")).await.error(), "400 invalid_grant");
    assert_eq!(world.refresh(other.text("refresh_token")).await.error(), "200 -", "others go on");
    assert!(!place.has(&login));
    place.fails(false);
    log_out(&core, &login).await.unwrap();
    assert!(place.has(&login) && !place.has(&other), "who asks again is told when it is done");
}

#[tokio::test]
async fn what_could_not_be_shared_is_shared_soon_by_itself() {
    let (world, place) = (World::new().await, Place::new());
    let core = replica(&world, &place).await;
    let shutdown = service_kit::shutdown::Shutdown::new();
    let maintenance = tokio::spawn(crate::build::maintain(Arc::clone(&core), shutdown.clone()));
    place.asked(2).await; // the first round is over: nothing to share, and that is noted
    let (login, reused) = (world.login().await, world.login().await);
    place.fails(true);
    log_out(&core, &login).await.unwrap_err();
    // The alarm of reuse does not depend on it either.
    world.refresh(reused.text("refresh_token")).await;
    world.advance(60);
    let again = core.refresh(Presented::default(), reused.text("refresh_token"), None).await;
    assert!(matches!(again, Err(TokenError::InvalidGrant(_))), "{again:?}");
    assert!(!world.is_active(reused.text("access_token")).await);
    place.asked(4).await; // both, and at least one that was tried again
    assert!(!place.has(&login) && !place.has(&reused));
    place.fails(false);
    while !(place.has(&login) && place.has(&reused)) {
        place.asked(1).await;
    }
    shutdown.trigger();
    maintenance.await.unwrap();
    assert!(core.store.unshared(world.now(), 9).await.unwrap().len() <= 2, "marked, or shared once more");
}

#[tokio::test]
async fn a_start_and_a_clock_set_back_tell_all_again() {
    let (world, place) = (World::new().await, Place::new());
    let core = replica(&world, &place).await;
    core.share_revocations().await.unwrap();
    let login = world.login().await;
    log_out(&core, &login).await.unwrap();
    // It forgets by its own clock, which is not set back with ours.
    let forget = || place.names.lock().clear();
    forget();
    core.share_revocations().await.unwrap();
    assert!(!place.has(&login), "what is shared is not told again each time");
    world.clock.step_back(Duration::from_hours(1));
    core.share_revocations().await.unwrap();
    assert!(place.has(&login));
    forget();
    world.clock.step_forward(Duration::from_hours(1));
    core.share_revocations().await.unwrap();
    assert!(!place.has(&login), "a step forward takes nothing from anybody");
    let restarted = replica(&world, &place).await;
    restarted.share_revocations().await.unwrap();
    assert!(place.has(&login), "a process that starts cannot know");
    assert!(restarted.known.contains(Revocable { jti: "any", sid: login.claims()["sid"].as_str() }));
}
