//! The whole service on a port of its own, beside an issuer whose tokens it accepts.

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock as _, ManualClock, RandomIds};
use amends_protos::{
    common::v1::{CompensationResult, Money, StepKey},
    payments::v1::{self as pb, payment_service_client::PaymentServiceClient},
};
use amends_testing::Issuer;
use payment_service::{Config, build};
use service_kit::{
    Runtime,
    faults::Faults,
    grpc::{ChannelConfig, Channels, channels},
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{Place, saga};

pub(crate) const EVERYTHING: &str = "payments:read payments:write";

/// How it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Connection,
    Memory,
}

pub(crate) const BOTH_WAYS: [Way; 2] = [Way::Connection, Way::Memory];

pub(crate) struct Service {
    pub(crate) client: PaymentServiceClient<Channels>,
    pub(crate) channel: Channels,
    pub(crate) runtime: Runtime,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) faults: Faults,
    issuer: Issuer,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// What a service at that place is configured with.
pub(crate) fn config_at(place: &Place) -> Config {
    let mut config = Config::default();
    config.grpc.listen = ([127, 0, 0, 1], 0).into();
    match place {
        Place::Sqlite(dir) => {
            config.database.url = amends_testing::sqlite_url(dir, "payment.db").into();
        }
        Place::Mongo { uri, database, .. } => {
            config.database.url = uri.as_str().into();
            config.database.name.clone_from(database);
        }
    }
    config.database.statement_timeout_ms = 20_000;
    config.processor.ledger_url = place.ledger_url();
    // A machine that is busy compiling is slow; `pm_timeout` needs only that this ends.
    config.processor.timeout_ms = 5_000;
    config
}

impl Service {
    pub(crate) async fn start(config: Config) -> Self {
        Self::start_by(Way::Connection, config).await
    }

    pub(crate) async fn start_by(way: Way, mut config: Config) -> Self {
        let issuer = Issuer::serve().await;
        config.auth.issuer.clone_from(&issuer.name);
        config.auth.jwks_url = format!("{}/.well-known/jwks.json", issuer.name);

        let clock = Arc::new(ManualClock::default());
        let runtime = Runtime::with(Arc::clone(&clock) as Arc<_>, Arc::new(RandomIds));
        let app = build(config, &runtime).await.unwrap();
        let at = ChannelConfig::at(format!("http://{}", app.addresses().grpc));
        let channel = match way {
            Way::Connection => channels(&ChannelConfig { connections: 1, connect_timeout_ms: 10_000, ..at }).unwrap(),
            Way::Memory => Channels::local(app.local(), &at),
        };
        let (faults, client) = (app.faults().clone(), PaymentServiceClient::new(channel.clone()));
        let running = tokio::spawn(app.run());
        Self { client, channel, runtime, clock, faults, issuer, running }
    }

    /// Every test ends with a service that stops when it is told to.
    pub(crate) async fn stop(self) {
        let Self { client, channel, runtime, running, .. } = self;
        drop((client, channel));
        runtime.shutdown.trigger();
        running.await.unwrap().unwrap();
        assert!(runtime.shutdown.drained(Duration::from_secs(5)).await);
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        self.issuer.token(self.clock.now().as_secs(), "order-service", scope, &serde_json::Value::Null)
    }

    pub(crate) fn request<M>(&self, scope: &str, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let token = format!("Bearer {}", self.token(scope)).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }

    pub(crate) async fn charge(&self, message: pb::ChargeRequest) -> Result<pb::Payment, Status> {
        let request = self.request(EVERYTHING, message);
        Ok(self.client.clone().charge(request).await?.into_inner().payment.unwrap())
    }

    pub(crate) async fn authorize(&self, message: pb::AuthorizeRequest) -> Result<pb::Payment, Status> {
        let request = self.request(EVERYTHING, message);
        Ok(self.client.clone().authorize(request).await?.into_inner().payment.unwrap())
    }

