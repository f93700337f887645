//! The payment participant over gRPC.

use amends_auth::ServiceToken;
use amends_primitives::PaymentId;
use amends_protos::payments::v1::{
    ChargeRequest, CompensateChargeRequest, RefundRequest, payment_service_client::PaymentServiceClient,
};
use amends_resilience::Guard;
use async_trait::async_trait;
use saga_engine::{Outcome, StepContext, Undo};
use service_base::code::Code;
use service_kit::grpc::Channels;

use super::{Link, Transport, convert, fingerprint::step_key, outcome, transport};
use crate::ports::{Charge, Payments, Unavailable};

const NAME: &str = "payment-service";

/// Nothing was taken, and asking again would not change that.
pub(super) const CHARGE_REFUSALS: &[Code] =
    &[Code::Declined, Code::InsufficientFunds, Code::AmountLimitExceeded, Code::StepCompensated, Code::InvalidArgument];

/// The payment participant over gRPC.
pub struct GrpcPayments {
    client: PaymentServiceClient<Transport>,
    link: Link,
}

impl GrpcPayments {
    /// Behind connections and a guard, whose number of attempts is of reads.
    pub fn new(channels: Channels, guard: Guard, token: ServiceToken) -> Self {
        Self { client: PaymentServiceClient::new(transport(channels)), link: Link::new(guard, token) }
    }
}

fn charge_request(ask: &Charge<'_>, step: &StepContext) -> ChargeRequest {
    let bare = ChargeRequest {
        step_key: None,
        order_id: ask.order.to_string(),
        customer_id: ask.customer.as_str().to_owned(),
        amount: Some(convert::money(ask.amount)),
        payment_method: ask.method.as_str().to_owned(),
    };
    ChargeRequest { step_key: Some(step_key(step, &bare)), ..bare }
}

#[async_trait]
impl Payments for GrpcPayments {
    fn ready(&self) -> Result<(), Unavailable> {
        match self.link.guard.refuses_work_for() {
            None => Ok(()),
            Some(retry_after) => Err(Unavailable {
                dependency: NAME,
                message: "the circuit breaker is open".to_owned(),
                retry_after: Some(retry_after),
            }),
        }
    }

    async fn charge(&self, ask: &Charge<'_>, step: &StepContext) -> Outcome<PaymentId> {
        let request = charge_request(ask, step);
        let result = call!(self.once("amends.payments.v1.PaymentService/Charge", step, &request) by charge);
        outcome::action(result, CHARGE_REFUSALS, |answer| answer.payment?.id.parse().ok())
    }

    async fn compensate(&self, ask: &Charge<'_>, step: &StepContext) -> Undo {
        let request = CompensateChargeRequest { charge_step_key: charge_request(ask, step).step_key };
        let result =
            call!(self.once("amends.payments.v1.PaymentService/CompensateCharge", step, &request) by compensate_charge);
        outcome::undo(result)
    }

    async fn refund(&self, payment: PaymentId, step: &StepContext) -> Outcome<()> {
        let bare = RefundRequest { step_key: None, payment_id: payment.to_string(), amount: None };
        let request = RefundRequest { step_key: Some(step_key(step, &bare)), ..bare };
        let result = call!(self.once("amends.payments.v1.PaymentService/Refund", step, &request) by refund);
        // After the pivot nothing can be refused for good; the reason is kept for the operator who looks at a parked saga.
        outcome::action(result, &[], |_| Some(()))
    }
}
