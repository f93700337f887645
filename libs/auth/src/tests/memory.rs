//! What an address that has failed too often is still answered: what is remembered, and what is refused unread.

use std::{net::IpAddr, time::Duration};

use serde_json::json;

use super::{
    refused,
    support::{Issuer, World},
};
use crate::{AuthError, token::TOKEN_BYTES_MAX};

/// Fails as often as an address may.
async fn fail(world: &World, address: IpAddr, bad: &str) {
    for _ in 0..50 {
        world.verifier.verify_from(address, bad).await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn a_remembered_token_is_not_throttled() {
    let issuer = Issuer::ed25519("k1");
    let (world, address) = (World::with(&issuer), "192.0.2.1".parse().unwrap());
    let token = issuer.token(&world);
    world.verifier.verify(&token).await.unwrap();
    fail(&world, address, "x.y.z").await;
    world.verifier.verify_from(address, &token).await.unwrap();
    world.clock.advance(Duration::from_mins(1));
    world.verifier.verify_from(address, &token).await.unwrap();
    world.clock.advance(Duration::from_micros(1));
    let forgotten = world.verifier.verify_from(address, &token).await;
    assert!(matches!(forgotten, Err(AuthError::Throttled { .. })), "{forgotten:?}");
}

#[tokio::test(start_paused = true)]
async fn an_overlong_token_is_refused_unread_and_counted() {
    // With a key's name of one character a token can be of exactly that length: base64 has no text of 4n + 1 characters.
    let issuer = Issuer::ed25519("k");
    let (world, address) = (World::with(&issuer), "192.0.2.1".parse().unwrap());
    let padded = |pad| issuer.token_with(&world, &json!({}), &json!({"pad": "x".repeat(pad)}));
    let longest = (2_500..3_000).map(padded).find(|token| token.len() == TOKEN_BYTES_MAX).unwrap();
    world.verifier.verify(&longest).await.unwrap();
    let overlong = "x".repeat(TOKEN_BYTES_MAX + 1);
    fail(&world, address, &overlong).await;
    assert_eq!(refused(world.verifier.verify_from(address, &overlong).await), "too_long");
    let unknown = world.verifier.verify_from(address, &issuer.token(&world)).await;
    assert!(matches!(unknown, Err(AuthError::Throttled { .. })), "{unknown:?}");
}
