//! Faults that are switched while the service runs, over the wire.

use inventory_service::{Config, build};
use service_kit::{Runtime, faults::FaultsConfig};
use tonic::Code;

use crate::service::{Service, line, why};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sku_is_not_to_be_had_and_its_refusal_stays() {
    let mut shop = Service::start(|_| {}).await;
    shop.put("tea", 10).await;
    shop.reserve(1, vec![line("tea", 3)]).await.unwrap();
    let refuse = vec!["tea".to_owned()];
    shop.faults.set(FaultsConfig { refuse, ..FaultsConfig::default() }).unwrap();
    assert_eq!(why(&shop.reserve(2, vec![line("tea", 3)]).await.unwrap_err(), "").1, "INSUFFICIENT_STOCK");
    shop.reserve(1, vec![line("tea", 3)]).await.expect("what was reserved before the fault stays reserved");
    shop.faults.set(FaultsConfig::default()).unwrap();
    assert_eq!(why(&shop.reserve(2, vec![line("tea", 3)]).await.unwrap_err(), "").1, "INSUFFICIENT_STOCK");
    shop.reserve(3, vec![line("tea", 3)]).await.unwrap();
    assert_eq!(shop.item("tea").await.available, 4);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_failure_says_what_it_is() {
    let mut shop = Service::start(|_| {}).await;
    shop.put("tea", 10).await;
    for (faults, code, reason) in [
        (FaultsConfig { error_pct: 100, ..FaultsConfig::default() }, Code::Unavailable, "INJECTED"),
        (FaultsConfig { rate_limit_pct: 100, ..FaultsConfig::default() }, Code::ResourceExhausted, "RATE_LIMITED"),
        (FaultsConfig { internal_pct: 100, ..FaultsConfig::default() }, Code::Internal, "INTERNAL"),
    ] {
        shop.faults.set(faults).unwrap();
        let failed = why(&shop.reserve(1, vec![line("tea", 3)]).await.unwrap_err(), "");
        assert_eq!((failed.0, failed.1.as_str()), (code, reason));
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_no_answer_and_the_repeat_tells() {
    let mut shop = Service::start(|_| {}).await;
    shop.put("tea", 100).await;
    shop.faults.set(FaultsConfig { reset_pct: 100, ..FaultsConfig::default() }).unwrap();
    for saga in 0..20 {
        let cut = shop.reserve(saga, vec![line("tea", 1)]).await.unwrap_err();
        assert!(!matches!(cut.code(), Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument), "{cut:?}");
        assert!(!cut.message().contains("injected"), "an answer got out: {cut:?}");
    }
    shop.faults.set(FaultsConfig::default()).unwrap();
    // The client may find its dead connection only when it uses it once more.
    let mut tries = 0;
    while shop.reserve(99, vec![line("tea", 101)]).await.unwrap_err().code() != Code::FailedPrecondition {
        tries += 1;
        assert!(tries < 100, "not connected again");
    }
    let taken = 100 - shop.item("tea").await.available;
    assert!((1..20).contains(&taken), "{taken} of 20 took effect unheard");
    for saga in 0..20 {
        shop.reserve(saga, vec![line("tea", 1)]).await.unwrap();
    }
    assert_eq!(shop.item("tea").await.available, 80);
    shop.stop().await;
}

#[tokio::test]
async fn production_does_not_start_with_faults() {
    let runtime = Runtime::for_testing();
    runtime.faults.in_environment("production");
    let mut config = Config::default();
    config.database.url = "sqlite::memory:".into();
    config.faults.refuse_commit_skus = vec!["tea".into()];
    let error = build(config, &runtime).await.unwrap_err().to_string();
    assert!(error.contains("inventory.faults.allow_in_production=true"), "{error}");
}
