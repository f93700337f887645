//! Placing an order: claim the key, price, decide, start the saga in the same commit, await its end or the deadline.

use std::sync::Arc;

use amends_primitives::{OrderId, SagaId};
use amends_resilience::Working;
use service_base::{code::Code, context};
use tokio::time::Instant;

use super::{
    Caller, Core, Failed, Invalid, WaitLimits, current_trace,
    draft::{self, Draft, FieldProblem},
    in_time, noted,
    settle::Settled,
};
use crate::{
    domain::{
        Applied, Basket, Command, Order, OrderHead, PaymentMethod, PricingProblem, Rejection, State, decide, evolve,
    },
    metrics::NotPlaced,
    ports::{Claim, Fingerprint, IdempotencyKey, SagaStart, StartOrder, Started},
    saga::place_order as saga,
};

/// An order to be placed, believed.
#[derive(Debug, Clone)]
pub struct PlaceOrder {
    basket: Basket,
    payment_method: PaymentMethod,
    key: IdempotencyKey,
}

impl PlaceOrder {
    /// Validates a draft.
    ///
    /// # Errors
    /// All fields that are wrong, at once.
    pub fn check(draft: Draft, key: IdempotencyKey) -> Result<Self, Invalid> {
        let (basket, payment_method) = draft.check()?;
        Ok(Self { basket, payment_method, key })
    }

    fn fingerprint(&self) -> Fingerprint {
        draft::fingerprint(&self.basket, &self.payment_method)
    }
}

/// The answer to placing an order.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The order: settled, or as it stands at the deadline.
    pub order: Order,
    /// Where its saga is.
    pub saga: saga_engine::Status,
    /// Whether this answers a repeat of an earlier request.
    pub replayed: bool,
}

/// Why there is no such answer.
#[derive(Debug, thiserror::Error)]
pub enum PlaceOrderError {
    /// The request can never become an order.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The key belongs to another request.
    #[error("this idempotency key was used with another request")]
    KeyReused,
    /// A service the order depends on is away, and undoing what was done is still under way.
    #[error("the order is being undone because a service is unavailable")]
    Unwinding(OrderId),
    /// Nothing is known to be wrong with the request, but it cannot be served now.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// A request that is let in.
enum Admitted {
    /// It is new, and there is room for it.
    New(Working),
    /// It was let in before.
    Again(Claim),
}

impl From<amends_sql::SqlError> for PlaceOrderError {
    fn from(error: amends_sql::SqlError) -> Self {
        Self::Failed(Failed::Store(error))
    }
}

impl Core {
    /// Places an order, once per key.
    ///
    /// # Errors
    /// Nothing is written for any error but [`PlaceOrderError::Unwinding`] and a store that failed half-way; with either the same
    /// request may be sent again under the same key.
    pub async fn place_order(
        self: &Arc<Self>,
        caller: &Caller,
        ask: PlaceOrder,
        wait_limits: WaitLimits,
    ) -> Result<Placed, PlaceOrderError> {
        let placed = self.place(caller, ask, wait_limits).await;
        // What is refused before there is an order leaves no trace in the store: in an outage it is nearly everything.
        if let Err(PlaceOrderError::Failed(failed)) = &placed {
            let is_full = matches!(failed, Failed::Overloaded);
            self.meters.not_placed(if is_full { NotPlaced::Overloaded } else { NotPlaced::Unavailable });
        }
        placed
    }

