//! Callers that exhaust resources, guess passwords, or send odd requests. Customers come from one address; the flood comes from
//! another.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use amends::client::{Client, order_of};
use amends_protos::orders::v1::{CreateOrderRequest, NewOrderLine, order_service_client::OrderServiceClient};
use amends_tests::{
    check::{expect, key},
    forge::foreign_token,
    kit::{
        flood::{self, Ask, ELSEWHERE, ELSEWHERE_TOO, client_from},
        report::accepted_again,
    },
    platform::{PASSWORD, Platform},
};
use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::{
    bare::Bare,
    support::{confirmed, on, readyz},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// How long a flood goes on before it is looked at what it leaves.
const FLOODED_FOR: Duration = Duration::from_secs(2);

/// Limits of each caller's number of requests are not what is looked at.
fn unlimited() -> Value {
    json!({"gateway": {"rate_limit": {"enabled": false}}})
}

/// 4,200 streams that need no token, from one address.
pub(crate) async fn streams_without_a_token_leave_room_for_others() -> Result<()> {
    on(Platform::embedded_with(unlimited()).await?, async |platform| {
        let demo = platform.demo().await?;
        confirmed(&demo).await?;
        let flood = flood::streams(ELSEWHERE, platform.gateway, 42, 100, &Ask::WatchHealth);
        tokio::time::sleep(FLOODED_FOR).await;
        others_are_served(platform, "4,200 streams without a token").await?;
        drop(flood);
        accepted_again("streams without a token", &demo, Instant::now()).await.map(drop)
    })
    .await
}

/// One customer's token, on 4,400 streams and then on 2,000 connections, with orders that never end.
pub(crate) async fn bodies_that_do_not_end_leave_room_for_others() -> Result<()> {
    service_base::descriptors::raise_limit();
    on(Platform::embedded_with(unlimited()).await?, async |platform| {
        let demo = platform.demo().await?;
        confirmed(&demo).await?;
        let token = platform.other().await?.token().unwrap_or_default().to_owned();
        let ask = Ask::EndlessOrder { token: token.clone() };
        let flood = flood::streams(ELSEWHERE, platform.gateway, 44, 100, &ask);
        tokio::time::sleep(FLOODED_FOR).await;
        others_are_served(platform, "4,400 orders that do not end").await?;
        drop(flood);
        let flood = flood::trickling_orders(ELSEWHERE_TOO, platform.gateway, 2_000, &token);
        tokio::time::sleep(FLOODED_FOR).await;
        others_are_served(platform, "2,000 orders that trickle").await?;
        drop(flood);
        accepted_again("bodies that do not end", &demo, Instant::now()).await.map(drop)
    })
    .await
}

/// Customers at another address get their orders, on connections that they have and on new ones; and the process is well.
async fn others_are_served(platform: &Platform, during: &str) -> Result<()> {
    let demo = platform.demo().await?;
    for _ in 0..5 {
        served(&demo).await.with_context(|| format!("a customer during {during}"))?;
        let fresh = Client::new(platform.gateway)?.with_token(demo.token().unwrap_or_default());
        served(&fresh).await.with_context(|| format!("a customer on a new connection during {during}"))?;
    }
    let (status, body) = readyz(platform).await?;
    ensure!(status == 200, "/readyz says {status} during {during}: {body}");
    Ok(())
}

/// Places an order, which must be confirmed. The flood and the shop have the same two processors, so a call within the shop may run out of
/// time while the flood arrives: that is asked again under the same key. That others have taken a customer's place is not.
async fn served(customer: &Client) -> Result<()> {
    const SERVED_WITHIN: Duration = Duration::from_secs(15);
    let (key, begun) = (key(), Instant::now());
    loop {
        let placed = customer.place(&key, &order_of("espresso-1kg", 1, "pm_ok")).await?;
        let out_of_time = placed.status == 503 && placed.text("/code") == "dependency_unavailable";
        if !out_of_time || begun.elapsed() > SERVED_WITHIN {
            return expect(&placed, 201, "/status", "confirmed").map(drop);
        }
    }
}

/// 3,000 tokens that another key signed: soon none of them is verified any more, and no customer is refused with them.
pub(crate) async fn forged_tokens_are_throttled() -> Result<()> {
    const FORGED: usize = 3_000;
    on(Platform::embedded_with(unlimited()).await?, async |platform| {
        let demo = platform.demo().await?;
        let genuine = demo.token().unwrap_or_default().to_owned();
        let forger = client_from(ELSEWHERE, platform.gateway, PATIENCE)?;
        let forged = stream::iter(0..FORGED).map(|_| async {
            let token = foreign_token(&genuine)?;
            Ok::<_, anyhow::Error>(forger.with_token(token).get("/v1/orders?limit=1").await?.status.as_u16())
        });
        let statuses: Vec<Result<u16>> = forged.buffered(32).collect().await;
        let statuses: Vec<u16> = statuses.into_iter().collect::<Result<_>>()?;
        let looked_at = statuses.iter().filter(|status| **status == 401).count();
        ensure!(statuses.iter().all(|status| [401, 429].contains(status)), "other answers than 401 and 429");
        ensure!(looked_at < FORGED / 4, "{looked_at} of {FORGED} forged tokens were verified");
        // But for one now and then (five a second), so that a good token among them gets its turn.
        let late = statuses.iter().rev().take(100).filter(|status| **status == 401).count();
        ensure!(late <= 25, "{late} of the last 100 forged tokens were verified");
        confirmed(&demo).await.context("a customer elsewhere, with a good token").map(drop)
    })
    .await
}

/// A spent refresh token, sent again and again within its grace, and then the session is revoked.
pub(crate) async fn a_session_replayed_often_can_be_revoked() -> Result<()> {
    const REPLAYS: usize = 400;
    on(Platform::embedded_with(unlimited()).await?, async |platform| {
        let anonymous = platform.anonymous()?;
        let login = json!({"username": "leaver", "password": PASSWORD});
        let login = anonymous.send(anonymous.request(Method::POST, "/auth/login").json(&login)).await?;
        ensure!(login.status == 200, "log-in: {} {}", login.status, login.body);
        let spent = login.text("/refresh_token").to_owned();
        ensure!(!spent.is_empty(), "no refresh token: {}", login.body);
        let refresh = async |token: String| {
            let form =
                [("grant_type", "refresh_token"), ("client_id", "amends-web"), ("refresh_token", token.as_str())];
            anonymous.send(anonymous.request(Method::POST, "/oauth2/token").form(&form)).await
        };
        let renewed = refresh(spent.clone()).await?;
        ensure!(renewed.status == 200, "refresh: {} {}", renewed.status, renewed.body);
        let mut tokens = vec![login.text("/access_token").to_owned(), renewed.text("/access_token").to_owned()];
        let replays = stream::iter(0..REPLAYS).map(|_| refresh(spent.clone())).buffer_unordered(16);
        for replay in replays.collect::<Vec<_>>().await {
            let replay = replay?;
            ensure!([200, 400, 401, 429].contains(&replay.status.as_u16()), "{} {}", replay.status, replay.body);
            tokens.extend(Some(replay.text("/access_token").to_owned()).filter(|token| !token.is_empty()));
        }
        // However many there are, one row is enough to revoke them, since each says which session it is of.
        let sessions: BTreeSet<String> = tokens.iter().map(|token| session_of(token)).collect::<Result<_>>()?;
        ensure!(sessions.len() == 1, "the tokens of one session are of {sessions:?}");
        let last = renewed.text("/refresh_token").to_owned();
        let form = [("token", last.as_str()), ("client_id", "amends-web")];
        let revoked = anonymous.send(anonymous.request(Method::POST, "/oauth2/revoke").form(&form)).await?;
        ensure!(revoked.status == 200, "the session cannot be revoked: {} {}", revoked.status, revoked.body);
        for token in &tokens {
            let answer = anonymous.with_token(token).get("/v1/orders?limit=1").await?;
            ensure!(answer.status == 401, "one of {} tokens outlived its session: {}", tokens.len(), answer.status);
        }
        let again = platform.log_in_anew("leaver").await.context("a new session of the same user")?;
        ensure!(again.get("/v1/orders?limit=1").await?.status == 200, "the new session was revoked with the old one");
        Ok(())
    })
    .await
}

/// The session that a token says it is of.
fn session_of(token: &str) -> Result<String> {
    let payload = token.split('.').nth(1).context("a token has three parts")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    Ok(claims["sid"].as_str().context("a token without a session id")?.to_owned())
}

/// Guesses at passwords of all users from one address, and an owner who logs in from another.
pub(crate) async fn a_flood_of_logins_leaves_room_for_others() -> Result<()> {
    on(Platform::embedded_with(unlimited()).await?, async |platform| {
        let flooder = client_from(ELSEWHERE, platform.gateway, PATIENCE)?;
        let guess = |number: usize| {
            let flooder = flooder.clone();
            tokio::spawn(async move {
                for turn in 0.. {
                    let body = json!({"username": format!("nobody-{number}-{turn}"), "password": "a guess"});
                    // Whatever it is answered, it guesses on.
                    let _answer = flooder.send(flooder.request(Method::POST, "/auth/login").json(&body)).await;
                }
            })
        };
        let guessing: Vec<_> = (0..64).map(guess).collect();
        tokio::time::sleep(FLOODED_FOR).await;
        let mut refused = Vec::new();
        for _ in 0..10 {
            refused.extend(platform.log_in_anew("demo").await.err().map(|error| format!("{error:#}")));
        }
        guessing.iter().for_each(tokio::task::JoinHandle::abort);
        ensure!(refused.is_empty(), "the owner was refused {} of 10 times: {refused:?}", refused.len());
        Ok(())
    })
    .await
}

/// A configuration that adds one client, and so must not take the others away.
pub(crate) async fn a_client_of_ones_own_replaces_no_other() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("amends-client-").tempdir()?;
    let file = dir.path().join("amends.toml");
    std::fs::write(
        &file,
        "[[identity.bootstrap.clients]]\nclient_id = \"mine\"\nclient_secret = \"a-client-secret-for-tests-only-0123456789\"\n\
         scopes = [\"orders:read\"]\ngrant_types = [\"client_credentials\"]\n",
    )?;
    let mut arguments = vec!["--config".to_owned(), file.display().to_string()];
    // This test runs beside others, and is not about ports.
    for key in ["identity.http", "order.http", "order.grpc", "payment.grpc", "inventory.grpc"] {
        arguments.extend(["--set".to_owned(), format!("{key}.listen=127.0.0.1:0")]);
    }
    let bare = Bare::start(&arguments).await?;
    let placed = confirmed(&bare.demo().await?).await.context("the order service's own client is gone");
    placed.with_context(|| bare.tail())?;
    let anonymous = Client::new(bare.gateway)?;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mine"),
        ("client_secret", "a-client-secret-for-tests-only-0123456789"),
    ];
    let token = anonymous.send(anonymous.request(Method::POST, "/oauth2/token").form(&form)).await?;
    ensure!(token.status == 200, "the client of one's own: {} {}", token.status, token.body);
    bare.stop().await
}

