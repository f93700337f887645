//! Refreshing, revoking, introspecting.

use amends_auth::Revocable;
use axum::http::StatusCode;

use amends_testing::TestDatabase;

use super::support::{EXCHANGE, OTHER, SHOP, World, form, knows_revoked};

#[tokio::test]
async fn a_refresh_token_is_good_once() {
    let world = World::new().await;
    let login = world.login().await;
    world.advance(300);
    let refreshed = world.refresh(login.text("refresh_token")).await;
    assert_eq!(refreshed.error(), "200 -", "{refreshed:?}");
    assert_ne!(refreshed.text("refresh_token"), login.text("refresh_token"));
    assert_eq!(refreshed.claims()["sub"], "ann");
    assert_eq!(refreshed.claims()["exp"], world.now().as_secs() + 600);
    world.advance(31);
    let reused = world.refresh(login.text("refresh_token")).await;
    assert_eq!(reused.error(), "400 invalid_grant");
    assert_eq!(
        world.refresh(refreshed.text("refresh_token")).await.error(),
        "400 invalid_grant",
        "the thief's and the owner's"
    );
    assert!(!world.is_active(refreshed.text("access_token")).await, "access tokens go with their session");
    assert!(!world.is_active(login.text("access_token")).await);
    assert!(world.is_known_revoked(&refreshed).await && world.is_known_revoked(&login).await);
    assert_eq!(world.login().await.status, StatusCode::OK, "only that session is over");
}

#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let world = World::new().await;
    let login = world.login().await;
    let lost = world.refresh(login.text("refresh_token")).await;
    world.advance(29);
    let again = world.refresh(login.text("refresh_token")).await;
    assert_eq!(again.text("refresh_token"), lost.text("refresh_token"), "the family does not branch");
    assert_eq!(again.claims(), lost.claims(), "nor does it get another access token");
    assert_eq!((&lost.body["expires_in"], &again.body["expires_in"]), (&600.into(), &571.into()));
    let next = world.refresh(again.text("refresh_token")).await;
    assert_eq!(next.status, StatusCode::OK);
    let too_old = world.refresh(login.text("refresh_token")).await;
    assert_eq!(too_old.error(), "400 invalid_grant", "two generations back is reuse, however soon");
    assert_eq!(world.refresh(next.text("refresh_token")).await.error(), "400 invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_refreshes_at_once_one_progresses_the_session() {
    for database in TestDatabase::each().await {
        let world = World::on(database, |_| ()).await;
        let login = world.login().await;
        let token = login.text("refresh_token").to_owned();
        let racers = (0..32).map(|_| {
            let (router, token) = (world.app.router.clone(), token.clone());
            tokio::spawn(async move {
                let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
                form(&router, "/oauth2/token", None, &fields).await
            })
        });
        let answers: Vec<_> = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "{answers:?}");
        let next = answers[0].text("refresh_token");
        assert!(answers.iter().all(|answer| answer.text("refresh_token") == next), "one session, one newest token");
        let jtis: std::collections::BTreeSet<String> = answers.iter().map(|a| a.claims()["jti"].to_string()).collect();
        assert_eq!(jtis.len(), 1, "and one access token");
        assert_eq!(world.refresh(next).await.status, StatusCode::OK);
        world.form("/oauth2/revoke", None, &[("token", next)]).await;
        for answer in &answers {
            assert!(!world.is_active(answer.text("access_token")).await, "none of the race survives a log-out");
        }
    }
}

