//! Participants in memory. They keep the barrier's promises (one effect per step key, tombstones), keep books that a test can balance,
//! and misbehave on cue.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use amends_primitives::{Currency, IdSource, Money, OrderId, PaymentId, ReservationId, SeededIds};
use async_trait::async_trait;
use parking_lot::Mutex;
use saga_engine::{Cause, Closed, Outcome, Refusal, StepContext, Undo};
use tokio::{sync::watch, time::Instant};

use crate::{
    domain::{CatalogueItem, Line, Order, Sku, State},
    ports::{Catalogue, Charge, Inventory, ItemsPage, ListItemsError, Payments, Reserve, Unavailable},
};

/// How a call misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Fails before it has an effect.
    Down,
    /// Is stopped before it is sent, as by an open breaker; what is no action fails like one that is down.
    NotSent,
    /// Has its effect, and the answer is lost.
    AnswerLost,
    /// Waits, before it has an effect, until the fault is lifted.
    Hangs,
    /// Is refused with this code.
    Refused(&'static str),
}

/// What is on record for a step key.
#[derive(Debug, Clone)]
enum Record<T> {
    Done { ask: String, answer: T },
    Refused { ask: String, refusal: Refusal },
    Tombstone,
}

#[derive(Debug, Clone)]
pub(crate) struct Article {
    pub(crate) price: Money,
    pub(crate) on_hand: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Held,
    Released,
    Committed,
    Restocked,
}

#[derive(Debug, Clone)]
pub(crate) struct Reservation {
    pub(crate) order: OrderId,
    pub(crate) lines: Vec<(Sku, i64)>,
    pub(crate) hold: Hold,
}

#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) order: OrderId,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
}

#[derive(Default)]
struct Ledger {
    articles: BTreeMap<Sku, Article>,
    reservations: BTreeMap<ReservationId, Reservation>,
    payments: BTreeMap<PaymentId, Payment>,
    reserve_keys: HashMap<String, Record<ReservationId>>,
    charge_keys: HashMap<String, Record<PaymentId>>,
    /// Commits, refunds and restocks: their effect is on something that has an id.
    other_keys: HashMap<String, Record<()>>,
    calls: HashMap<&'static str, u32>,
}

/// Both participants.
pub(crate) struct Books {
    ledger: Mutex<Ledger>,
    /// Faults by call: `charge`, `compensate`, …; a call not named is well.
    faults: watch::Sender<HashMap<&'static str, Fault>>,
    ids: SeededIds,
    /// Whether payments say that they can be asked at all.
    ready: Mutex<bool>,
}

impl Books {
    /// A small catalogue: `beans` for 18.50 EUR, `cup` for 4.00 EUR, `tea` for 5.00 USD, `crown` for 2000.00 EUR.
    pub(crate) fn new() -> Arc<Self> {
        let mut articles = BTreeMap::new();
        for (sku, amount, currency, on_hand) in [
            ("beans", 1850, Currency::EUR, 100),
            ("cup", 400, Currency::EUR, 3),
            ("tea", 500, Currency::USD, 10),
            ("crown", 200_000, Currency::EUR, 5),
        ] {
            articles.insert(Sku::try_new(sku).unwrap(), Article { price: Money::new(amount, currency), on_hand });
        }
        Arc::new(Self {
            ledger: Mutex::new(Ledger { articles, ..Ledger::default() }),
            faults: watch::Sender::new(HashMap::new()),
            ids: SeededIds::new(0xb00c),
            ready: Mutex::new(true),
        })
    }

    /// From now on, the call misbehaves.
    pub(crate) fn fault(&self, call: &'static str, fault: Fault) {
        self.faults.send_modify(|faults| {
            faults.insert(call, fault);
        });
    }

    /// From now on, every call is well; those that hang go on.
    pub(crate) fn repair(&self) {
        self.faults.send_modify(HashMap::clear);
        *self.ready.lock() = true;
    }

    /// From now on, payments say that they cannot be asked.
    pub(crate) fn not_ready(&self) {
        *self.ready.lock() = false;
    }

    /// How often a call came in.
    pub(crate) fn calls(&self, call: &'static str) -> u32 {
        self.ledger.lock().calls.get(call).copied().unwrap_or(0)
    }

    /// Waits until a call has come in so often.
    pub(crate) async fn called(&self, call: &'static str, times: u32) {
        let mut changes = self.faults.subscribe();
        while self.calls(call) < times {
            // Every call touches the channel.
            changes.changed().await.unwrap();
        }
    }

    /// The stock that can be reserved.
    pub(crate) fn available(&self, sku: &str) -> i64 {
        let ledger = self.ledger.lock();
        ledger.available(&Sku::try_new(sku).unwrap())
    }

