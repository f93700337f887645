//! The bulkhead around a service.

use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{self, Context, Poll},
};

use futures::future::{BoxFuture, Either};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{
    super::meters::{self, Edge, Refused},
    Bulkhead, Slot,
};
use crate::{BulkheadConfig, Call, Stopped};
use service_base::metrics::Metrics;

/// Bounds the calls in flight and the calls waiting, each until its deadline; refuses the next with [`Stopped::Full`].
///
/// A waiting call that is given up leaves the queue. A call gives its place back once its future is gone, and not before, so that a call
/// that hangs and is cut off still counts while it lasts. Clones, and the services made by them, share one set of permits.
#[derive(Clone)]
pub struct BulkheadLayer {
    permits: Arc<Bulkhead>,
    refused: Refused,
}

impl BulkheadLayer {
    /// An empty one.
    pub fn new(edge: Edge, config: &BulkheadConfig, metrics: &Metrics) -> Self {
        let in_flight = meters::in_flight(edge, metrics);
        Self { permits: Arc::new(Bulkhead::new(config, in_flight)), refused: Refused::new(edge, metrics) }
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> i64 {
        self.permits.in_flight.get()
    }

    /// Calls that wait for a permit.
    pub fn queued(&self) -> u32 {
        self.permits.queued.load(Ordering::Acquire)
    }
}

impl fmt::Debug for BulkheadLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadLayer")
            .field("in_flight", &self.in_flight())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = BulkheadService<S>;

    fn layer(&self, inner: S) -> BulkheadService<S> {
        BulkheadService { inner, layer: self.clone() }
    }
}

/// See [`BulkheadLayer`].
#[derive(Debug, Clone)]
pub struct BulkheadService<S> {
    inner: S,
    layer: BulkheadLayer,
}

impl<S, M> Service<Call<M>> for BulkheadService<S>
where
    S: Service<Call<M>> + Clone,
    S::Error: From<Stopped>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, BulkheadFuture<S, M>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // No permit is taken here: how long a call may wait for one is written on the call, and there is no call yet.
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: Call<M>) -> Self::Future {
        let permits = &self.layer.permits;
        let state = if let Some(slot) = permits.try_enter() {
            State::Running { inner: self.inner.call(call), slot }
        } else if let Some(queued) = permits.queue() {
            // The one that is ready goes along and waits; a clone of it must be asked anew.
            let clone = self.inner.clone();
            let ready = std::mem::replace(&mut self.inner, clone);
            State::Queued { turn: Box::pin(queued.turn(call.deadline)), next: Some((ready, call)) }
        } else {
            self.layer.refused.count("bulkhead_full");
            return Either::Left(self::ready(Err(Stopped::Full.into())));
        };
        Either::Right(BulkheadFuture { state, refused: self.layer.refused.clone() })
    }
}

pin_project! {
    /// A call that has a place, or waits for one.
    pub struct BulkheadFuture<S, M>
    where
        S: Service<Call<M>>,
    {
        #[pin]
        state: State<S, S::Future, M>,
        refused: Refused,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F, M> {
        Queued { turn: BoxFuture<'static, Result<Slot, Stopped>>, next: Option<(S, Call<M>)> },
        // In this order: the call is gone before its permit is free.
        Running { #[pin] inner: F, slot: Slot },
        Done,
    }
}

impl<S, M> Future for BulkheadFuture<S, M>
where
    S: Service<Call<M>>,
    S::Error: From<Stopped>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Queued { turn, next } => {
                    let turn = task::ready!(turn.as_mut().poll(context));
                    let next = next.take();
                    match (turn, next) {
                        (Ok(slot), Some((mut service, call))) => {
                            let inner = service.call(call);
                            this.state.set(State::Running { inner, slot });
                        }
                        (Err(stopped), _) => {
                            this.refused.count(if stopped == Stopped::TooLate { "deadline" } else { "bulkhead_full" });
                            this.state.set(State::Done);
                            return Poll::Ready(Err(stopped.into()));
                        }
                        (Ok(_), None) => this.state.set(State::Done),
                    }
                }
                StateProjection::Running { inner, .. } => {
                    let result = task::ready!(inner.poll(context));
                    this.state.set(State::Done);
                    return Poll::Ready(result);
                }
                // Polled after it was ready, which callers must not do.
                StateProjection::Done => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests;
