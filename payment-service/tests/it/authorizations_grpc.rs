//! Authorizations over the wire.

use amends_protos::{
    common::v1::{CompensationResult, StepKey},
    payments::v1::{self as pb, PaymentState},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    service::{Service, authorizing, capturing, cents, charging, config_at, fields, refunding, voiding, why},
    support::sqlite,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_held_then_taken_or_released() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let request = authorizing(3700, "pm_ok");
    let held = service.authorize(request.clone()).await.unwrap();
    assert_eq!((held.state(), held.capturable.clone()), (PaymentState::Authorized, Some(cents(3700))));
    assert_eq!((held.amount.clone(), held.captured.clone()), (Some(cents(3700)), Some(cents(0))));
    let only_held = pb::ListPaymentsRequest { state: PaymentState::Authorized.into(), ..Default::default() };
    assert_eq!(service.list(only_held.clone()).await.unwrap().0, std::slice::from_ref(&held));

    let capture = capturing(&held, Some(700));
    let captured = service.capture(capture.clone()).await.unwrap();
    assert_eq!((captured.state(), captured.captured.clone()), (PaymentState::Captured, Some(cents(700))));
    assert_eq!(captured.capturable, Some(cents(0)));
    assert_eq!(service.list(only_held).await.unwrap().0, []);
    service.refund(refunding(&held, None)).await.unwrap();
    assert_eq!(service.capture(capture).await.unwrap(), captured, "as it was captured");
    assert_eq!(service.authorize(request.clone()).await.unwrap(), held, "as it was authorized");

    let other = service.authorize(authorizing(500, "pm_ok")).await.unwrap();
    let void = voiding(&other);
    let voided = service.void(void.clone()).await.unwrap();
    assert_eq!((voided.state(), voided.capturable.clone()), (PaymentState::Voided, Some(cents(0))));
    assert_eq!(service.void(void).await.unwrap(), voided);

    let request = authorizing(500, "pm_ok");
    service.authorize(request.clone()).await.unwrap();
    let (result, undone) = service.compensate(request.step_key.clone()).await.unwrap();
    assert_eq!((result, undone.unwrap().state()), (CompensationResult::Undone, PaymentState::Voided));
    let late = service.authorize(request).await;
    assert_eq!(why(late), (Code::FailedPrecondition, "STEP_COMPENSATED".into()));

    let metrics = service.runtime.metrics.encode();
    for line in [
        r#"payment_authorizations_total{result="authorized"} 3"#,
        r#"payment_captures_total{result="captured"} 1"#,
        r#"payment_voids_total{result="voided"} 2"#,
        r#"rpc_method="amends.payments.v1.PaymentService/Capture""#,
        r#"peer_service="acquirer",service_peer_name="acquirer",operation="authorize",result="authorized"} 3"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_follow_is_refused_with_both_states_named() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let charged = service.charge(charging(500, "pm_ok")).await.unwrap();
    let held = service.authorize(authorizing(500, "pm_ok")).await.unwrap();
    let voided = service.authorize(authorizing(500, "pm_ok")).await.unwrap();
    service.void(voiding(&voided)).await.unwrap();
    for (refused, reason, from, to) in [
        (service.void(voiding(&charged)).await, "NOT_VOIDABLE", "captured", "voided"),
        (service.capture(capturing(&charged, None)).await, "NOT_CAPTURABLE", "captured", "captured"),
        (service.capture(capturing(&voided, None)).await, "NOT_CAPTURABLE", "voided", "captured"),
        (service.void(voiding(&voided)).await, "NOT_VOIDABLE", "voided", "voided"),
        (service.refund(refunding(&held, None)).await, "NOT_REFUNDABLE", "authorized", "refunded"),
    ] {
        let status = refused.unwrap_err();
        let facts = status.get_details_error_info().unwrap().metadata;
        assert_eq!((facts["state"].as_str(), facts["requested_state"].as_str()), (from, to));
        assert!(status.message().ends_with(&format!("is {from}: it cannot become {to}")), "{}", status.message());
        assert_eq!(why::<()>(Err(status)), (Code::FailedPrecondition, reason.into()));
    }
    let exceeds = why(service.capture(capturing(&held, Some(501))).await);
    assert_eq!(exceeds, (Code::FailedPrecondition, "CAPTURE_EXCEEDS_AUTHORIZED".into()));
    let mut dollars = capturing(&held, Some(1));
    dollars.amount = Some(amends_protos::common::v1::Money { amount_minor: 1, currency: "USD".into() });
    assert_eq!(fields(service.capture(dollars).await), ["amount.currency"]);
    let capture = capturing(&held, Some(1));
    service.capture(capture.clone()).await.unwrap();
    let step_key = capture.step_key.clone().map(|key| StepKey { fingerprint: vec![8; 32], ..key });
    let other = why(service.capture(pb::CaptureRequest { step_key, ..capture }).await);
    assert_eq!(other, (Code::FailedPrecondition, "STEP_KEY_REUSED".into()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_field_is_named_and_every_call_needs_its_scope() {
    let place = sqlite().await.unwrap();
    let service = Service::start(config_at(&place)).await;
    let nothing = service.authorize(pb::AuthorizeRequest::default()).await;
    assert_eq!(fields(nothing), ["step_key", "order_id", "customer_id", "amount", "payment_method"]);
    let zero = pb::CaptureRequest { amount: Some(cents(0)), ..pb::CaptureRequest::default() };
    assert_eq!(fields(service.capture(zero).await), ["amount.amount_minor", "step_key", "payment_id"]);
    assert_eq!(fields(service.void(pb::VoidRequest::default()).await), ["step_key", "payment_id"]);
    let mut client = service.client.clone();
    let reader = service.request("payments:read", authorizing(1, "pm_ok"));
    assert_eq!(client.authorize(reader).await.unwrap_err().code(), Code::PermissionDenied);
    let reader = service.request("payments:read", pb::CaptureRequest::default());
    assert_eq!(client.capture(reader).await.unwrap_err().code(), Code::PermissionDenied);
    let reader = service.request("payments:read", pb::VoidRequest::default());
    assert_eq!(client.void(reader).await.unwrap_err().code(), Code::PermissionDenied);
    service.stop().await;
}