    /// The net captured money of an order.
    pub(crate) fn net(&self, order: OrderId) -> i64 {
        let ledger = self.ledger.lock();
        ledger.payments.values().filter(|payment| payment.order == order).map(|p| p.captured - p.refunded).sum()
    }

    /// How many payments there ever were.
    pub(crate) fn payments(&self) -> usize {
        self.ledger.lock().payments.len()
    }

    /// The money law, for settled orders.
    #[track_caller]
    pub(crate) fn assert_balance(&self, orders: &[Order]) {
        let ledger = self.ledger.lock();
        for payment in ledger.payments.values() {
            assert!(payment.refunded <= payment.captured, "more was given back than was taken: {payment:?}");
            assert!(
                orders.iter().any(|order| order.head.id == payment.order),
                "a payment without an order: {payment:?}"
            );
        }
        for reservation in ledger.reservations.values() {
            assert!(
                orders.iter().any(|order| order.head.id == reservation.order),
                "goods without an order: {reservation:?}"
            );
        }
        for order in orders {
            let id = order.head.id;
            let net: Vec<i64> = ledger
                .payments
                .values()
                .filter(|payment| payment.order == id)
                .map(|payment| payment.captured - payment.refunded)
                .filter(|net| *net != 0)
                .collect();
            let holds: Vec<Hold> = ledger
                .reservations
                .values()
                .filter(|reservation| reservation.order == id)
                .map(|reservation| reservation.hold)
                .filter(|hold| matches!(hold, Hold::Held | Hold::Committed))
                .collect();
            match order.state {
                State::Confirmed { .. } | State::Shipped { .. } => {
                    assert_eq!(net, [order.head.total.amount_minor()], "a confirmed order is paid for once: {order:?}");
                    assert_eq!(holds, [Hold::Committed], "a confirmed order's goods are sold once: {order:?}");
                }
                State::Failed { .. } | State::Cancelled { .. } => {
                    assert_eq!(
                        (net, holds),
                        (vec![], vec![]),
                        "nothing is left of an order that is no more: {order:?}"
                    );
                }
                State::New | State::Pending | State::Cancelling { .. } => panic!("not settled: {order:?}"),
            }
        }
    }

    /// Lets the call misbehave, if it is to. `Ok(true)`: have the effect and lose the answer.
    async fn enter(&self, call: &'static str) -> Result<bool, Result<Cause, Refusal>> {
        *self.ledger.lock().calls.entry(call).or_default() += 1;
        self.faults.send_modify(|_| {});
        let mut faults = self.faults.subscribe();
        loop {
            let fault = faults.borrow_and_update().get(call).copied();
            match fault {
                None => return Ok(false),
                Some(Fault::AnswerLost) => return Ok(true),
                Some(Fault::Down | Fault::NotSent) => {
                    return Err(Ok(Cause::environment("unavailable", "down for a test")));
                }
                Some(Fault::Refused(code)) => return Err(Err(Refusal::new(code, "refused for a test"))),
                Some(Fault::Hangs) => faults.changed().await.unwrap(),
            }
        }
    }

    async fn act<T: Clone>(
        &self,
        call: &'static str,
        effect: impl FnOnce(&mut Ledger) -> Result<T, Refusal>,
    ) -> Outcome<T> {
        match self.enter(call).await {
            Err(Ok(cause)) if self.faults.borrow().get(call) == Some(&Fault::NotSent) => Outcome::NotSent(cause),
            Err(Ok(cause)) => Outcome::Unknown(cause),
            Err(Err(refusal)) => Outcome::Refused(refusal),
            Ok(lost) => {
                let outcome = effect(&mut self.ledger.lock());
                match outcome {
                    _ if lost => Outcome::unknown("timeout", "the answer was lost for a test"),
                    Ok(answer) => Outcome::Done(answer),
                    Err(refusal) => Outcome::Refused(refusal),
                }
            }
        }
    }

    async fn undo(&self, call: &'static str, effect: impl FnOnce(&mut Ledger)) -> Undo {
        match self.enter(call).await {
            Err(Ok(cause)) => Undo::NotYet(cause),
            Err(Err(refusal)) => Undo::NotYet(Cause::permanent(refusal.code, refusal.message)),
            Ok(lost) => {
                effect(&mut self.ledger.lock());
                if lost {
                    Undo::NotYet(Cause::environment("timeout", "the answer was lost for a test"))
                } else {
                    Undo::Undone
                }
            }
        }
    }
}

