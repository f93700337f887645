//! Who may do what: tokens, scopes, revocation, and headers that may not be set from outside.

use amends::client::order_of;
use amends_tests::{
    check::{expect, key},
    platform::Platform,
    process::eventually,
};
use anyhow::{Result, ensure};
use reqwest::Method;

pub(crate) async fn requests_without_a_valid_token_are_401(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let good = demo.token().unwrap_or_default().to_owned();
    let (head, signature) = good.rsplit_once('.').unwrap_or_default();
    let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{head}.{flipped}{}", &signature[1..]);
    let bad = [
        ("tampered", tampered),
        ("foreign", amends_tests::forge::foreign_token(&good)?),
        ("unsigned", amends_tests::forge::unsigned_token(&good)?),
        ("expired", platform.expired_token().await?),
        ("no token at all", "nonsense".to_owned()),
    ];
    for (what, token) in bad {
        let answer = demo.with_token(token).place(&key(), &order_of("case-confirmed", 1, "pm_ok")).await?;
        ensure!(answer.status.as_u16() == 401, "{what}: {} {}", answer.status, answer.body);
        ensure!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{what}: {:?}", answer.headers);
    }
    let none = platform.anonymous()?.place(&key(), &order_of("case-confirmed", 1, "pm_ok")).await?;
    ensure!(none.status.as_u16() == 401, "{} {}", none.status, none.body);
    // RFC 6750, section 3: without any credentials the challenge carries no error code.
    ensure!(
        none.header("www-authenticate").starts_with("Bearer") && !none.header("www-authenticate").contains("error="),
        "{:?}",
        none.headers
    );
    Ok(())
}

pub(crate) async fn a_missing_scope_is_403(platform: &Platform) -> Result<()> {
    let reader = platform.user("reader").await?;
    let answer = reader.place(&key(), &order_of("case-confirmed", 1, "pm_ok")).await?;
    expect(&answer, 403, "/code", "insufficient_scope")?;
    ensure!(answer.header("www-authenticate").contains("orders:write"), "{:?}", answer.headers);
    ensure!(reader.get("/v1/orders").await?.status.is_success(), "reading is allowed");
    Ok(())
}

pub(crate) async fn a_revoked_token_is_401(platform: &Platform) -> Result<()> {
    let leaving = platform.log_in_anew("leaver").await?;
    ensure!(leaving.get("/v1/orders").await?.status.is_success(), "the token works before");
    platform.revoke(leaving.token().unwrap_or_default()).await?;
    eventually("the revoked token is refused", std::time::Duration::from_secs(5), || async {
        leaving.get("/v1/orders").await.is_ok_and(|answer| answer.status.as_u16() == 401)
    })
    .await
}

pub(crate) async fn a_revoked_sessions_tokens_are_401_at_once(platform: &Platform) -> Result<()> {
    let anonymous = platform.anonymous()?;
    let log_in = async || {
        let body = serde_json::json!({"username": "leaver", "password": amends_tests::platform::PASSWORD});
        anonymous.send(anonymous.request(Method::POST, "/auth/login").json(&body)).await
    };
    let refresh = async |token: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        anonymous.send(anonymous.request(Method::POST, "/oauth2/token").form(&form)).await
    };
    let (leaving, staying) = (log_in().await?, log_in().await?);
    let rotated = refresh(leaving.text("/refresh_token")).await?;
    let replayed = refresh(leaving.text("/refresh_token")).await?;
    ensure!(replayed.status.is_success(), "{} {}", replayed.status, replayed.body);
    ensure!(replayed.text("/refresh_token") == rotated.text("/refresh_token"), "a lost answer is given again");
    let of_session = [&leaving, &rotated, &replayed].map(|answer| answer.text("/access_token").to_owned());
    for token in &of_session {
        ensure!(anonymous.with_token(token).get("/v1/orders").await?.status.is_success(), "the token works before");
    }
    platform.revoke(rotated.text("/refresh_token")).await?;
    for token in &of_session {
        let answer = anonymous.with_token(token).get("/v1/orders").await?;
        expect(&answer, 401, "/code", "invalid_token")?;
        // Also behind the gateway: every service asks for itself.
        for order in &platform.orders {
            let answer = amends::client::Client::new(*order)?.with_token(token).get("/v1/orders").await?;
            expect(&answer, 401, "/code", "invalid_token")?;
        }
    }
    let other = anonymous.with_token(staying.text("/access_token"));
    ensure!(other.get("/v1/orders").await?.status.is_success(), "the user's other session goes on");
    Ok(())
}

pub(crate) async fn identity_headers_from_outside_are_ignored(platform: &Platform) -> Result<()> {
    let demo = platform.demo().await?;
    let mut request = demo.request(Method::POST, "/v1/orders").header("idempotency-key", key());
    for name in ["x-user-id", "x-customer-id", "x-client-id", "x-amends-subject", "x-forwarded-user"] {
        request = request.header(name, "other");
    }
    let placed = demo.send(request.json(&order_of("case-headers", 1, "pm_ok"))).await?;
    expect(&placed, 201, "/customer_id", "demo")
}
