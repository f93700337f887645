//! A payment service that knows nothing but one message of a pact: it answers what the pact says when the request matches it, and
//! remembers what did not match.

use std::{
    net::SocketAddr,
    panic::RefUnwindSafe,
    sync::{Arc, Mutex},
};

use amends_protos::payments::v1::{
    AuthorizeRequest, AuthorizeResponse, CaptureRequest, CaptureResponse, ChargeRequest, ChargeResponse,
    CompensateChargeRequest, CompensateChargeResponse, GetPaymentRequest, GetPaymentResponse, ListPaymentsRequest,
    ListPaymentsResponse, RefundRequest, RefundResponse, VoidRequest, VoidResponse,
    payment_service_server::{PaymentService, PaymentServiceServer},
};
use pact_models::{
    bodies::OptionalBody, content_types::JSON, pact::Pact, v4::message_parts::MessageContents,
    v4::sync_message::SynchronousMessage,
};
use serde_json::Value;
use tonic::{Code, Request, Response, Status, codegen::tokio_stream::wrappers::TcpListenerStream, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

use crate::proto_json;

type AnyPact = Box<dyn Pact + Send + Sync + RefUnwindSafe>;

/// One message, as a server.
#[derive(Clone)]
pub(crate) struct Double {
    message: SynchronousMessage,
    pact: Arc<AnyPact>,
    mismatches: Arc<Mutex<Vec<String>>>,
}

impl Double {
    /// Serves `message` until the runtime ends.
    pub(crate) async fn start(message: SynchronousMessage, pact: Arc<AnyPact>) -> (SocketAddr, Self) {
        let double = Self { message, pact, mismatches: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = PaymentServiceServer::new(double.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        (address, double)
    }

    /// What the client sent that the pact does not say.
    pub(crate) fn mismatches(&self) -> Vec<String> {
        self.mismatches.lock().unwrap().clone()
    }

    async fn answer<Q: prost::Message, A: prost::Message + Default>(
        &self,
        method: &str,
        request: &Q,
    ) -> Result<Response<A>, Status> {
        let bug = |error: anyhow::Error| Status::internal(format!("{error:#}"));
        let name = |suffix: &str| format!("amends.payments.v1.{method}{suffix}");
        let sent = proto_json::encode(&name("Request"), request).map_err(bug)?;
        let actual = SynchronousMessage {
            request: MessageContents { contents: body(&sent), ..MessageContents::default() },
            ..SynchronousMessage::default()
        };
        let found = pact_matching::match_sync_message_request(&self.message, &actual, &self.pact).await;
        if !found.is_empty() {
            self.mismatches.lock().unwrap().extend(found.iter().map(|mismatch| format!("{mismatch:?}; sent {sent}")));
        }
        let contents = &self.message.response.first().expect("the pact has an answer").contents;
        let answer: Value =
            serde_json::from_slice(&contents.value().unwrap_or_default()).map_err(|error| bug(error.into()))?;
        match answer.get("error") {
            Some(error) => Err(refusal(error)),
            None => proto_json::decode(&name("Response"), &answer).map(Response::new).map_err(bug),
        }
    }
}

fn body(json: &Value) -> OptionalBody {
    OptionalBody::Present(json.to_string().into(), Some(JSON.clone()), None)
}

fn refusal(error: &Value) -> Status {
    let text = |field: &str| error[field].as_str().unwrap_or_default();
    let code = match text("code") {
        "FailedPrecondition" => Code::FailedPrecondition,
        "NotFound" => Code::NotFound,
        other => panic!("the pact has a code this double does not know: {other}"),
    };
    let details = ErrorDetails::with_error_info(text("reason"), text("domain"), [] as [(String, String); 0]);
    Status::with_error_details(code, "as the pact says", details)
}

#[tonic::async_trait]
impl PaymentService for Double {
    async fn charge(&self, request: Request<ChargeRequest>) -> Result<Response<ChargeResponse>, Status> {
        self.answer("Charge", request.get_ref()).await
    }

    async fn authorize(&self, _: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        Err(Status::unimplemented("not in the pact"))
    }

    async fn capture(&self, _: Request<CaptureRequest>) -> Result<Response<CaptureResponse>, Status> {
        Err(Status::unimplemented("not in the pact"))
    }

    async fn void(&self, _: Request<VoidRequest>) -> Result<Response<VoidResponse>, Status> {
        Err(Status::unimplemented("not in the pact"))
    }

    async fn compensate_charge(
        &self,
        request: Request<CompensateChargeRequest>,
    ) -> Result<Response<CompensateChargeResponse>, Status> {
        self.answer("CompensateCharge", request.get_ref()).await
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Result<Response<RefundResponse>, Status> {
        self.answer("Refund", request.get_ref()).await
    }

    async fn get_payment(&self, _: Request<GetPaymentRequest>) -> Result<Response<GetPaymentResponse>, Status> {
        Err(Status::unimplemented("not in the pact"))
    }

    async fn list_payments(&self, _: Request<ListPaymentsRequest>) -> Result<Response<ListPaymentsResponse>, Status> {
        Err(Status::unimplemented("not in the pact"))
    }
}