/// One effect per key: performs, repeats, or refuses.
fn once<T: Clone>(
    existing: Option<&Record<T>>,
    ask: &str,
    perform: impl FnOnce() -> Result<T, Refusal>,
) -> (Result<T, Refusal>, Option<Record<T>>) {
    match existing {
        Some(Record::Done { ask: first, answer }) if first == ask => (Ok(answer.clone()), None),
        Some(Record::Refused { ask: first, refusal }) if first == ask => (Err(refusal.clone()), None),
        Some(Record::Done { .. } | Record::Refused { .. }) => panic!("a step key was used for another request: {ask}"),
        Some(Record::Tombstone) => (Err(Refusal::new("step_compensated", "it was compensated before")), None),
        None => {
            let result = perform();
            let record = match &result {
                Ok(answer) => Record::Done { ask: ask.to_owned(), answer: answer.clone() },
                Err(refusal) => Record::Refused { ask: ask.to_owned(), refusal: refusal.clone() },
            };
            (result, Some(record))
        }
    }
}

impl Ledger {
    fn available(&self, sku: &Sku) -> i64 {
        let held: i64 = self
            .reservations
            .values()
            .filter(|reservation| reservation.hold == Hold::Held)
            .flat_map(|reservation| &reservation.lines)
            .filter(|(held, _)| held == sku)
            .map(|(_, quantity)| quantity)
            .sum();
        self.articles.get(sku).map_or(0, |article| article.on_hand) - held
    }

    fn item(&self, sku: &Sku) -> Option<CatalogueItem> {
        let article = self.articles.get(sku)?;
        let available = self.available(sku);
        Some(CatalogueItem {
            sku: sku.clone(),
            name: format!("the {sku}"),
            unit_price: article.price,
            available,
            reserved: article.on_hand - available,
        })
    }

    fn reserve(&mut self, order: OrderId, lines: &[Line], id: ReservationId) -> Result<ReservationId, Refusal> {
        for line in lines {
            let Some(article) = self.articles.get(&line.sku) else {
                return Err(Refusal::new("unknown_sku", format!("there is no {}", line.sku)));
            };
            if article.price != line.unit_price {
                return Err(Refusal::new("price_mismatch", format!("{} costs {}", line.sku, article.price)));
            }
            let left = self.available(&line.sku);
            if left < i64::from(line.quantity) {
                return Err(Refusal::new("insufficient_stock", format!("only {left} of {} are left", line.sku)));
            }
        }
        let lines = lines.iter().map(|line| (line.sku.clone(), i64::from(line.quantity))).collect();
        self.reservations.insert(id, Reservation { order, lines, hold: Hold::Held });
        Ok(id)
    }

    fn move_goods(&mut self, id: ReservationId, from: Hold, to: Hold, sign: i64) -> Result<(), Refusal> {
        let reservation =
            self.reservations.get_mut(&id).ok_or_else(|| Refusal::new("not_found", "no such reservation"))?;
        if reservation.hold != from {
            return Err(Refusal::new("reservation_released", format!("it is {:?}", reservation.hold)));
        }
        reservation.hold = to;
        for (sku, quantity) in reservation.lines.clone() {
            self.articles.get_mut(&sku).unwrap().on_hand += sign * quantity;
        }
        Ok(())
    }
}

#[async_trait]
impl Inventory for Books {
    async fn items(&self, skus: &[Sku], _until: Instant) -> Result<Catalogue, Unavailable> {
        self.enter("items").await.map_err(|_| away("inventory"))?;
        let ledger = self.ledger.lock();
        Ok(skus.iter().filter_map(|sku| Some((sku.clone(), ledger.item(sku)?))).collect())
    }

    async fn item(&self, sku: &Sku, _until: Instant) -> Result<Option<CatalogueItem>, Unavailable> {
        self.enter("item").await.map_err(|_| away("inventory"))?;
        Ok(self.ledger.lock().item(sku))
    }

    async fn list_items(&self, limit: u16, cursor: Option<&str>, _until: Instant) -> Result<ItemsPage, ListItemsError> {
        self.enter("list_items").await.map_err(|_| away("inventory"))?;
        if cursor == Some("bad") {
            return Err(ListItemsError::BadCursor);
        }
        let ledger = self.ledger.lock();
        let mut rest = ledger.articles.keys().filter(|sku| cursor.is_none_or(|cursor| sku.as_str() > cursor));
        let items: Vec<CatalogueItem> =
            rest.by_ref().take(usize::from(limit)).filter_map(|sku| ledger.item(sku)).collect();
        let next = rest.next().and(items.last()).map(|item| item.sku.as_str().to_owned());
        Ok(ItemsPage { items, next })
    }

    async fn reserve(&self, ask: &Reserve<'_>, step: &StepContext) -> Outcome<ReservationId> {
        let id = ReservationId::new(self.ids.next_id());
        self.act("reserve", |ledger| {
            let key = step.key.to_string();
            let existing = ledger.reserve_keys.get(&key).cloned();
            let (result, record) =
                once(existing.as_ref(), &format!("{ask:?}"), || ledger.reserve(ask.order, ask.lines, id));
            ledger.reserve_keys.extend(record.map(|record| (key, record)));
            result
        })
        .await
    }

