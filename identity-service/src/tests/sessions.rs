//! Refreshing, revoking, introspecting.

use axum::http::StatusCode;

use super::support::{OTHER, SHOP, World, every_database, form};

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
    let jti = refreshed.claims()["jti"].as_str().unwrap().to_owned();
    assert!(world.app.revocations().is_revoked(&jti).await.unwrap());
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
    let next = world.refresh(again.text("refresh_token")).await;
    assert_eq!(next.status, StatusCode::OK);
    let too_old = world.refresh(login.text("refresh_token")).await;
    assert_eq!(too_old.error(), "400 invalid_grant", "two generations back is reuse, however soon");
    assert_eq!(world.refresh(next.text("refresh_token")).await.error(), "400 invalid_grant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_refreshes_at_once_one_progresses_the_session() {
    for database in every_database().await {
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
        assert_eq!(jtis.len(), 32);
        assert_eq!(world.refresh(next).await.status, StatusCode::OK);
        world.form("/oauth2/revoke", None, &[("token", next)]).await;
        for answer in &answers {
            assert!(!world.is_active(answer.text("access_token")).await, "none of the race survives a log-out");
        }
    }
}

#[tokio::test]
async fn without_grace_a_twin_ends_the_session() {
    let world = World::with(|config| config.refresh.grace_seconds = 0).await;
    let login = world.login().await;
    let next = world.refresh(login.text("refresh_token")).await;
    assert_eq!(world.refresh(login.text("refresh_token")).await.error(), "400 invalid_grant");
    assert_eq!(world.refresh(next.text("refresh_token")).await.error(), "400 invalid_grant");
}

#[tokio::test]
async fn sessions_end_by_idleness_and_by_age() {
    let world = World::with(|config| {
        config.refresh.idle_seconds = 1000;
        config.refresh.age_seconds = 2500;
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
    let jti = login.claims()["jti"].as_str().unwrap().to_owned();
    assert!(world.app.revocations().is_revoked(&jti).await.unwrap());
    let elsewhere = world.again(|_| ()).await;
    assert!(elsewhere.revocations().is_revoked(&jti).await.unwrap(), "also after a restart");
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
    assert!(world.app.revocations().is_revoked(&jti).await.unwrap());
    world.advance(2);
    world.app.core.maintain().await;
    assert!(!world.app.revocations().is_revoked(&jti).await.unwrap());
    assert!(!world.app.core.store.is_revoked(&jti).await.unwrap());
}

#[tokio::test]
async fn replicas_learn_of_each_others_revocations() {
    let world = World::new().await;
    let other = world.again(|_| ()).await;
    let login = world.login().await;
    let jti = login.claims()["jti"].as_str().unwrap().to_owned();
    world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    assert!(!other.revocations().is_revoked(&jti).await.unwrap());
    let asked = form(&other.router, "/oauth2/introspect", SHOP, &[("token", login.text("access_token"))]).await;
    assert_eq!(asked.body["active"], false, "introspection asks the store");
    other.core.maintain().await;
    assert!(other.revocations().is_revoked(&jti).await.unwrap());
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
