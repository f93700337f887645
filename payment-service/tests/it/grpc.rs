//! The service over the wire.

use std::time::{Duration, Instant};

use amends_protos::{
    common::v1::{CompensationResult, StepKey},
    payments::v1::{self as pb, PaymentState, payment_service_client::PaymentServiceClient},
};
use futures::future::join_all;
use payment_service::{Config, build};
use service_base::status::retry_after;
use service_kit::{Runtime, faults::FaultsConfig};
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    mongo::Proxy,
    service::{BOTH_WAYS, Service, cents, charging, config_at, fields, key, refunding, why},
    support::{mongo, saga, sqlite},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_taken_given_back_and_accounted_for() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let request = charging(3700, "pm_ok");
    let payment = service.charge(request.clone()).await.unwrap();
    assert_eq!(payment.state(), PaymentState::Captured);
    assert_eq!((payment.captured.clone(), payment.refunded.clone()), (Some(cents(3700)), Some(cents(0))));
    assert_eq!((payment.order_id.as_str(), payment.customer_id.as_str()), (request.order_id.as_str(), "demo"));
    assert_eq!(service.charge(request.clone()).await.unwrap(), payment);
    assert_eq!(service.get(&payment.id).await.unwrap(), payment);

    let partly = service.refund(refunding(&payment, Some(700))).await.unwrap();
    assert_eq!((partly.state(), partly.refunded), (PaymentState::PartiallyRefunded, Some(cents(700))));
    let (result, undone) = service.compensate(request.step_key.clone()).await.unwrap();
    assert_eq!((result, undone.unwrap().state()), (CompensationResult::Undone, PaymentState::Refunded));
    let (result, _) = service.compensate(request.step_key.clone()).await.unwrap();
    assert_eq!(result, CompensationResult::AlreadyUndone);
    let (result, nothing) = service.compensate(Some(key("charge_payment"))).await.unwrap();
    assert_eq!((result, nothing), (CompensationResult::NothingToUndo, None));

    let of_order = pb::ListPaymentsRequest { order_id: request.order_id, ..pb::ListPaymentsRequest::default() };
    let (listed, next) = service.list(of_order).await.unwrap();
    assert_eq!((listed.len(), listed[0].state(), next.as_str()), (1, PaymentState::Refunded, ""));

    let metrics = service.runtime.metrics.encode();
    for line in [
        r#"payment_attempts_total{result="captured"} 1"#,
        r#"payment_refunds_total{result="refunded"} 2"#,
        r#"rpc_method="amends.payments.v1.PaymentService/Charge""#,
        r#"db_system_name="sqlite",db_collection_name="payments",db_operation_name="claim",error_type=""} 5"#,
        r#"peer_service="acquirer",service_peer_name="acquirer",operation="charge",result="captured"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_reasons_of_the_contract() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let refused = |reason: &str| (Code::FailedPrecondition, reason.to_owned());
    for (minor, method, reason) in [
        (1, "pm_declined", "DECLINED"),
        (1, "pm_insufficient_funds", "INSUFFICIENT_FUNDS"),
        (100_000, "pm_ok", "AMOUNT_LIMIT_EXCEEDED"),
    ] {
        let request = charging(minor, method);
        assert_eq!(why(service.charge(request.clone()).await), refused(reason));
        assert_eq!(why(service.charge(request.clone()).await), refused(reason), "a repeat");
        let query = pb::ListPaymentsRequest { order_id: request.order_id, ..pb::ListPaymentsRequest::default() };
        let (listed, _) = service.list(query).await.unwrap();
        assert_eq!(listed[0].state(), PaymentState::Declined);
        assert_eq!(listed[0].decline_reason().as_str_name(), format!("DECLINE_REASON_{reason}"));
        assert_eq!(why(service.refund(refunding(&listed[0], None)).await), refused("NOT_REFUNDABLE"));
    }
    let request = charging(500, "pm_ok");
    let payment = service.charge(request.clone()).await.unwrap();
    let step_key = request.step_key.clone().map(|key| StepKey { fingerprint: vec![8; 32], ..key });
    let other = pb::ChargeRequest { step_key, ..request.clone() };
    assert_eq!(why(service.charge(other).await), refused("STEP_KEY_REUSED"));
    assert_eq!(why(service.refund(refunding(&payment, Some(501))).await), refused("REFUND_EXCEEDS_CAPTURED"));
    service.compensate(request.step_key.clone()).await.unwrap();
    assert_eq!(why(service.charge(request).await), refused("STEP_COMPENSATED"));
    let nobodys = saga().to_string();
    assert_eq!(why(service.get(&nobodys).await), (Code::NotFound, "PAYMENT_NOT_FOUND".into()));
    let of_nobody = pb::Payment { id: nobodys, ..pb::Payment::default() };
    assert_eq!(why(service.refund(refunding(&of_nobody, None)).await), (Code::NotFound, "PAYMENT_NOT_FOUND".into()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_field_is_named() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let nothing = service.charge(pb::ChargeRequest::default()).await;
    assert_eq!(fields(nothing), ["step_key", "order_id", "customer_id", "amount", "payment_method"]);
    let wrong = pb::ChargeRequest {
        step_key: Some(StepKey { saga_id: "1".into(), step: "Charge".into(), fingerprint: vec![1], attempt: 0 }),
        order_id: "1".into(),
        customer_id: "a\nb".into(),
        amount: Some(amends_protos::common::v1::Money { amount_minor: 0, currency: "euro".into() }),
        payment_method: "4111 1111 1111 1111".into(),
    };
    let expected = [
        "step_key.saga_id",
        "step_key.step",
        "step_key.fingerprint",
        "order_id",
        "customer_id",
        "amount.currency",
        "amount.amount_minor",
        "payment_method",
    ];
    assert_eq!(fields(service.charge(wrong).await), expected);
    assert_eq!(fields(service.refund(pb::RefundRequest::default()).await), ["step_key", "payment_id"]);
    let payment = service.charge(charging(500, "pm_ok")).await.unwrap();
    assert_eq!(fields(service.refund(refunding(&payment, Some(-1))).await), ["amount.amount_minor"]);
    let mut dollars = refunding(&payment, Some(1));
    dollars.amount = Some(amends_protos::common::v1::Money { amount_minor: 1, currency: "USD".into() });
    assert_eq!(fields(service.refund(dollars).await), ["amount.currency"]);
    assert_eq!(fields(service.compensate(None).await), ["charge_step_key"]);
    assert_eq!(fields(service.get("").await), ["payment_id"]);
    let wrong = pb::ListPaymentsRequest {
        page_size: 101,
        page_token: "x".into(),
        order_id: "y".into(),
        customer_id: "\u{7}".into(),
        state: 99,
        created_from: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
        created_before: None,
    };
    let expected = ["page_size", "page_token", "order_id", "customer_id", "state", "created_from"];
    assert_eq!(fields(service.list(wrong).await), expected);
    let (all, _) = service.list(pb::ListPaymentsRequest::default()).await.unwrap();
    assert_eq!(all, [payment], "nothing was written");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_one_another() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(service.charge(charging(500, "pm_ok")).await.unwrap());
    }
    made.sort_by(|one, other| one.id.cmp(&other.id));
    let (mut read, mut page_token) = (Vec::new(), String::new());
    loop {
        let query = pb::ListPaymentsRequest { page_size: 2, page_token, ..pb::ListPaymentsRequest::default() };
        let (page, next) = service.list(query).await.unwrap();
        read.extend(page);
        page_token = next;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(read, made);
    let captured =
        pb::ListPaymentsRequest { state: PaymentState::Captured.into(), ..pb::ListPaymentsRequest::default() };
    assert_eq!(service.list(captured).await.unwrap().0, made);
    let made_at = made[0].created_at;
    for (created_from, created_before, wanted) in [(made_at, None, &made[..]), (None, made_at, &[])] {
        let span = pb::ListPaymentsRequest { created_from, created_before, ..pb::ListPaymentsRequest::default() };
        assert_eq!(service.list(span).await.unwrap().0, wanted);
    }
    let voided = pb::ListPaymentsRequest { state: PaymentState::Voided.into(), ..pb::ListPaymentsRequest::default() };
    assert_eq!(service.list(voided).await.unwrap().0, []);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_token_every_call_is_refused() {
    for way in BOTH_WAYS {
        let place = sqlite().await.unwrap();
        let service = Service::start_by(way, config_at(&place)).await;
        let mut client = service.client.clone();
        let anonymous = client.charge(Request::new(charging(1, "pm_ok"))).await;
        assert_eq!(anonymous.unwrap_err().code(), Code::Unauthenticated);
        for scope in ["payments:read", "orders:write inventory:write", "", "payments:writer"] {
            let request = service.request(scope, charging(1, "pm_ok"));
            let refused = client.charge(request).await;
            assert_eq!(why(refused), (Code::PermissionDenied, "INSUFFICIENT_SCOPE".into()), "{scope}");
        }
        let writer = service.request("payments:write", pb::ListPaymentsRequest::default());
        assert_eq!(client.list_payments(writer).await.unwrap_err().code(), Code::PermissionDenied);
        let writer = service.request("payments:write", pb::GetPaymentRequest::default());
        assert_eq!(client.get_payment(writer).await.unwrap_err().code(), Code::PermissionDenied);
        let reader = service.request("payments:read", pb::RefundRequest::default());
        assert_eq!(client.refund(reader).await.unwrap_err().code(), Code::PermissionDenied);
        let reader = service.request("payments:read", pb::CompensateChargeRequest::default());
        assert_eq!(client.compensate_charge(reader).await.unwrap_err().code(), Code::PermissionDenied);
        let late = service.request("payments:write", charging(1, "pm_ok"));
        service.clock.advance(Duration::from_secs(700));
        assert_eq!(client.charge(late).await.unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(service.list(pb::ListPaymentsRequest::default()).await.unwrap().0, [], "nothing was written");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_are_public() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let asked = HealthCheckRequest { service: "amends.payments.v1.PaymentService".into() };
    let health = HealthClient::new(service.channel.clone()).check(asked).await.unwrap().into_inner();
    assert_eq!(health.status, 1);
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(service.channel.clone());
    let mut answers = reflection.server_reflection_info(futures::stream::iter([asked])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services")
    };
    assert!(listed.service.iter().any(|service| service.name == "amends.payments.v1.PaymentService"));
    let ready = service.runtime.readiness.ask().await;
    assert_eq!(ready, [("payment-store".to_owned(), Ok(()))]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_processor_is_unavailable_and_may_be_asked_again() {
    let place = sqlite().await.unwrap();
    let mut config = config_at(&place);
    config.processor.timeout_ms = 300;
    let service = Service::start(config).await;
    let request = charging(500, "pm_timeout");
    let status = service.charge(request.clone()).await.unwrap_err();
    assert!(retry_after(&status).is_some(), "{status:?}");
    assert_eq!(why::<()>(Err(status)), (Code::Unavailable, "PROCESSOR_TIMED_OUT".into()));
    let (result, payment) = service.compensate(request.step_key).await.unwrap();
    assert_eq!((result, payment.unwrap().state()), (CompensationResult::Undone, PaymentState::Refunded));

    let request = charging(500, "pm_flaky");
    assert_eq!(why(service.charge(request.clone()).await), (Code::Unavailable, "PROCESSOR_UNAVAILABLE".into()));
    assert_eq!(service.charge(request).await.unwrap().state(), PaymentState::Captured);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_switched_while_the_service_runs() {
    let place = sqlite().await.unwrap();
    let mut config = config_at(&place);
    config.faults.rate_limit_pct = 100;
    let service = Service::start(config).await;
    let status = service.charge(charging(1, "pm_ok")).await.unwrap_err();
    assert!(retry_after(&status).is_some());
    assert_eq!(why::<()>(Err(status)), (Code::ResourceExhausted, "RATE_LIMITED".into()));

    service.faults.set(FaultsConfig { error_pct: 100, ..FaultsConfig::default() }).unwrap();
    let requests: Vec<_> = (0..40).map(|_| charging(1, "pm_ok")).collect();
    for request in &requests {
        assert_eq!(why(service.charge(request.clone()).await), (Code::Unavailable, "INJECTED".into()));
    }
    service.faults.set(FaultsConfig { delay_ms: 30, ..FaultsConfig::default() }).unwrap();
    let begun = Instant::now();
    let (taken, _) = service.list(pb::ListPaymentsRequest { page_size: 100, ..Default::default() }).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert!((1..40).contains(&taken.len()), "{} of 40 took effect unheard", taken.len());
    service.faults.set(FaultsConfig::default()).unwrap();
    for request in requests {
        assert_eq!(service.charge(request).await.unwrap().state(), PaymentState::Captured);
    }
    let metrics = service.runtime.metrics.encode();
    assert!(metrics.contains(r#"payment_attempts_total{result="captured"} 40"#), "{metrics}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_hangs_up_leaves_no_payment_in_doubt() {
    for way in BOTH_WAYS {
        let place = sqlite().await.unwrap();
        let service = Service::start_by(way, config_at(&place)).await;
        service.list(pb::ListPaymentsRequest::default()).await.unwrap(); // connected, keys fetched
        let mut captured = 0;
        for round in 0..20 {
            let request = charging(500, "pm_ok");
            let call = service.charge(request);
            let _ = tokio::time::timeout(Duration::from_micros(200 * round), call).await;
            captured = round;
        }
        assert_eq!(captured, 19);
        let begun = Instant::now();
        loop {
            let (all, _) =
                service.list(pb::ListPaymentsRequest { page_size: 100, ..Default::default() }).await.unwrap();
            if all.iter().all(|payment| payment.state() == PaymentState::Captured) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{all:?}");
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_work_than_allowed_is_told_to_come_back() {
    let place = sqlite().await.unwrap();
    let mut config = config_at(&place);
    config.grpc.in_flight_max = 1;
    let service = Service::start(config).await;
    let request = charging(500, "pm_timeout");
    let mut client: PaymentServiceClient<_> = service.client.clone();
    let hanging = service.request("payments:write", request.clone());
    let hanging = tokio::spawn(async move { client.charge(hanging).await });
    let begun = Instant::now();
    // Once the one that hangs is recorded, it has the only permit.
    while service.list(pb::ListPaymentsRequest::default()).await.unwrap().0.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let status = service.charge(charging(500, "pm_ok")).await.unwrap_err();
    assert!(retry_after(&status).is_some());
    assert_eq!(why::<()>(Err(status)), (Code::Unavailable, "OVERLOADED".into()));
    assert_eq!(hanging.await.unwrap().unwrap_err().code(), Code::Unavailable);
    service.charge(charging(500, "pm_ok")).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_make_one_payment() {
    let Some(place) = mongo().await else { return };
    let (one, other) = (Service::start(config_at(&place)).await, Service::start(config_at(&place)).await);
    let request = charging(500, "pm_ok");
    let calls = (0..16).flat_map(|_| [one.charge(request.clone()), other.charge(request.clone())]);
    let mut answers = join_all(calls).await.into_iter().map(Result::unwrap);
    let first = answers.next().unwrap();
    assert!(answers.all(|answer| answer == first));
    let (all, _) = other.list(pb::ListPaymentsRequest::default()).await.unwrap();
    assert_eq!(all, [first]);
    one.stop().await;
    other.stop().await;
    place.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_mongodb_is_unavailable_and_found_again() {
    let Some(place) = mongo().await else { return };
    let proxy = Proxy::to_the_server().await;
    let mut config = config_at(&place);
    config.database.url = proxy.uri.as_str().into();
    config.database.acquire_timeout_ms = 500;
    let service = Service::start(config).await;
    service.charge(charging(500, "pm_ok")).await.unwrap();

    proxy.open.send(false).unwrap();
    let during = charging(500, "pm_ok");
    let begun = Instant::now();
    let status = service.charge(during.clone()).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(retry_after(&status), Some(Duration::from_secs(1)));
    assert_eq!(why::<()>(Err(status)), (Code::Unavailable, "STORE_UNAVAILABLE".into()));
    assert_eq!(why(service.get(&saga().to_string()).await).0, Code::Unavailable);
    assert!(service.runtime.readiness.ask().await[0].1.is_err());

    proxy.open.send(true).unwrap();
    let begun = Instant::now();
    while service.charge(during.clone()).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not found again");
    }
    assert!(service.runtime.readiness.ask().await[0].1.is_ok());
    service.stop().await;
    place.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stays_away_ends_the_start_with_a_sentence() {
    // A file is named: its path is no secret, and what its operator needs.
    for (url, says) in [
        ("mongodb://nobody:hunter2@127.0.0.1:1/", "the payment store is unavailable"),
        ("sqlite:///no/such/folder/payment.db", "/no/such/folder/payment.db: there is no folder /no/such/folder"),
    ] {
        let mut config = Config::default();
        config.grpc.listen = ([127, 0, 0, 1], 0).into();
        config.database.url = url.into();
        (config.database.start_patience_secs, config.database.acquire_timeout_ms) = (0, 300);
        let error = format!("{:#}", build(config, &Runtime::for_testing()).await.unwrap_err());
        assert!(error.starts_with("the payment store cannot be brought up to date"), "{error}");
        assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
    }
    let mut config = Config::default();
    config.database.url = "mongodb://nobody:hunter2@host:notaport/".into();
    let error = format!("{:#}", build(config, &Runtime::for_testing()).await.unwrap_err());
    assert!(error.starts_with("payment.database.url") && !error.contains("hunter2"), "{error}");
}
