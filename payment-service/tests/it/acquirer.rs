//! The whole payment service and an acquirer that misbehaves: delays, errors, limits, silence, broken connections, crashes. Whatever
//! happens between them, every payment ends captured once or surely not at all, and the bank statement is what our store says.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use amends_protos::payments::v1::{self as pb, PaymentState};
use futures::{StreamExt as _, stream};
use service_base::status::retry_after;
use service_kit::faults::FaultsConfig;
use tonic::{Code, Status};

use crate::{
    bank::Bank,
    service::{Service, capturing, charging, config_at, refunding, why},
    support::sqlite,
};

/// Payments of one run. Every sixth is declined, every fourth is undone at its first doubt, or after it was made.
const PAYMENTS: usize = 24;
/// More calls than any payment needs, if the faults leave one in ten alone.
const CALLS_MAX: usize = 300;

async fn service_at(bank: &Bank, timeout_ms: u64, attempt_timeout_ms: u64) -> (Service, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config_at(&sqlite().await.unwrap());
    config.database.url = format!("sqlite://{}?mode=rwc", dir.path().join("payment.db").display()).as_str().into();
    bank.serves(&mut config);
    (config.processor.timeout_ms, config.processor.http.attempt_timeout_ms) = (timeout_ms, attempt_timeout_ms);
    (Service::start(config).await, dir)
}

/// Whether that is the last word: a refusal. Everything else is a doubt.
fn is_refused(status: &Status) -> bool {
    assert!(matches!(status.code(), Code::FailedPrecondition | Code::Unavailable), "{status:?}");
    status.code() == Code::FailedPrecondition
}

/// Repeats a call until its outcome is certain, as a saga does.
async fn until_certain<T, F: Future<Output = Result<T, Status>>>(call: impl Fn() -> F) -> Result<T, Status> {
    for _ in 0..CALLS_MAX {
        match call().await {
            Err(status) if !is_refused(&status) => {}
            certain => return certain,
        }
    }
    panic!("in doubt after {CALLS_MAX} calls");
}

/// Makes one payment, and undoes it if its number says so; what is captured and given back in the end, as a caller sees it.
async fn pay(service: &Service, number: usize) -> (String, (i64, i64)) {
    let method = if number % 6 == 5 { "pm_insufficient_funds" } else { "pm_ok" };
    let request = charging(500, method);
    let key = request.step_key.clone().unwrap();
    let name = format!("{}/{}", key.saga_id, key.step);
    let undo = || until_certain(|| service.compensate(Some(key.clone())));
    if number % 4 == 3 {
        let first = service.charge(request.clone()).await;
        undo().await.unwrap();
        let late = until_certain(|| service.charge(request.clone())).await;
        assert_eq!(why(late).0, Code::FailedPrecondition, "it was undone, and {first:?}");
        return (name, (0, 0));
    }
    match until_certain(|| service.charge(request.clone())).await {
        Ok(payment) => {
            assert_eq!(payment.state(), PaymentState::Captured);
            if number % 8 != 2 {
                return (name, (500, 0));
            }
            let refund = refunding(&payment, Some(120));
            until_certain(|| service.refund(refund.clone())).await.unwrap();
            (name, (500, 120))
        }
        Err(refused) => {
            assert_eq!(why::<()>(Err(refused)), (Code::FailedPrecondition, "INSUFFICIENT_FUNDS".into()));
            (name, (0, 0))
        }
    }
}

/// The store's books by charge, for all payments there are; each is certain.
async fn store_books(service: &Service) -> BTreeMap<String, (i64, i64)> {
    let (mut books, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let query = pb::ListPaymentsRequest { page_size: 100, page_token, ..Default::default() };
        let (page, next) = service.list(query).await.unwrap();
        for payment in page {
            assert_ne!(payment.state(), PaymentState::Pending, "{payment:?}");
            let minor = |money: Option<amends_protos::common::v1::Money>| money.map_or(0, |money| money.amount_minor);
            books.insert(payment.id.clone(), (minor(payment.captured), minor(payment.refunded)));
        }
        page_token = next;
        if page_token.is_empty() {
            return books;
        }
    }
}

/// The statement, the store and what callers were told are the same money.
async fn assert_all_agree(bank: &Bank, service: &Service, told: &BTreeMap<String, (i64, i64)>) {
    let statement = bank.statement().await;
    for (charge, (taken, given_back)) in told {
        let (on_statement, returned) = statement.get(charge).copied().unwrap_or_default();
        // What was undone may have been taken and given back, or never taken.
        assert_eq!(on_statement - returned, taken - given_back, "{charge}");
    }
    assert!(statement.keys().all(|charge| told.contains_key(charge)), "money moved that nobody asked for");
    let moved = |books: &BTreeMap<String, (i64, i64)>| {
        let mut moved: Vec<_> = books.values().copied().filter(|books| *books != (0, 0)).collect();
        moved.sort_unstable();
        moved
    };
    assert_eq!(moved(&statement), moved(&store_books(service).await), "the statement and the store");
}

async fn pay_all(service: &Service) -> BTreeMap<String, (i64, i64)> {
    stream::iter(0..PAYMENTS).map(|number| pay(service, number)).buffer_unordered(8).collect().await
}

