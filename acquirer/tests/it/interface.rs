//! Keys, refusals, the statement, and that a restart forgets nothing.

use amends_sql::Database;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Bank, SECRET, charge, config_in, eur};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_repeats_of_a_key_are_one_movement_and_one_answer() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    let answers = join_all((0..64).map(|_| bank.charge("c", 500, "pm_ok"))).await;
    let expected = json!({"key": "c", "state": "captured", "amount": eur(500), "receipt": "sim-charge-c"});
    assert!(answers.iter().all(|answer| *answer == (200, expected.clone())), "{answers:?}");
    let refund = json!({"charge": "c", "amount": eur(200)});
    let answers = join_all((0..64).map(|_| bank.post("/v1/refunds", "r", &refund))).await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 200), "{answers:?}");
    assert_eq!(bank.statement().await, [("capture".into(), "c".into(), 500), ("refund".into(), "r".into(), 200)]);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    for (method, minor, decline) in [
        ("pm_declined", 1, "declined"),
        ("pm_insufficient_funds", 1, "insufficient_funds"),
        ("pm_ok", 100_000, "amount_limit_exceeded"),
    ] {
        let (status, problem) = bank.charge(decline, minor, method).await;
        assert_eq!(
            (status, &problem["code"], &problem["decline_code"]),
            (402, &json!("payment_declined"), &json!(decline))
        );
    }
    assert_eq!(bank.charge("c", 500, "pm_ok").await.0, 200);
    let refund = |minor| json!({"charge": "c", "amount": eur(minor)});
    let capture = json!({"authorization": "c", "amount": eur(1)});
    assert_eq!(
        bank.post("/v1/voids", "", &json!({"charge": "v"})).await,
        (200, json!({"key": "v", "state": "voided"}))
    );
    for (path, key, body, status, code) in [
        ("/v1/charges", "c", charge(501, "pm_ok"), 422, "idempotency_key_reused"),
        ("/v1/authorizations", "c", charge(500, "pm_ok"), 422, "idempotency_key_reused"),
        ("/v1/charges", "v", charge(500, "pm_ok"), 409, "key_voided"),
        ("/v1/charges", "f", charge(500, "pm_flaky"), 503, "dependency_unavailable"),
        ("/v1/captures", "k", capture, 409, "capture_refused"),
        ("/v1/refunds", "r", refund(501), 409, "refund_refused"),
        ("/v1/charges", "", charge(500, "pm_ok"), 400, "missing_idempotency_key"),
        ("/v1/charges", &"k".repeat(256), charge(500, "pm_ok"), 422, "invalid_idempotency_key"),
        ("/v1/charges", "n", charge(0, "pm_ok"), 422, "invalid_request"),
        ("/v1/charges", "n", charge(5, "4111 1111"), 422, "invalid_request"),
        ("/v1/charges", "n", json!({"amount": eur(5), "method": "pm_ok", "tip": 1}), 422, "unknown_field"),
        ("/v1/nothing", "n", json!({}), 404, "not_found"),
    ] {
        let (got, problem) = bank.post(path, key, &body).await;
        assert_eq!((got, problem["code"].as_str().unwrap()), (status, code), "{path} {body}");
    }
    assert_eq!(bank.get("/v1/keys?key=n").await.0, 404, "what was refused is not on record");
    assert_eq!(bank.statement().await.len(), 1);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refund_key_is_of_one_charge() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    for key in ["a", "b"] {
        bank.charge(key, 500, "pm_ok").await;
    }
    assert_eq!(bank.post("/v1/refunds", "r", &json!({"charge": "a", "amount": eur(5)})).await.0, 200);
    let (status, problem) = bank.post("/v1/refunds", "r", &json!({"charge": "b", "amount": eur(5)})).await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (422, "idempotency_key_reused"));
    assert_eq!(bank.statement().await.len(), 3);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_nothing_and_a_key_can_be_looked_up() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    let hold = charge(500, "pm_ok");
    let authorized = bank.post("/v1/authorizations", "h", &hold).await;
    let take = json!({"authorization": "h", "amount": eur(300)});
    let captured = bank.post("/v1/captures", "k", &take).await;
    let refund = json!({"charge": "h", "amount": eur(100)});
    let refunded = bank.post("/v1/refunds", "r", &refund).await;
    bank.post("/v1/voids", "", &json!({"charge": "v"})).await;
    let statement = bank.statement().await;
    bank.close().await;

    let bank = Bank::open(config_in(&dir)).await;
    assert_eq!(bank.post("/v1/authorizations", "h", &hold).await, authorized);
    assert_eq!(bank.post("/v1/captures", "k", &take).await, captured);
    assert_eq!(bank.post("/v1/refunds", "r", &refund).await, refunded);
    assert_eq!(bank.charge("v", 1, "pm_ok").await.0, 409, "the tombstone is remembered");
    assert_eq!(bank.statement().await, statement);
    let found = json!({"charge": "h", "state": "captured", "currency": "EUR", "held_minor": 0, "captured_minor": 300, "refunded_minor": 100});
    for key in ["h", "k", "r"] {
        assert_eq!(bank.get(&format!("/v1/keys?key={key}")).await, (200, found.clone()));
    }
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_merchant_gets_in() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    let ask = || bank.request(Method::POST, "/v1/charges").header("idempotency-key", "c").json(&charge(1, "pm_ok"));
    let longer = format!("{SECRET}x");
    for shown in [None, Some(""), Some("another-secret-of-tests"), Some(&SECRET[..26]), Some(&longer)] {
        let request = match shown {
            Some(secret) => ask().bearer_auth(secret),
            None => ask(),
        };
        assert_eq!(request.send().await.unwrap().status(), 401, "{shown:?}");
    }
    let twice = ask().header("authorization", "Bearer x").header("authorization", format!("Bearer {SECRET}"));
    assert_eq!(twice.send().await.unwrap().status(), 401);
    for path in ["/v1/keys?key=c", "/v1/movements"] {
        assert_eq!(bank.request(Method::GET, path).send().await.unwrap().status(), 401);
    }
    assert_eq!(bank.get("/v1/keys?key=c").await.0, 404, "nothing was done");
    for wrong in ["/v1/keys", "/v1/keys?key=", "/v1/movements?limit=0", "/v1/movements?limit=201", "/v1/movements?x=1"]
    {
        assert_eq!(bank.get(wrong).await.0, 422, "{wrong}");
    }
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_the_charges_that_meet_it() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    let mut charged = 0;
    for ail in [Database::fill_up, Database::turn_read_only] {
        ail(bank.ledger.database());
        let refused = loop {
            assert!(charged < 10_000, "the disk never filled up");
            let response =
                bank.try_post("/v1/charges", &format!("c{}", charged + 1), &charge(500, "pm_ok")).await.unwrap();
            if response.status() != 200 {
                break response;
            }
            charged += 1;
        };
        assert_eq!(refused.status(), 503);
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "store_unavailable");
        assert!(bank.ledger.ping().await.is_err());
        bank.ledger.database().repair();
        // The same key again: nothing of the attempt that failed is there.
        charged += 1;
        assert_eq!(bank.charge(&format!("c{charged}"), 500, "pm_ok").await.0, 200);
        bank.ledger.ping().await.unwrap();
    }
    assert_eq!(bank.statement().await.len(), charged);
    bank.close().await;
}