    async fn release(&self, _ask: &Reserve<'_>, step: &StepContext) -> Undo {
        self.undo("release", |ledger| {
            let before = ledger.reserve_keys.insert(step.key.to_string(), Record::Tombstone);
            if let Some(Record::Done { answer, .. }) = before {
                ledger.move_goods(answer, Hold::Held, Hold::Released, 0).unwrap();
            }
        })
        .await
    }

    async fn commit(&self, reservation: ReservationId, step: &StepContext) -> Outcome<()> {
        self.act("commit", |ledger| {
            let key = step.key.to_string();
            let existing = ledger.other_keys.get(&key).cloned();
            let (result, record) = once(existing.as_ref(), &format!("{reservation}"), || {
                ledger.move_goods(reservation, Hold::Held, Hold::Committed, -1)
            });
            ledger.other_keys.extend(record.map(|record| (key, record)));
            result
        })
        .await
    }

    async fn close_commit(&self, _reservation: Option<ReservationId>, step: &StepContext) -> Closed<()> {
        let done = Mutex::new(false);
        let undone = self.undo("close", |ledger| {
            let key = step.key.to_string();
            match ledger.other_keys.get(&key) {
                Some(Record::Done { .. }) => *done.lock() = true,
                Some(Record::Refused { .. } | Record::Tombstone) | None => {
                    ledger.other_keys.insert(key, Record::Tombstone);
                }
            }
        });
        match undone.await {
            Undo::NotYet(cause) => Closed::NotYet(cause),
            Undo::Undone if *done.lock() => Closed::WasDone(()),
            Undo::Undone => Closed::Closed,
        }
    }

    async fn restock(&self, reservation: ReservationId, step: &StepContext) -> Outcome<()> {
        self.act("restock", |ledger| {
            let key = step.key.to_string();
            let existing = ledger.other_keys.get(&key).cloned();
            let (result, record) = once(existing.as_ref(), &format!("{reservation}"), || {
                ledger.move_goods(reservation, Hold::Committed, Hold::Restocked, 1)
            });
            ledger.other_keys.extend(record.map(|record| (key, record)));
            result
        })
        .await
    }
}

#[async_trait]
impl Payments for Books {
    fn ready(&self) -> Result<(), Unavailable> {
        if *self.ready.lock() { Ok(()) } else { Err(away("payments")) }
    }

    async fn charge(&self, ask: &Charge<'_>, step: &StepContext) -> Outcome<PaymentId> {
        let id = PaymentId::new(self.ids.next_id());
        let refusal = match ask.method.as_str() {
            "pm_declined" => Some("declined"),
            "pm_insufficient_funds" => Some("insufficient_funds"),
            _ if ask.amount.amount_minor() >= 100_000 => Some("amount_limit_exceeded"),
            _ => None,
        };
        self.act("charge", |ledger| {
            let key = step.key.to_string();
            let existing = ledger.charge_keys.get(&key).cloned();
            let (result, record) = once(existing.as_ref(), &format!("{ask:?}"), || {
                if let Some(code) = refusal {
                    return Err(Refusal::new(code, "no"));
                }
                let payment = Payment { order: ask.order, captured: ask.amount.amount_minor(), refunded: 0 };
                ledger.payments.insert(id, payment);
                Ok(id)
            });
            ledger.charge_keys.extend(record.map(|record| (key, record)));
            result
        })
        .await
    }

    async fn compensate(&self, _ask: &Charge<'_>, step: &StepContext) -> Undo {
        self.undo("compensate", |ledger| {
            let before = ledger.charge_keys.insert(step.key.to_string(), Record::Tombstone);
            if let Some(Record::Done { answer, .. }) = before {
                let payment = ledger.payments.get_mut(&answer).unwrap();
                payment.refunded = payment.captured;
            }
        })
        .await
    }

    async fn refund(&self, payment: PaymentId, step: &StepContext) -> Outcome<()> {
        self.act("refund", |ledger| {
            let key = step.key.to_string();
            let existing = ledger.other_keys.get(&key).cloned();
            let (result, record) = once(existing.as_ref(), &format!("{payment}"), || {
                let payment =
                    ledger.payments.get_mut(&payment).ok_or_else(|| Refusal::new("not_found", "no payment"))?;
                payment.refunded = payment.captured;
                Ok(())
            });
            ledger.other_keys.extend(record.map(|record| (key, record)));
            result
        })
        .await
    }
}

fn away(dependency: &'static str) -> Unavailable {
    Unavailable { dependency, message: "away for a test".to_owned(), retry_after: None }
}
