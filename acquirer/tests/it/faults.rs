//! Faults that are switched while the acquirer runs.

use std::time::{Duration, Instant};

use acquirer::build;
use service_kit::{Runtime, faults::FaultsConfig};

use crate::support::{Bank, charge, config_in};

async fn on_record(bank: &Bank, keys: usize) -> usize {
    let mut found = 0;
    for key in 0..keys {
        found += usize::from(bank.get(&format!("/v1/keys?key=c{key}")).await.0 == 200);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_resets_come_before_the_effect_or_after_it() {
    for faults in [
        FaultsConfig { error_pct: 100, ..FaultsConfig::default() },
        FaultsConfig { reset_pct: 100, ..FaultsConfig::default() },
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bank = Bank::open(config_in(&dir)).await;
        bank.faults.set(faults.clone()).unwrap();
        for key in 0..30 {
            let answer = bank.try_post("/v1/charges", &format!("c{key}"), &charge(1, "pm_ok")).await;
            let status = answer.map(|answer| answer.status().as_u16());
            if faults.error_pct > 0 {
                assert_eq!(status.unwrap(), 503);
            } else {
                assert!(status.is_err(), "an answer got out: {status:?}");
            }
        }
        bank.faults.set(FaultsConfig::default()).unwrap();
        let found = on_record(&bank, 30).await;
        assert!((1..30).contains(&found), "{found} of 30 took effect unheard");
        assert_eq!(bank.statement().await.len(), found);
        bank.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_says_when_to_come_back_and_ends_after_so_many_calls() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    bank.faults.set(FaultsConfig { rate_limit_pct: 100, next_calls: 1, ..FaultsConfig::default() }).unwrap();
    let limited = bank.try_post("/v1/charges", "c0", &charge(1, "pm_ok")).await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    assert_eq!(on_record(&bank, 1).await, 0);
    assert_eq!(bank.charge("c0", 1, "pm_ok").await.0, 200);
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_charge_takes_effect_although_its_caller_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    bank.faults.set(FaultsConfig { delay_ms: 300, next_calls: 1, ..FaultsConfig::default() }).unwrap();
    let body = charge(1, "pm_ok");
    let gone = tokio::time::timeout(Duration::from_millis(100), bank.try_post("/v1/charges", "c0", &body)).await;
    assert!(gone.is_err());
    let begun = Instant::now();
    while on_record(&bank, 1).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the charge never came");
    }
    bank.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_comes_does_not_hold_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let bank = Bank::open(config_in(&dir)).await;
    let body = charge(1, "pm_timeout");
    let silent = tokio::time::timeout(Duration::from_millis(200), bank.try_post("/v1/charges", "c0", &body)).await;
    assert!(silent.is_err());
    bank.faults.set(FaultsConfig { hang_pct: 100, next_calls: 1, ..FaultsConfig::default() }).unwrap();
    let body = charge(1, "pm_ok");
    let silent = tokio::time::timeout(Duration::from_millis(200), bank.try_post("/v1/charges", "c1", &body)).await;
    assert!(silent.is_err());
    assert_eq!(on_record(&bank, 2).await, 1, "the first happened, the second did not");
    let begun = Instant::now();
    bank.close().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_does_not_start_with_faults_but_with_the_switch() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::for_testing();
    runtime.faults.in_environment("production");
    let mut config = config_in(&dir);
    config.faults.delay_ms = 1;
    let error = build(config.clone(), &runtime).await.err().unwrap().to_string();
    assert!(error.contains("acquirer.faults.allow_in_production=true"), "{error}");
    config.faults.allow_in_production = true;
    build(config, &runtime).await.unwrap();
    runtime.shutdown.trigger();
}
