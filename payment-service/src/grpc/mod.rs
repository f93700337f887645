//! The gRPC surface: `amends.payments.v1.PaymentService`. Authorises, injects the configured faults, and hands each call to the file
//! of its verb. Must not know MongoDB, SQL or the processor.

mod authorize;
mod capture;
mod charge;
mod compensate_charge;
mod fields;
mod get_payment;
mod list_payments;
mod message;
mod refund;
mod status;
mod void;

use std::{future::Future, sync::Arc, time::Duration};

use amends_auth::claims_of;
use amends_protos::{
    common::v1::StepKey,
    payments::v1::{self as pb, payment_service_server::PaymentService},
};
use futures::FutureExt as _;
use service_base::{context::RequestContext, problem::Domain};
use service_kit::{
    faults::{Exit, Faults, lost_rpc},
    grpc::story::told,
    shutdown::Shutdown,
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use tracing::{Instrument as _, Span, field::Empty};

use crate::app::{Error, Payments};

/// Whose refusals they are.
const DOMAIN: Domain = Domain::Payments;
/// What it takes to read.
const READ: &str = "payments:read";
/// What it takes to move money.
const WRITE: &str = "payments:write";
/// Work on behalf of a caller that may be gone. Each effect in it has a bound of its own; this is for all of them together.
const WORK_MAX: Duration = Duration::from_secs(20);

/// The service's methods.
#[derive(Clone)]
pub struct Api {
    payments: Payments,
    faults: Faults,
    in_flight: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Api {
    /// Over the use cases. As many calls may change something at once as `in_flight` has permits.
    pub const fn new(payments: Payments, faults: Faults, in_flight: Arc<Semaphore>, shutdown: Shutdown) -> Self {
        Self { payments, faults, in_flight, shutdown }
    }

    /// Asks for the scope, and lets the configured faults come first.
    async fn enter<M>(&self, request: Request<M>, scope: &'static str) -> Result<(M, Exit), Status> {
        claims_of(&request)?.require(scope)?;
        let exit = self.faults.enter_rpc(request.extensions(), DOMAIN).await?;
        Ok((request.into_inner(), exit))
    }

    /// Does `work` to its end, also when the caller hangs up half-way: it is safe to stop anywhere, but each stop needlessly
    /// leaves a payment in doubt. Shutdown waits for it.
    async fn run_detached<T>(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Status>
    where
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| status::overloaded())?;
        let work = async move {
            let done = tokio::time::timeout(WORK_MAX, work).await;
            drop(permit);
            done
        };
        // It is moved several times from here to where it runs, and large.
        let work = work.instrument(Span::current()).boxed();
        // A spawned task starts without the request's context.
        let done = match RequestContext::current() {
            Some(context) => self.shutdown.spawn("payment", context.scope(work)),
            None => self.shutdown.spawn("payment", work),
        };
        match done.await {
            Ok(Ok(done)) => done.map_err(|error| status::of(&error)),
            Ok(Err(_elapsed)) => Err(status::out_of_time()),
            Err(panicked) => Err(status::panicked(&panicked)),
        }
    }
}

/// The span of the step that a method's key names, if it has one.
macro_rules! span {
    ($verb:ident, $message:ident) => {
        None
    };
    ($verb:ident, $message:ident, $key:ident) => {
        Some(step_span(stringify!($verb), $message.$key.as_ref()))
    };
}

/// Implements each method as: authorise, run the verb in a span of the step that its key names, if it has one, tell it for the order's
/// story, and answer.
macro_rules! methods {
    ($($verb:ident($request:ident $(by $key:ident)?) -> $response:ident, $scope:ident;)+) => {
        #[tonic::async_trait]
        impl PaymentService for Api {
            $(async fn $verb(&self, request: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                let (message, exit) = self.enter(request, $scope).await?;
                let step: Option<Span> = span!($verb, message $(, $key)?);
                let span = step.clone().unwrap_or_else(Span::current);
                let answer = $verb::answer(self, message).instrument(span).await;
                if let Some(step) = step {
                    told(&step, stringify!($verb), answer.as_ref().err());
                }
                exit.leave(answer.map(Response::new), || lost_rpc(DOMAIN))
            })+
        }
    };
}

methods! {
    charge(ChargeRequest by step_key) -> ChargeResponse, WRITE;
    authorize(AuthorizeRequest by step_key) -> AuthorizeResponse, WRITE;
    capture(CaptureRequest by step_key) -> CaptureResponse, WRITE;
    void(VoidRequest by step_key) -> VoidResponse, WRITE;
    compensate_charge(CompensateChargeRequest by charge_step_key) -> CompensateChargeResponse, WRITE;
    refund(RefundRequest by step_key) -> RefundResponse, WRITE;
    get_payment(GetPaymentRequest) -> GetPaymentResponse, READ;
    list_payments(ListPaymentsRequest) -> ListPaymentsResponse, READ;
}

/// A span that names the step a saga asks for.
fn step_span(verb: &'static str, key: Option<&StepKey>) -> Span {
    let span = tracing::info_span!(
        "step",
        otel.name = verb,
        saga.id = Empty,
        saga.step = Empty,
        retry.attempt = Empty,
        order.id = Empty,
        payment.id = Empty,
        payment.state = Empty,
    );
    if let Some(key) = key {
        // What is not a key is refused later on, but must not fill a log before that.
        let short = |text: &str| text.chars().take(64).collect::<String>();
        span.record("saga.id", short(&key.saga_id))
            .record("saga.step", short(&key.step))
            .record("retry.attempt", i64::from(key.attempt));
    }
    span
}

/// Notes in the current span which payment it was about, and what became of it.
fn note(payment: &crate::domain::Payment) {
    Span::current()
        .record("order.id", payment.charge.order_id.to_string())
        .record("payment.id", payment.id.to_string())
        .record("payment.state", payment.status().name());
}