    pub(crate) async fn capture(&self, message: pb::CaptureRequest) -> Result<pb::Payment, Status> {
        let request = self.request(EVERYTHING, message);
        Ok(self.client.clone().capture(request).await?.into_inner().payment.unwrap())
    }

    pub(crate) async fn void(&self, message: pb::VoidRequest) -> Result<pb::Payment, Status> {
        let request = self.request(EVERYTHING, message);
        Ok(self.client.clone().void(request).await?.into_inner().payment.unwrap())
    }

    pub(crate) async fn refund(&self, message: pb::RefundRequest) -> Result<pb::Payment, Status> {
        let request = self.request(EVERYTHING, message);
        Ok(self.client.clone().refund(request).await?.into_inner().payment.unwrap())
    }

    pub(crate) async fn compensate(
        &self,
        key: Option<StepKey>,
    ) -> Result<(CompensationResult, Option<pb::Payment>), Status> {
        let request = self.request(EVERYTHING, pb::CompensateChargeRequest { charge_step_key: key });
        let answer = self.client.clone().compensate_charge(request).await?.into_inner();
        Ok((answer.result(), answer.payment))
    }

    pub(crate) async fn get(&self, payment_id: &str) -> Result<pb::Payment, Status> {
        let request = self.request(EVERYTHING, pb::GetPaymentRequest { payment_id: payment_id.into() });
        Ok(self.client.clone().get_payment(request).await?.into_inner().payment.unwrap())
    }

    pub(crate) async fn list(&self, message: pb::ListPaymentsRequest) -> Result<(Vec<pb::Payment>, String), Status> {
        let request = self.request(EVERYTHING, message);
        let page = self.client.clone().list_payments(request).await?.into_inner();
        Ok((page.payments, page.next_page_token))
    }
}

pub(crate) fn key(step: &str) -> StepKey {
    StepKey { saga_id: saga().to_string(), step: step.into(), fingerprint: vec![7; 32], attempt: 1 }
}

pub(crate) fn cents(amount_minor: i64) -> Money {
    Money { amount_minor, currency: "EUR".into() }
}

/// A charge of a new saga.
pub(crate) fn charging(amount_minor: i64, method: &str) -> pb::ChargeRequest {
    pb::ChargeRequest {
        step_key: Some(key("charge_payment")),
        order_id: saga().to_string(),
        customer_id: "demo".into(),
        amount: Some(cents(amount_minor)),
        payment_method: method.into(),
    }
}

/// An authorization of a new saga.
pub(crate) fn authorizing(amount_minor: i64, method: &str) -> pb::AuthorizeRequest {
    let pb::ChargeRequest { step_key, order_id, customer_id, amount, payment_method } = charging(amount_minor, method);
    pb::AuthorizeRequest { step_key, order_id, customer_id, amount, payment_method }
}

/// A capture by a step of a new saga.
pub(crate) fn capturing(payment: &pb::Payment, amount_minor: Option<i64>) -> pb::CaptureRequest {
    pb::CaptureRequest {
        step_key: Some(key("capture_payment")),
        payment_id: payment.id.clone(),
        amount: amount_minor.map(cents),
    }
}

/// A void by a step of a new saga.
pub(crate) fn voiding(payment: &pb::Payment) -> pb::VoidRequest {
    pb::VoidRequest { step_key: Some(key("void_payment")), payment_id: payment.id.clone() }
}

/// A refund by a step of a new saga.
pub(crate) fn refunding(payment: &pb::Payment, amount_minor: Option<i64>) -> pb::RefundRequest {
    pb::RefundRequest {
        step_key: Some(key("refund_payment")),
        payment_id: payment.id.clone(),
        amount: amount_minor.map(cents),
    }
}

/// The code and the reason of a refusal.
pub(crate) fn why<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason in {status:?}"));
    (status.code(), info.reason)
}

/// The fields a refusal names.
pub(crate) fn fields<T: std::fmt::Debug>(result: Result<T, Status>) -> Vec<String> {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let named = status.get_details_bad_request().unwrap();
    named.field_violations.into_iter().map(|violation| violation.field).collect()
}
