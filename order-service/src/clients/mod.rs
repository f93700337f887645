//! Outbound gRPC behind the ports. Here a status becomes an outcome, and the one question that matters is asked each time: could this
//! call have had an effect?
//!
//! Must not know: orders' rules, sagas' order of steps, SQL.

mod convert;
mod fingerprint;
mod inventory;
mod outcome;
mod payments;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use service_kit::{
    auth::ServiceToken,
    context::Inject,
    grpc::bearer,
    resilience::{Attempt, Deadline, Guard, GuardError, Resilience},
};
use tonic::{Code, Request, Status, service::interceptor::InterceptedService, transport::Channel};

pub use inventory::GrpcInventory;
pub use payments::GrpcPayments;

/// A channel that sends our request context along.
type Transport = InterceptedService<Channel, Inject>;

fn transport(channel: Channel) -> Transport {
    InterceptedService::new(channel, Inject)
}

/// One participant: how it is guarded, and as whom we come.
#[derive(Clone)]
struct Link {
    guard: Guard,
    token: ServiceToken,
    attempts: u32,
    backoff: Duration,
}

impl Link {
    fn new(guard: Guard, token: ServiceToken, config: &Resilience) -> Self {
        Self { guard, token, attempts: config.attempts, backoff: Duration::from_millis(config.backoff_ms) }
    }

    /// Calls once: a step's further attempts are the engine's to plan, journal and show.
    async fn once<M, T, F, Fut>(
        &self,
        method: &'static str,
        deadline: Deadline,
        message: &M,
        call: F,
    ) -> Result<T, GuardError<Status>>
    where
        M: Clone + Send + Sync,
        F: Fn(Request<M>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        self.guard
            .call(method, deadline, |attempt: Attempt| {
                let mut request = Request::new(message.clone());
                request.set_timeout(attempt.timeout);
                let call = &call;
                async move {
                    let unavailable = |error| Status::unavailable(format!("no service token: {error}"));
                    let token = self.token.bearer().await.map_err(unavailable)?;
                    request.metadata_mut().insert("authorization", bearer(&token)?);
                    match call(request).await {
                        Ok(response) => Ok(response.into_inner()),
                        Err(status) => {
                            if status.code() == Code::Unauthenticated {
                                self.token.forget(&token);
                            }
                            Err(status)
                        }
                    }
                }
            })
            .await
    }

    /// Reads, and reads again while that may help: reading has no effect.
    async fn read<M, T, F, Fut>(
        &self,
        method: &'static str,
        deadline: Deadline,
        message: &M,
        call: F,
    ) -> Result<T, GuardError<Status>>
    where
        M: Clone + Send + Sync,
        F: Fn(Request<M>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        let mut attempt = 1;
        loop {
            let error = match self.once(method, deadline, message, &call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let helps = match &error {
                // A forgotten token is fetched anew.
                GuardError::Failed(status) => {
                    service_kit::status::is_unknown(status) || status.code() == Code::Unauthenticated
                }
                GuardError::TimedOut => true,
                GuardError::Open { .. } | GuardError::Full | GuardError::TooLate => false,
            };
            let pause = self.backoff * attempt;
            if !helps || attempt >= self.attempts || pause >= deadline.remaining() {
                return Err(error);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }
}
