//! Outbound gRPC behind the ports. Here a status becomes an outcome, and the one question that matters is asked each time: could this
//! call have had an effect?
//!
//! Must not know: orders' rules, sagas' order of steps, SQL.

/// One call of a client's method through its link: `call!(self.once(METHOD, step, &request) by reserve_stock)`.
macro_rules! call {
    ($self:ident.$how:ident($method:literal, $bound:expr, $request:expr) by $verb:ident) => {
        $self
            .link
            .$how($method, $bound, $request, |request| {
                let mut client = $self.client.clone();
                async move { client.$verb(request).await }
            })
            .await
    };
}

mod convert;
mod fingerprint;
mod inventory;
mod outcome;
mod payments;
#[cfg(test)]
mod tests;

use std::{fmt::Display, future::Future};

use amends_auth::ServiceToken;
use amends_resilience::{Call, Deadline, Guard, GuardError};
use saga_engine::StepContext;
use service_base::{context::Inject, status::not_sent};
use service_kit::grpc::{Channels, bearer};
use tonic::{Code, Request, Status, service::interceptor::InterceptedService};

pub use inventory::GrpcInventory;
pub use payments::GrpcPayments;

/// Connections that send our request context along.
type Transport = InterceptedService<Channels, Inject>;

fn transport(channels: Channels) -> Transport {
    InterceptedService::new(channels, Inject)
}

/// One participant: how calls are guarded, and with which token they are made.
#[derive(Clone)]
struct Link {
    guard: Guard,
    token: ServiceToken,
}

impl Link {
    const fn new(guard: Guard, token: ServiceToken) -> Self {
        Self { guard, token }
    }

    /// Calls once for a step: its further attempts are the engine's to plan, journal and show. The span says which one this is.
    async fn once<M, T, F, Fut>(
        &self,
        method: &'static str,
        step: &StepContext,
        message: &M,
        call: F,
    ) -> Result<T, GuardError<Status>>
    where
        M: Clone + Send + Sync,
        F: Fn(Request<M>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        let send = |attempt: Call<M>| self.send(attempt, &call);
        let first = Call::new(method, Deadline::after(step.timeout), message.clone()).attempt(step.attempt);
        self.guard.once().send(first, send).await
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
        let send = |attempt: Call<M>| {
            let again = attempt.clone();
            let call = &call;
            async move {
                match self.send(attempt, call).await {
                    // The token is forgotten by now, and a new one may be taken for good. Once: a second refusal is an answer.
                    Err(status) if status.code() == Code::Unauthenticated => self.send(again, call).await,
                    result => result,
                }
            }
        };
        self.guard.send(Call::new(method, deadline, message.clone()), send).await
    }

    /// One attempt, with our token and the time it may take. A token that is refused is not used again.
    async fn send<M, T, F, Fut>(&self, attempt: Call<M>, call: &F) -> Result<T, Status>
    where
        M: Send,
        F: Fn(Request<M>) -> Fut + Sync,
        Fut: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        // Half of the attempt's time at the most: an issuer that hangs must not look like a participant that does.
        let patience = attempt.attempt.timeout / 2;
        let no_token = |error: &dyn Display| not_sent(Status::unavailable(format!("no service token: {error}")));
        let token = match tokio::time::timeout(patience, self.token.bearer()).await {
            Ok(token) => token.map_err(|error| no_token(&error))?,
            Err(elapsed) => return Err(no_token(&elapsed)),
        };
        let mut request = attempt.into_grpc();
        request.metadata_mut().insert("authorization", bearer(&token).map_err(not_sent)?);
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
}
