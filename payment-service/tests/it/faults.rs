//! Faults that are switched while the service runs, over the wire.

use amends_protos::payments::v1::{self as pb, PaymentState};
use payment_service::build;
use service_kit::{Runtime, faults::FaultsConfig};
use tonic::Code;

use crate::{
    service::{BOTH_WAYS, Service, authorizing, charging, config_at, why},
    support::sqlite,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_payment_method_is_declined_and_stays_declined() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let before = charging(500, "pm_ok");
    service.charge(before.clone()).await.unwrap();
    let refuse = vec!["pm_ok".to_owned()];
    service.faults.set(FaultsConfig { refuse, ..FaultsConfig::default() }).unwrap();
    let declined = (Code::FailedPrecondition, "DECLINED".to_owned());
    let during = charging(500, "pm_ok");
    assert_eq!(why(service.charge(during.clone()).await), declined);
    assert_eq!(why(service.authorize(authorizing(500, "pm_ok")).await), declined);
    let charged = service.charge(before).await.expect("what was charged before the fault stays charged");
    assert_eq!(charged.state(), PaymentState::Captured);
    service.faults.set(FaultsConfig::default()).unwrap();
    assert_eq!(why(service.charge(during).await), declined, "decided once");
    service.charge(charging(500, "pm_ok")).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_is_no_answer_and_the_repeat_tells() {
    for way in BOTH_WAYS {
        let place = sqlite().await.unwrap();
        let service = Service::start_by(way, config_at(&place)).await;
        service.faults.set(FaultsConfig { reset_pct: 100, ..FaultsConfig::default() }).unwrap();
        let requests: Vec<_> = (0..20).map(|_| charging(1, "pm_ok")).collect();
        for request in &requests {
            let cut = service.charge(request.clone()).await.unwrap_err();
            assert_ne!(cut.code(), Code::FailedPrecondition, "{cut:?}");
            assert!(!cut.message().contains("injected"), "an answer got out: {cut:?}");
        }
        service.faults.set(FaultsConfig::default()).unwrap();
        let query = pb::ListPaymentsRequest { page_size: 100, ..Default::default() };
        // The client may find its dead connection only when it uses it once more.
        let mut tries = 0;
        let (taken, _) = loop {
            match service.list(query.clone()).await {
                Ok(page) => break page,
                Err(_) => tries += 1,
            }
            assert!(tries < 100, "not connected again");
        };
        assert!((1..20).contains(&taken.len()), "{} of 20 took effect unheard", taken.len());
        for request in requests {
            assert_eq!(service.charge(request).await.unwrap().state(), PaymentState::Captured);
        }
        assert_eq!(service.list(query).await.unwrap().0.len(), 20);
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_does_not_start_with_faults_but_with_the_switch() {
    let place = sqlite().await.unwrap();
    let runtime = Runtime::for_testing();
    runtime.faults.in_environment("production");
    let mut config = config_at(&place);
    config.faults.delay_ms = 1;
    let error = build(config.clone(), &runtime).await.unwrap_err().to_string();
    assert!(error.contains("payment.faults.allow_in_production=true"), "{error}");
    config.faults.allow_in_production = true;
    build(config, &runtime).await.unwrap();
    runtime.shutdown.trigger();
}