/// Runs all payments under a fault; the acquirer is well again only for the comparison.
async fn under(faults: FaultsConfig) {
    let bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 600, 200).await;
    bank.faults.set(faults).unwrap();
    let told = pay_all(&service).await;
    bank.faults.set(FaultsConfig::default()).unwrap();
    assert_all_agree(&bank, &service, &told).await;
    service.stop().await;
}

macro_rules! faults {
    ($($name:ident: { $($field:ident: $value:expr),+ })+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            under(FaultsConfig { $($field: $value,)+ ..FaultsConfig::default() }).await;
        })+
    };
}

faults! {
    without_faults_everything_agrees: { delay_ms: 0 }
    with_connections_reset_before_and_after_the_effect: { reset_pct: 50 }
    with_errors_before_and_after_the_effect: { error_pct: 30 }
    with_nearly_nothing_but_errors: { error_pct: 80 }
    with_requests_that_hang: { hang_pct: 30 }
    with_half_of_the_requests_limited: { rate_limit_pct: 50 }
    with_requests_that_take_effect_after_they_were_given_up: { delay_ms: 250, delay_pct: 50 }
    with_everything_at_once: { delay_ms: 250, delay_pct: 20, error_pct: 20, reset_pct: 20, hang_pct: 10, rate_limit_pct: 20 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquirer_that_crashes_charges_once_and_loses_nothing() {
    let mut bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 600, 200).await;
    let (paid, crashed) = tokio::join!(pay_all(&service), async {
        for crash in 0..5_u64 {
            // A moment that the payments do not choose: somewhere within theirs.
            tokio::time::sleep(Duration::from_millis(20 + 35 * crash)).await;
            bank.start_again().await;
        }
        bank
    });
    assert_all_agree(&crashed, &service, &paid).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquirer_that_is_away_is_a_doubt_and_not_a_decline() {
    let mut bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 600, 200).await;
    let request = charging(500, "pm_ok");
    bank.kill();
    let away = service.charge(request.clone()).await.unwrap_err();
    assert!(retry_after(&away).is_some());
    assert_eq!(why::<()>(Err(away)), (Code::Unavailable, "PROCESSOR_UNAVAILABLE".into()));
    bank.start_again().await;
    let payment = until_certain(|| service.charge(request.clone())).await.unwrap();
    assert_eq!(payment.state(), PaymentState::Captured);
    assert_eq!(bank.statement().await.into_values().collect::<Vec<_>>(), [(500, 0)]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_passed_on_with_its_time_to_come_back() {
    let bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 600, 200).await;
    bank.faults.set(FaultsConfig { rate_limit_pct: 100, next_calls: 1, ..FaultsConfig::default() }).unwrap();
    let request = charging(500, "pm_ok");
    let busy = service.charge(request.clone()).await.unwrap_err();
    assert_eq!(retry_after(&busy), Some(Duration::from_secs(1)));
    assert_eq!(why::<()>(Err(busy)), (Code::Unavailable, "PROCESSOR_BUSY".into()));
    assert_eq!(service.charge(request).await.unwrap().state(), PaymentState::Captured);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_method_is_declined_by_the_acquirer_on_purpose() {
    let bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 5_000, 5_000).await;
    let refuse = vec!["pm_ok".to_owned()];
    bank.faults.set(FaultsConfig { refuse: refuse.clone(), ..FaultsConfig::default() }).unwrap();
    assert_eq!(why(service.charge(charging(5, "pm_ok")).await), (Code::FailedPrecondition, "DECLINED".into()));
    let ours = service.faults.set(FaultsConfig { refuse, ..FaultsConfig::default() }).unwrap_err();
    assert_eq!(ours[0].key, "refuse", "it would do nothing here");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_is_captured_over_the_network_under_faults() {
    let bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 600, 200).await;
    bank.faults.set(FaultsConfig { error_pct: 30, reset_pct: 30, ..FaultsConfig::default() }).unwrap();
    for _ in 0..6 {
        let request = crate::service::authorizing(500, "pm_ok");
        let payment = until_certain(|| service.authorize(request.clone())).await.unwrap();
        let capture = capturing(&payment, Some(300));
        let captured = until_certain(|| service.capture(capture.clone())).await.unwrap();
        assert_eq!(captured.state(), PaymentState::Captured);
    }
    bank.faults.set(FaultsConfig::default()).unwrap();
    assert_eq!(bank.statement().await.into_values().collect::<Vec<_>>(), [(300, 0); 6]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_after_its_compensation_is_refused_by_the_acquirer() {
    let bank = Bank::open().await;
    let (service, _dir) = service_at(&bank, 200, 200).await;
    let delay = Duration::from_secs(2);
    bank.faults.set(FaultsConfig { delay_ms: 2_000, next_calls: 1, ..FaultsConfig::default() }).unwrap();
    let request = charging(500, "pm_ok");
    let begun = Instant::now();
    let given_up = service.charge(request.clone()).await;
    assert_eq!(why(given_up), (Code::Unavailable, "PROCESSOR_TIMED_OUT".into()));
    until_certain(|| service.compensate(request.step_key.clone())).await.unwrap();
    assert!(begun.elapsed() < delay, "this machine is too slow to overtake a charge");
    // It is on its way, and its arrival will never be reported.
    while begun.elapsed() < delay + Duration::from_secs(1) {
        assert!(bank.statement().await.is_empty(), "charged after it was undone");
    }
    service.stop().await;
}
