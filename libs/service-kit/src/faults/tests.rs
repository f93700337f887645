//! Shares, numbers and switches, without waiting.

use axum::{body::Body, http::Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::admin::faults::router;

fn off() -> FaultsConfig {
    FaultsConfig::default()
}

/// What is drawn when the dice fall so.
fn drawn(config: &FaultsConfig, rolls: &[u8]) -> (u64, Fault) {
    let mut rolls = rolls.iter().copied();
    let faults = Faults::new(config.clone(), |_, _| {});
    let (delay, fault) = faults.draw(|| rolls.next().unwrap());
    (u64::try_from(delay.as_millis()).unwrap(), fault)
}

#[test]
fn shares_are_shares_of_a_hundred() {
    let config = FaultsConfig { rate_limit_pct: 50, hang_pct: 20, reset_pct: 10, error_pct: 30, ..off() };
    assert_eq!(drawn(&config, &[49]), (0, Fault::RateLimited));
    assert_eq!(drawn(&config, &[50, 19]), (0, Fault::Hang));
    assert_eq!(drawn(&config, &[50, 20, 9, 49]), (0, Fault::Reset { late: false }));
    assert_eq!(drawn(&config, &[50, 20, 9, 50]), (0, Fault::Reset { late: true }));
    assert_eq!(drawn(&config, &[50, 20, 10, 29, 49]), (0, Fault::Error { late: false }));
    assert_eq!(drawn(&config, &[50, 20, 10, 29, 50]), (0, Fault::Error { late: true }));
    assert_eq!(drawn(&config, &[50, 20, 10, 30, 0]), (0, Fault::None));
    let broken = FaultsConfig { internal_pct: 30, ..off() };
    assert_eq!(drawn(&broken, &[0, 0, 0, 0, 29]), (0, Fault::Internal));
    assert_eq!(drawn(&broken, &[0, 0, 0, 0, 30]), (0, Fault::None));
    let some = FaultsConfig { delay_ms: 7, delay_pct: 40, ..off() };
    assert_eq!((drawn(&some, &[39, 0, 0, 0, 0, 0]).0, drawn(&some, &[40, 0, 0, 0, 0, 0]).0), (7, 0));
    assert_eq!(drawn(&off(), &[]), (0, Fault::None), "nothing is drawn where nothing goes wrong");
}

#[tokio::test]
async fn the_next_calls_go_wrong_and_then_no_more() {
    let faults = Faults::default();
    let config = FaultsConfig { rate_limit_pct: 100, next_calls: 3, refuse: vec!["x".to_owned()], ..off() };
    faults.set(config).unwrap();
    for _ in 0..3 {
        assert_eq!(faults.enter(None).await.err(), Some(Injected::RateLimited));
    }
    assert!(matches!(faults.enter(None).await, Ok(Exit::Answer)));
    assert_eq!(*faults.current(), FaultsConfig { refuse: vec!["x".to_owned()], ..off() }, "refusals are no calls");
}

#[tokio::test(start_paused = true)]
async fn calls_wait_or_hang_as_long_as_they_are_told() {
    let faults = Faults::new(FaultsConfig { delay_ms: 60_000, ..off() }, |_, _| {});
    let begun = tokio::time::Instant::now();
    assert!(matches!(faults.enter(None).await, Ok(Exit::Answer)));
    assert_eq!(begun.elapsed(), Duration::from_mins(1));
    faults.set(FaultsConfig { hang_pct: 100, ..off() }).unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(faults.enter(None).await.err(), Some(Injected::Unavailable));
    assert_eq!(begun.elapsed(), HANG_MAX);
}

#[tokio::test]
async fn a_reset_cuts_the_connection_before_or_after_the_effect() {
    let faults = Faults::new(FaultsConfig { reset_pct: 100, ..off() }, |_, _| {});
    let (mut before, mut after) = (0, 0);
    while before == 0 || after == 0 {
        let hangup = Hangup::default();
        match faults.enter(Some(&hangup)).await {
            Err(injected) => {
                assert_eq!((injected, hangup.0.is_cancelled()), (Injected::Unavailable, true));
                before += 1;
            }
            Ok(exit) => {
                assert!(!hangup.0.is_cancelled(), "not before it takes effect");
                assert_eq!(exit.leave(Ok("done"), || "lost"), Err("lost"));
                assert!(hangup.0.is_cancelled());
                after += 1;
            }
        }
        assert!(before + after < 1000, "{before} before, {after} after");
    }
    assert_eq!(Exit::Answer.leave(Ok::<_, ()>("done"), || ()), Ok("done"));
    assert_eq!(Exit::Lost.leave(Ok("done"), || "lost"), Err("lost"));
}

#[test]
fn production_starts_only_without_faults_or_with_the_switch() {
    let switches = FaultSwitches::default();
    let wrong = FaultsConfig { error_pct: 1, ..off() };
    assert!(switches.install("shop", wrong.clone(), |_, _| {}).is_ok(), "anywhere else");
    let switches = FaultSwitches::default();
    switches.in_environment("Production");
    for config in [
        wrong.clone(),
        FaultsConfig { delay_ms: 1, ..off() },
        FaultsConfig { refuse: vec!["x".to_owned()], ..off() },
        FaultsConfig { refuse_commit_skus: vec!["x".to_owned()], ..off() },
    ] {
        let refused = switches.install("shop", config, |_, _| {}).unwrap_err().to_string();
        assert!(refused.contains("shop.faults.allow_in_production=true"), "{refused}");
    }
    switches.install("shop", off(), |_, _| {}).unwrap();
    assert!(switches.services().is_empty(), "no switch either");
    switches.install("shop", FaultsConfig { allow_in_production: true, ..wrong }, |_, _| {}).unwrap();
    assert_eq!(switches.services().len(), 1);
}

async fn ask(switches: &FaultSwitches, method: &str, body: &Value) -> (u16, Value) {
    let request = Request::builder().method(method).uri("/faults").header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let answer = router(switches.clone()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn faults_are_switched_over_http_all_or_nothing() {
    let switches = FaultSwitches::default();
    assert_eq!(ask(&switches, "GET", &Value::Null).await.0, 404, "nobody has a switch");
    let check: Check = |config, errors| {
        if config.refuse.iter().any(|name| name.contains(' ')) {
            errors.push(ConfigError::new("refuse", "no spaces"));
        }
    };
    let shop = switches.install("shop", off(), check).unwrap();
    let till = switches.install("till", off(), check).unwrap();
    let (status, shown) = ask(&switches, "PUT", &json!({"shop": {"error_pct": 30, "refuse": ["x"]}})).await;
    assert_eq!((status, &shown["shop"]["error_pct"], &shown["till"]["error_pct"]), (200, &json!(30), &json!(0)));
    assert_eq!((shop.current().error_pct, till.current().is_off()), (30, true));
    assert_eq!(ask(&switches, "GET", &Value::Null).await, (200, shown));

    let wrong = json!({"till": {"delay_ms": 5}, "shop": {"error_pct": 101, "refuse": ["a b"]}, "shed": {}});
    let (status, problem) = ask(&switches, "PUT", &wrong).await;
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    assert_eq!((status, fields), (422, vec!["shed", "shop.error_pct", "shop.refuse"]));
    assert_eq!(ask(&switches, "PUT", &json!({"shop": {"eror_pct": 1}})).await.0, 422, "a typo is no fault");
    assert_eq!((shop.current().error_pct, till.current().is_off()), (30, true), "nothing changed");

    let (status, shown) = ask(&switches, "DELETE", &Value::Null).await;
    assert_eq!((status, &shown["shop"]["error_pct"], shop.current().is_off()), (200, &json!(0), true));
}
