//! A wall clock that is set, by an hour in either direction: what only this process measures does not notice.

use std::{net::IpAddr, sync::atomic::Ordering, time::Duration};

use amends_primitives::ManualClock;

use super::support::{Issuer, World};
use crate::AuthError;

const HOUR: Duration = Duration::from_hours(1);
const EITHER_WAY: [fn(&ManualClock, Duration); 2] = [ManualClock::step_back, ManualClock::step_forward];

#[tokio::test(start_paused = true)]
async fn a_throttled_address_waits_no_longer_and_no_less() {
    let issuer = Issuer::ed25519("k1");
    let bad: IpAddr = "192.0.2.1".parse().unwrap();
    for set in EITHER_WAY {
        let world = World::with(&issuer);
        for _ in 0..50 {
            world.verifier.verify_from(bad, "x.y.z").await.unwrap_err();
        }
        set(&world.clock, HOUR);
        let refused = world.verifier.verify_from(bad, &issuer.token(&world)).await;
        let Err(AuthError::Throttled { retry_after }) = refused else { panic!("{refused:?}") };
        assert_eq!(retry_after, Duration::from_millis(200), "until one of fifty in ten seconds is forgotten");
        tokio::time::advance(retry_after).await;
        world.verifier.verify_from(bad, &issuer.token(&world)).await.unwrap();
    }
}

#[tokio::test]
async fn keys_get_no_older_and_no_younger() {
    let issuer = Issuer::ed25519("k1");
    for set in EITHER_WAY {
        let world = World::with(&issuer);
        world.verifier.verify(&issuer.token(&world)).await.unwrap();
        world.source.down.store(true, Ordering::SeqCst);
        set(&world.clock, HOUR);
        world.verifier.verify(&issuer.token(&world)).await.unwrap();
        // They end when they would have.
        world.clock.advance(HOUR + Duration::from_secs(1));
        let old = world.verifier.verify(&issuer.token(&world)).await;
        assert!(matches!(old, Err(AuthError::Unavailable { .. })), "{old:?}");
    }
}

#[tokio::test]
async fn the_issuer_is_asked_again_when_it_would_have_been() {
    let issuer = Issuer::ed25519("k1");
    for set in EITHER_WAY {
        let world = World::with(&issuer);
        world.source.down.store(true, Ordering::SeqCst);
        world.verifier.verify(&issuer.token(&world)).await.unwrap_err();
        world.source.down.store(false, Ordering::SeqCst);
        set(&world.clock, HOUR);
        world.verifier.verify(&issuer.token(&world)).await.unwrap_err();
        world.clock.advance(Duration::from_secs(5));
        world.verifier.verify(&issuer.token(&world)).await.unwrap();
    }
}
