//! Reads the three stores. Nothing here judges: it only turns what a store says into the law's own words.

use std::{sync::Arc, time::Duration};

use amends_primitives::{Clock, Money, OrderId, PaymentId, ReservationId, SystemClock, Timestamp};
use amends_sql::Database;
use anyhow::Context;
use inventory_service::{domain::State as ReservationState, store::Store as InventoryStore};
use order_service::{AuditView, audit_page, domain::Status, known_orders};
use payment_service::{
    domain::{Payment, State as PaymentState},
    store::{ListQuery, PAGE_SIZE_MAX, PaymentStore},
};

use super::law::{OrderFacts, PaymentFacts, ReservationFacts, Standing};

/// Rows of one read; each read is bounded in time and memory.
const PAGE: u16 = 100;

/// A saga that gets nowhere parks after twenty minutes or so at the most; one that did neither is run by nobody.
const STUCK_AFTER: Duration = Duration::from_mins(30);

/// The stores whose books must agree.
#[derive(Clone)]
pub struct Books {
    /// Orders and their sagas.
    pub orders: Database,
    /// Payments.
    pub payments: Arc<dyn PaymentStore>,
    /// Stock and reservations.
    pub inventory: InventoryStore,
}

/// An order as read, with what tells whether it has changed since.
pub struct ReadOrder {
    /// For the law.
    pub facts: OrderFacts,
    /// Its status and the time of its last change.
    pub version: (Status, Timestamp),
}

impl Books {
    /// A page of orders by id.
    pub async fn orders_after(&self, after: Option<OrderId>) -> anyhow::Result<Vec<ReadOrder>> {
        let rows = audit_page(&self.orders, after, PAGE).await.context("the order store")?;
        Ok(rows.iter().map(read_order).collect())
    }

    /// One order, if it exists.
    pub async fn order(&self, id: OrderId) -> anyhow::Result<Option<ReadOrder>> {
        // The page of one that begins right behind the id before this one.
        let before = id.as_uuid().as_u128().checked_sub(1).map(|before| OrderId::new(uuid::Uuid::from_u128(before)));
        let rows = audit_page(&self.orders, before, 1).await.context("the order store")?;
        Ok(rows.first().filter(|row| row.id == id).map(read_order))
    }

    /// Which of these orders there are.
    pub async fn known_orders(&self, ids: &[OrderId]) -> anyhow::Result<Vec<OrderId>> {
        known_orders(&self.orders, ids).await.context("the order store")
    }

    /// All payments of an order.
    pub async fn payments_of(&self, order: OrderId) -> anyhow::Result<Vec<PaymentFacts>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let query = ListQuery { after, limit: PAGE_SIZE_MAX, order_id: Some(order), ..ListQuery::default() };
            let page = self.payments.list(&query).await.context("the payment store")?;
            after = page.payments.last().map(|payment| payment.id);
            all.extend(page.payments.iter().map(payment_facts));
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// All reservations of an order.
    pub async fn reservations_of(&self, order: OrderId) -> anyhow::Result<Vec<ReservationFacts>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page =
                self.inventory.reservations(Some(order), after, PAGE.into()).await.context("the inventory store")?;
            all.extend(page.reservations.iter().map(reservation_facts));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// A page of payments of all orders: whose they are, and where the next page begins.
    pub async fn payments_after(
        &self,
        after: Option<PaymentId>,
    ) -> anyhow::Result<(Vec<(OrderId, PaymentFacts)>, Option<PaymentId>)> {
        let query = ListQuery { after, limit: PAGE_SIZE_MAX, ..ListQuery::default() };
        let page = self.payments.list(&query).await.context("the payment store")?;
        let next = page.payments.last().filter(|_| page.more).map(|payment| payment.id);
        Ok((page.payments.iter().map(|payment| (payment.charge.order_id, payment_facts(payment))).collect(), next))
    }

    /// A page of reservations of all orders: whose they are, and where the next page begins.
    pub async fn reservations_after(
        &self,
        after: Option<ReservationId>,
    ) -> anyhow::Result<(Vec<(OrderId, ReservationFacts)>, Option<ReservationId>)> {
        let page = self.inventory.reservations(None, after, PAGE.into()).await.context("the inventory store")?;
        let facts = page.reservations.iter().map(|reservation| (reservation.order, reservation_facts(reservation)));
        Ok((facts.collect(), page.next))
    }
}

fn read_order(order: &AuditView) -> ReadOrder {
    let standing = match order.status {
        Status::Pending | Status::Cancelling => Standing::InFlight,
        Status::Confirmed | Status::Shipped => Standing::Confirmed,
        Status::Failed | Status::Cancelled => Standing::Undone,
    };
    let parked = order.latest_saga_status == Some(saga_engine::Status::Parked);
    let idle = SystemClock.now().since(order.updated_at);
    let stuck_for = (standing == Standing::InFlight && idle > STUCK_AFTER).then_some(idle.as_secs() / 60);
    let facts = OrderFacts { id: order.id, standing, total: order.total, parked, stuck_for };
    ReadOrder { facts, version: (order.status, order.updated_at) }
}

fn payment_facts(payment: &Payment) -> PaymentFacts {
    let nothing = Money::zero(payment.charge.amount.currency());
    let (captured, refunded, pending) = match &payment.state {
        // Held money is nobody's yet: like one in doubt, such a payment has not ended.
        PaymentState::Pending | PaymentState::Authorized(_) => (nothing, nothing, true),
        PaymentState::Declined { .. } | PaymentState::Voided { .. } => (nothing, nothing, false),
        PaymentState::Captured(capture)
        | PaymentState::PartiallyRefunded(capture)
        | PaymentState::Refunded(capture) => (capture.amount, capture.refunded(), false),
    };
    PaymentFacts { id: payment.id.to_string(), captured, refunded, pending }
}

fn reservation_facts(reservation: &inventory_service::domain::Reservation) -> ReservationFacts {
    ReservationFacts {
        id: reservation.id.to_string(),
        held: reservation.state == ReservationState::Held,
        committed: reservation.state == ReservationState::Committed,
    }
}