#[tokio::test]
async fn without_grace_a_twin_ends_the_session() {
    let world = World::with(|config| config.refresh.grace_secs = 0).await;
    let login = world.login().await;
    let next = world.refresh(login.text("refresh_token")).await;
    assert_eq!(world.refresh(login.text("refresh_token")).await.error(), "400 invalid_grant");
    assert_eq!(world.refresh(next.text("refresh_token")).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn sessions_end_by_idleness_and_by_age() {
    let world = World::with(|config| {
        config.refresh.idle_secs = 1000;
        config.refresh.age_secs = 2500;
    })
    .await;
    let idle = world.login().await;
    let mut busy = world.login().await.text("refresh_token").to_owned();
    for _ in 0..2 {
        world.advance(900);
        busy = world.refresh(&busy).await.text("refresh_token").to_owned();
    }
    assert_eq!(world.refresh(idle.text("refresh_token")).await.error(), "400 invalid_grant");
    world.advance(700);
    assert_eq!(world.refresh(&busy).await.error(), "400 invalid_grant");
    world.app.core.maintain().await;
    assert_eq!(world.refresh(&busy).await.error(), "400 invalid_grant", "also when the row is gone");
}

#[tokio::test]
async fn a_refresh_may_ask_for_less_but_not_for_more() {
    let world = World::new().await;
    let login = world.login().await;
    let refresh = async |token: &str, scope: &str| {
        world.token(None, &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
    };
    let refused = refresh(login.text("refresh_token"), "orders:read orders:admin").await;
    assert_eq!(refused.error(), "400 invalid_scope");
    let less = refresh(login.text("refresh_token"), "orders:read").await;
    assert_eq!(less.claims()["scope"], "orders:read", "the refused request did not use the token up");
    let all = world.refresh(less.text("refresh_token")).await;
    assert_eq!(all.claims()["scope"], "orders:read orders:write", "the session keeps what was granted");
}

#[tokio::test]
async fn what_a_user_loses_is_lost_at_the_next_refresh() {
    let world = World::new().await;
    let login = world.login().await;
    world.again(|config| config.bootstrap.users[0].scopes = vec!["orders:read".into()]).await;
    let refreshed = world.refresh(login.text("refresh_token")).await;
    assert_eq!(refreshed.claims()["scope"], "orders:read");
    world.again(|config| config.bootstrap.users[0].disabled = true).await;
    assert_eq!(world.refresh(refreshed.text("refresh_token")).await.error(), "400 invalid_grant");
    assert_eq!(world.login_from("192.0.2.1", "ann", super::support::PASSWORD).await.error(), "401 invalid_credentials");
}

#[tokio::test]
async fn a_refresh_token_belongs_to_its_client() {
    let world = World::new().await;
    let login = world.login().await;
    let token = login.text("refresh_token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(world.token(OTHER, &fields).await.error(), "400 invalid_grant");
    let by_id = [fields[0], fields[1], ("client_id", "shop")];
    assert_eq!(world.token(None, &by_id).await.error(), "401 invalid_client", "a client with a secret must use it");
    let by_name = [fields[0], fields[1], ("client_id", "amends-web")];
    assert_eq!(world.token(None, &by_name).await.error(), "200 -");
    assert_eq!(world.token(None, &[fields[0]]).await.error(), "400 invalid_request");
    for bad in ["nonsense", "amr_nonsense", &format!("{token}x")] {
        assert_eq!(world.refresh(bad).await.error(), "400 invalid_grant");
    }
}

#[tokio::test]
async fn logging_out_ends_the_session_and_its_tokens() {
    let world = World::new().await;
    let login = world.login().await;
    let refreshed = world.refresh(login.text("refresh_token")).await;
    let reply = world.form("/oauth2/revoke", None, &[("token", refreshed.text("refresh_token"))]).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(world.refresh(refreshed.text("refresh_token")).await.error(), "400 invalid_grant");
    for token in [login.text("access_token"), refreshed.text("access_token")] {
        assert!(!world.is_active(token).await);
    }
    let again = world.form("/oauth2/revoke", None, &[("token", refreshed.text("refresh_token"))]).await;
    assert_eq!(again.status, StatusCode::OK, "asking twice is fine");
}

/// Rows of the identity store's table.
async fn rows(world: &World, table: &str) -> i64 {
    let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    sqlx::query_scalar(count).fetch_one(world.app.database.reader()).await.unwrap()
}

#[tokio::test]
async fn a_replay_within_the_grace_makes_no_more_tokens() {
    for database in TestDatabase::each().await {
        let world = World::on(database, |config| config.refresh.grace_secs = 300).await;
        let login = world.login().await;
        let spent = login.text("refresh_token");
        let first = world.refresh(spent).await;
        for n in 0..50 {
            world.advance(5);
            let again = world.refresh(spent).await;
            assert_eq!(again.claims(), first.claims(), "replay {n}");
            assert_eq!(again.text("refresh_token"), first.text("refresh_token"));
        }
        assert_eq!(rows(&world, "family_access_tokens").await, 0, "what was issued is not listed");
        assert_eq!(rows(&world, "revoked_tokens").await, 0);
        let elsewhere = world.login().await;
        let reply = world.form("/oauth2/revoke", None, &[("token", first.text("refresh_token"))]).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(rows(&world, "revoked_tokens").await, 1, "one row, whatever the session has");
        for token in [login.text("access_token"), first.text("access_token")] {
            assert!(!world.is_active(token).await);
        }
        assert!(world.is_known_revoked(&login).await && world.is_known_revoked(&first).await);
        assert!(world.is_active(elsewhere.text("access_token")).await && !world.is_known_revoked(&elsewhere).await);
        assert_eq!(world.refresh(elsewhere.text("refresh_token")).await.status, StatusCode::OK, "other sessions go on");
    }
}

#[tokio::test]
async fn a_replay_after_the_token_is_over_gets_the_next_one() {
    let world = World::with(|config| {
        config.refresh.grace_secs = 300;
        config.token.access_secs = 60;
    })
    .await;
    let login = world.login().await;
    let lost = world.refresh(login.text("refresh_token")).await;
    world.advance(61);
    let again = world.refresh(login.text("refresh_token")).await;
    assert_ne!(again.claims()["jti"], lost.claims()["jti"], "a token that is over is of no use");
    assert_eq!(again.body["expires_in"], 60);
    world.advance(1);
    assert_eq!(world.refresh(login.text("refresh_token")).await.claims(), again.claims(), "and that one is repeated");
}

#[tokio::test]
async fn a_replay_is_never_given_more_than_it_asks_for() {
    let world = World::new().await;
    let login = world.login().await;
    let refresh = async |scope: &str| {
        let token = ("refresh_token", login.text("refresh_token"));
        world.token(None, &[("grant_type", "refresh_token"), token, ("scope", scope)]).await
    };
    let first = refresh("orders:read").await;
    let more = refresh("orders:read orders:write").await;
    assert_eq!(more.claims()["scope"], "orders:read", "nor than was given first");
    assert_eq!(more.claims()["jti"], first.claims()["jti"]);
    assert_eq!(refresh("orders:write").await.claims()["scope"], "");
}

#[tokio::test]
async fn a_session_of_many_old_tokens_ends_at_once() {
    for database in TestDatabase::each().await {
        let world = World::on(database, |_| ()).await;
        let login = world.login().await;
        let sid = login.claims()["sid"].as_str().unwrap().to_owned();
        // As the release before left them: a row for each access token.
        let insert = format!(
            "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 30000)
             INSERT INTO family_access_tokens SELECT 'old-' || n, '{sid}', {} FROM counted",
            world.now().as_micros() + 500_000_000
        );
        sqlx::query(sqlx::AssertSqlSafe(insert)).execute(world.app.database.writer()).await.unwrap();
        let reply = world.form("/oauth2/revoke", None, &[("token", login.text("refresh_token"))]).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(!world.is_active(login.text("access_token")).await && world.is_known_revoked(&login).await);
        assert_eq!(rows(&world, "revoked_tokens").await, 1, "the answer did not wait for the old ones");
        world.app.core.maintain().await;
        let left = rows(&world, "family_access_tokens").await;
        assert!(left > 0 && left < 30_000, "a round does a part: {left}");
        world.app.core.maintain().await;
        assert_eq!(rows(&world, "family_access_tokens").await, 0);
        assert_eq!(rows(&world, "revoked_tokens").await, 30_001);
        assert!(world.app.core.known.contains(Revocable::token("old-30000")));
    }
}

#[tokio::test]
async fn revoking_tokens_one_by_one_has_a_share_and_a_session_none() {
    let world = World::new().await;
    let login = world.login().await;
    let core = &world.app.core;
    while core.singles.add("ann", core.clock.moment()).is_ok() {}
    let refused = world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    assert_eq!(refused.error(), "429 rate_limited");
    assert_eq!(refused.headers["retry-after"], "3900");
    assert!(world.is_active(login.text("access_token")).await);
    let own = world.token(SHOP, &[("grant_type", "client_credentials")]).await;
    let other = world.form("/oauth2/revoke", SHOP, &[("token", own.text("access_token"))]).await;
    assert_eq!(other.status, StatusCode::OK, "others have their own");
    let session = world.form("/oauth2/revoke", None, &[("token", login.text("refresh_token"))]).await;
    assert_eq!(session.status, StatusCode::OK);
    assert!(!world.is_active(login.text("access_token")).await);
}

#[tokio::test]
async fn an_exchanged_token_ends_with_its_subjects_session() {
    let world = World::new().await;
    let login = world.login().await;
    let fields = [
        ("grant_type", EXCHANGE),
        ("subject_token", login.text("access_token")),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let exchanged = world.token(SHOP, &fields).await;
    assert_eq!(exchanged.claims()["sid"], login.claims()["sid"]);
    assert!(world.is_active(exchanged.text("access_token")).await);
    world.form("/oauth2/revoke", None, &[("token", login.text("refresh_token"))]).await;
    assert!(!world.is_active(exchanged.text("access_token")).await && world.is_known_revoked(&exchanged).await);
    let own = world.token(SHOP, &[("grant_type", "client_credentials")]).await;
    assert!(own.claims().get("sid").is_none(), "a client that acts for itself has no session");
}

#[tokio::test]
async fn a_clock_set_back_keeps_sessions_usable() {
    let world = World::new().await;
    let login = world.login().await;
    world.clock.step_back(std::time::Duration::from_hours(1));
    let refreshed = world.refresh(login.text("refresh_token")).await;
    assert_eq!(refreshed.status, StatusCode::OK);
    assert_eq!(refreshed.claims()["iat"], world.now().as_secs());
    assert!(world.is_active(refreshed.text("access_token")).await);
    let anew = world.login().await;
    assert_eq!(
        world.refresh(anew.text("refresh_token")).await.error(),
        "200 -",
        "older than the password by the clock only"
    );
    world.advance(31);
    assert_eq!(world.refresh(login.text("refresh_token")).await.error(), "400 invalid_grant", "the grace is over");
    assert!(!world.is_active(refreshed.text("access_token")).await);
}

#[tokio::test]
async fn a_clock_that_was_ahead_takes_no_revocation_away() {
    let world = World::new().await;
    let login = world.login().await;
    world.form("/oauth2/revoke", None, &[("token", login.text("refresh_token"))]).await;
    world.app.core.maintain().await;
    let (year, minute) = (std::time::Duration::from_hours(365 * 24), std::time::Duration::from_mins(1));
    world.clock.step_forward(year);
    for _ in 0..5 {
        world.app.core.maintain().await;
        world.clock.advance(minute);
    }
    world.clock.step_back(year);
    assert!(world.is_known_revoked(&login).await && !world.is_active(login.text("access_token")).await);
    let restarted = world.again(|_| ()).await;
    assert!(knows_revoked(&restarted, &login).await, "nor from the store");
}

#[tokio::test]
async fn revoking_an_access_token() {
    let world = World::new().await;
    let login = world.login().await;
    let token = login.text("access_token");
    assert!(world.is_active(token).await);
    let stranger = world.form("/oauth2/revoke", SHOP, &[("token", token)]).await;
    assert_eq!(stranger.error(), "400 unauthorized_client");
    assert!(world.is_active(token).await);
    let hinted = [("token", token), ("token_type_hint", "refresh_token")];
    assert_eq!(world.form("/oauth2/revoke", None, &hinted).await.status, StatusCode::OK);
    assert!(!world.is_active(token).await);
    assert!(world.is_known_revoked(&login).await);
    let elsewhere = world.again(|_| ()).await;
    assert!(knows_revoked(&elsewhere, &login).await, "also after a restart");
    assert_eq!(world.refresh(login.text("refresh_token")).await.status, StatusCode::OK, "the session goes on");
    for nothing in ["nonsense", "amr_nonsense", "a.b.c"] {
        assert_eq!(world.form("/oauth2/revoke", None, &[("token", nothing)]).await.status, StatusCode::OK);
    }
    assert_eq!(
        world.form("/oauth2/revoke", Some(("shop", "wrong")), &[("token", token)]).await.error(),
        "401 invalid_client"
    );
    // A verifier's clock may be behind; only after that much more is a revocation forgotten.
    world.advance(600 + 299);
    world.app.core.maintain().await;
    assert!(world.is_known_revoked(&login).await);
    world.advance(2);
    world.app.core.maintain().await;
    assert!(!world.is_known_revoked(&login).await);
    let jti = login.claims()["jti"].as_str().unwrap().to_owned();
    assert!(!world.app.core.store.is_revoked(Revocable::token(&jti)).await.unwrap());
}

#[tokio::test]
async fn replicas_learn_of_each_others_revocations() {
    let world = World::new().await;
    let other = world.again(|_| ()).await;
    let login = world.login().await;
    world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    assert!(!knows_revoked(&other, &login).await);
    let asked = form(&other.router, "/oauth2/introspect", SHOP, &[("token", login.text("access_token"))]).await;
    assert_eq!(asked.body["active"], false, "introspection asks the store");
    other.core.maintain().await;
    assert!(knows_revoked(&other, &login).await);
    let elsewhere = world.login().await;
    world.form("/oauth2/revoke", None, &[("token", elsewhere.text("refresh_token"))]).await;
    let asked = form(&other.router, "/oauth2/introspect", SHOP, &[("token", elsewhere.text("access_token"))]).await;
    assert_eq!(asked.body["active"], false, "a session too");
    other.core.maintain().await;
    assert!(knows_revoked(&other, &elsewhere).await);
}

#[tokio::test]
async fn introspection_says_what_a_token_is_worth_now() {
    let world = World::new().await;
    let login = world.login().await;
    let introspect = async |client, token: &str| world.form("/oauth2/introspect", client, &[("token", token)]).await;
    let access = introspect(SHOP, login.text("access_token")).await;
    let mut expected = login.claims();
    expected["active"] = true.into();
    expected["token_type"] = "Bearer".into();
    assert_eq!(access.body, expected);
    assert_eq!(introspect(SHOP, login.text("refresh_token")).await.body["active"], false, "another client's");
    assert_eq!(introspect(None, login.text("access_token")).await.error(), "401 invalid_client");
    for nothing in ["nonsense", "amr_nonsense"] {
        assert_eq!(introspect(SHOP, nothing).await.body, serde_json::json!({ "active": false }));
    }
    world.advance(600);
    assert_eq!(introspect(SHOP, login.text("access_token")).await.body, serde_json::json!({ "active": false }));
}