    async fn place(
        self: &Arc<Self>,
        caller: &Caller,
        ask: PlaceOrder,
        wait_limits: WaitLimits,
    ) -> Result<Placed, PlaceOrderError> {
        // Taken by repeats too: a repeat that waits for the first request's saga is one more caller that waits.
        let _permit = self.permits.try_acquire().map_err(|_| Failed::Overloaded)?;
        let fingerprint = ask.fingerprint();
        noted::key(&ask.key);
        let working = match self.admit(caller, &ask.key, wait_limits.accept_until).await? {
            Admitted::Again(claim) => return self.answer_again(&claim, &fingerprint, wait_limits).await,
            Admitted::New(working) => working,
        };
        self.payments.ready().map_err(Failed::Unavailable)?;
        self.repeats.accepted.note(&caller.customer, &ask.key);
        let (start, input) = self.prepare(caller, ask, fingerprint.clone(), wait_limits.accept_until).await?;
        let order = start.order.clone();
        let saga = order.head.saga;
        self.meters.placing(order.head.id);
        // From here on: what is committed is worked on, also when the answer to the commit is lost or its caller has left.
        let held = self.hold(saga, working);
        match self.start(start, input, wait_limits.accept_until).await {
            Err(error) => {
                held.came_to_nothing();
                Err(error)
            }
            Ok(Started::First) => {
                let placed = self.await_placed(order, false, wait_limits).await;
                match &placed {
                    Ok(placed) if placed.saga.is_active() => {}
                    Ok(_) => held.settled(),
                    // It waits until a service is back, and costs nothing meanwhile.
                    Err(_) => held.came_to_nothing(),
                }
                placed
            }
            Ok(Started::Again(claim)) => {
                held.came_to_nothing();
                self.answer_again(&claim, &fingerprint, wait_limits).await
            }
        }
    }

    /// Tells a repeat from new work, and lets new work in, in turn. A repeat needs no room: it waits for what is worked on already.
    async fn admit(&self, caller: &Caller, key: &IdempotencyKey, until: Instant) -> Result<Admitted, PlaceOrderError> {
        let claim = || in_time(until, self.store.claim(&caller.customer, key));
        let may_be_known = self.repeats.accepted.has(&caller.customer, key);
        if may_be_known && let Some(claim) = claim().await? {
            return Ok(Admitted::Again(claim));
        }
        let overloaded = match self.turn(until).await {
            Ok(working) if may_be_known => return Ok(Admitted::New(working)),
            Ok(working) => {
                return Ok(claim().await?.map_or_else(|| Admitted::New(working), Admitted::Again));
            }
            Err(overloaded) => overloaded,
        };
        let Ok(_lookup) = self.repeats.lookups.try_acquire() else { return Err(overloaded.into()) };
        match claim().await? {
            Some(claim) => Ok(Admitted::Again(claim)),
            None => Err(overloaded.into()),
        }
    }

    /// Everything that can be said without writing.
    async fn prepare(
        &self,
        caller: &Caller,
        ask: PlaceOrder,
        fingerprint: Fingerprint,
        until: Instant,
    ) -> Result<(StartOrder, saga::State), PlaceOrderError> {
        let skus: Vec<_> = ask.basket.lines().iter().map(|line| line.sku.clone()).collect();
        let catalogue = self.inventory.items(&skus, until).await.map_err(Failed::Unavailable)?;
        let (lines, total) = ask.basket.priced(&catalogue).map_err(|problem| match problem {
            PricingProblem::UnknownSkus(indices) => Invalid {
                code: Code::UnknownSku,
                fields: indices
                    .into_iter()
                    .map(|index| FieldProblem {
                        field: format!("items[{index}].sku"),
                        message: "there is no such item in the catalogue".to_owned(),
                    })
                    .collect(),
            },
            PricingProblem::Basket(problem) => draft::invalid_basket(&problem),
        })?;
        let now = self.clock.now();
        let placed = match decide(&State::New, &Command::Place { lines: lines.clone() }, now) {
            Ok(Applied::Now(event)) => event,
            Ok(Applied::Already) => return Err(bug("a new order cannot have been placed")),
            Err(Rejection::Basket(problem)) => return Err(draft::invalid_basket(&problem).into()),
            Err(rejection @ (Rejection::NothingToPay | Rejection::NotAllowed { .. })) => {
                return Err(Invalid::field(Code::InvalidRequest, "items", &rejection).into());
            }
        };
        let state = evolve(State::New, &placed).map_err(|_| bug("a decision that cannot be folded"))?;
        let (order, saga) = (OrderId::new(self.ids.next_id()), SagaId::new(self.ids.next_id()));
        let head = OrderHead {
            id: order,
            customer: caller.customer.clone(),
            lines: lines.clone(),
            total,
            payment_method: ask.payment_method.clone(),
            saga,
            trace_id: context::current_trace_id().unwrap_or_default(),
            created_at: now,
        };
        let input = saga::State {
            order,
            customer: caller.customer.clone(),
            lines,
            total,
            payment_method: ask.payment_method,
            correlation_id: context::current_correlation().map(|id| id.as_str().to_owned()),
            reservation: None,
            payment: None,
        };
        let start = StartOrder {
            order: Order { head, state, version: 1, updated_at: now },
            placed,
            key: ask.key,
            fingerprint,
            key_expires_at: now + self.settings.keys_kept_for,
        };
        Ok((start, input))
    }