/// What specifications say of requests that are rarely sent.
pub(crate) async fn odd_forms_of_requests_are_answered_as_specified() -> Result<()> {
    on(Platform::embedded().await?, async |platform| {
        let demo = platform.demo().await?;
        let post = || demo.request(Method::POST, "/v1/orders").header("idempotency-key", key());
        let order = order_of("espresso-1kg", 1, "pm_ok");

        let encoded = demo.send(post().header("content-encoding", "gzip").json(&order)).await?;
        ensure!(encoded.status == 415, "Content-Encoding: gzip is answered {} {}", encoded.status, encoded.body);
        let identity = demo.send(post().header("content-encoding", "identity").json(&order)).await?;
        expect(&identity, 201, "/status", "confirmed").context("Content-Encoding: identity")?;

        for prefer in ["respond-async=false", "respond-async=\"false\"", "something-else, handling=lenient"] {
            let answer = demo.send(post().header("prefer", prefer).json(&order)).await?;
            expect(&answer, 201, "/status", "confirmed").with_context(|| format!("Prefer: {prefer}"))?;
            let applied = answer.header("preference-applied").to_owned();
            ensure!(!applied.contains("respond-async"), "Prefer: {prefer} was applied: {applied}");
        }

        let token = demo.token().unwrap_or_default().to_owned();
        let mut orders = OrderServiceClient::connect(format!("http://{}", platform.gateway)).await?;
        let mut request = Request::new(CreateOrderRequest {
            idempotency_key: key(),
            items: vec![NewOrderLine { sku: "x".repeat(70 * 1024), quantity: 1, ..NewOrderLine::default() }],
            payment_method: "pm_ok".to_owned(),
            ..CreateOrderRequest::default()
        });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        let status = orders.create_order(request).await.err().context("an order of 70 KiB was taken")?;
        ensure!(status.code() == Code::InvalidArgument, "a message of over 64 KiB: {status:?}");
        let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
        ensure!(reason.is_some_and(|reason| !reason.is_empty()), "without ErrorInfo: {status:?}");
        Ok(())
    })
    .await
}