    /// Writes and launches. Goes on when the caller does not, so that a saga is launched as soon as it is committed.
    async fn start(
        self: &Arc<Self>,
        start: StartOrder,
        input: saga::State,
        until: Instant,
    ) -> Result<Started, PlaceOrderError> {
        let begin = Arc::new(self.sagas.place(start.order.head.saga, input, current_trace()));
        let core = Arc::clone(self);
        let writing = self.shutdown.spawn("start-order", async move {
            let started = core.store.start(start, Arc::clone(&begin) as Arc<dyn SagaStart>).await;
            if matches!(started, Ok(Started::First)) {
                begin.launch();
            }
            started
        });
        match tokio::time::timeout_at(until, writing).await {
            Ok(Ok(started)) => Ok(started.map_err(Failed::from)?),
            Ok(Err(_)) => Err(bug("task that writes orders")),
            Err(_) => Err(amends_sql::SqlError::TimedOut.into()),
        }
    }

    async fn answer_again(
        &self,
        claim: &Claim,
        fingerprint: &Fingerprint,
        wait_limits: WaitLimits,
    ) -> Result<Placed, PlaceOrderError> {
        if claim.fingerprint != *fingerprint {
            return Err(PlaceOrderError::KeyReused);
        }
        let order = in_time(wait_limits.accept_until, self.store.order(claim.order)).await?;
        let order = order.ok_or(amends_sql::SqlError::Corrupt { what: "order of an idempotency key" })?;
        self.await_placed(order, true, wait_limits).await
    }

    async fn await_placed(
        &self,
        order: Order,
        replayed: bool,
        wait_limits: WaitLimits,
    ) -> Result<Placed, PlaceOrderError> {
        let id = order.head.id;
        noted::order(id);
        noted::replayed(replayed);
        let settled = match order.as_settled() {
            Some(order) => Settled::Yes(order),
            None => self.settle(order.head.saga, order, wait_limits).await?,
        };
        let (order, saga) = match settled {
            Settled::Yes(order) => {
                let order = order.as_settled().unwrap_or(order);
                let saga = match order.state {
                    State::Failed { .. } => saga_engine::Status::Unwound,
                    _ => saga_engine::Status::Completed,
                };
                (order, saga)
            }
            Settled::NotYet(order, saga) => (order, saga),
            Settled::Stuck => return Err(PlaceOrderError::Unwinding(id)),
        };
        tracing::info!(
            order.id = %id,
            saga.id = %order.head.saga,
            status = %order.status(),
            saga.status = %saga,
            idempotency.replayed = replayed,
            "answering"
        );
        Ok(Placed { order, saga, replayed })
    }
}

fn bug(what: &'static str) -> PlaceOrderError {
    // Shown as `internal`: a state that this program cannot be in.
    amends_sql::SqlError::Unexpected { what }.into()
}
