//! The money law, as a pure rule over what three stores say about one order. Nothing here reads a store or prints.

use std::fmt;

use amends_primitives::{Money, OrderId};

/// What the order store says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderFacts {
    /// Which order.
    pub id: OrderId,
    /// Where it stands.
    pub standing: Standing,
    /// What the customer agreed to pay.
    pub total: Money,
    /// Whether its saga gave up and waits for a person.
    pub parked: bool,
    /// Minutes it has been in flight, where that is longer than any saga takes by itself.
    pub stuck_for: Option<u64>,
}

/// An order's status, as far as the law cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A saga is at work: the books of this order may be in any state on the way.
    InFlight,
    /// Confirmed (or shipped): paid for, and the goods sold.
    Confirmed,
    /// Failed or cancelled: nothing kept, nothing held.
    Undone,
}

/// What the payment store says about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFacts {
    /// The payment's id.
    pub id: String,
    /// Taken, in all.
    pub captured: Money,
    /// Given back, in all.
    pub refunded: Money,
    /// Asked for, but what the processor did is not recorded yet.
    pub pending: bool,
}

/// What the inventory store says about one reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationFacts {
    /// The reservation's id.
    pub id: String,
    /// Holding goods that nobody has bought yet.
    pub held: bool,
    /// Sold, and not restocked.
    pub committed: bool,
}

/// A breach of the money law.
#[expect(missing_docs, reason = "each variant's sentence says what its fields are")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discrepancy {
    /// More than one payment of a confirmed order keeps money.
    ChargedTwice { payments: Vec<String> },
    /// A confirmed order nobody paid for.
    NotCharged,
    /// A confirmed order was charged another amount than its total.
    WrongAmount { payment: String, net: Money, total: Money },
    /// A confirmed order was charged in another currency.
    WrongCurrency { payment: String, net: Money, total: Money },
    /// More was given back than taken.
    OverRefunded { payment: String, captured: Money, refunded: Money },
    /// A failed or cancelled order keeps the customer's money.
    ChargedForNothing { payment: String, net: Money },
    /// A settled order's payment is still undecided.
    PaymentUndecided { payment: String },
    /// A confirmed order whose goods were never committed.
    GoodsNotCommitted,
    /// A confirmed order whose goods were committed more than once.
    GoodsCommittedTwice { reservations: Vec<String> },
    /// A failed or cancelled order still has goods.
    GoodsKept { reservation: String },
    /// A settled order still holds goods back from sale.
    GoodsHeld { reservation: String },
    /// The order's saga is parked: a person must decide.
    Parked,
    /// The order is in flight for longer than its saga can take: nobody runs it.
    Stuck { minutes: u64 },
    /// A payment that keeps money belongs to no order.
    OrphanPayment { payment: String, net: Money },
    /// A reservation that keeps goods belongs to no order.
    OrphanReservation { reservation: String },
}

impl Discrepancy {
    /// A stable name, for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ChargedTwice { .. } => "charged_twice",
            Self::NotCharged => "not_charged",
            Self::WrongAmount { .. } => "wrong_amount",
            Self::WrongCurrency { .. } => "wrong_currency",
            Self::OverRefunded { .. } => "over_refunded",
            Self::ChargedForNothing { .. } => "charged_for_nothing",
            Self::PaymentUndecided { .. } => "payment_undecided",
            Self::GoodsNotCommitted => "goods_not_committed",
            Self::GoodsCommittedTwice { .. } => "goods_committed_twice",
            Self::GoodsKept { .. } => "goods_kept",
            Self::GoodsHeld { .. } => "goods_held",
            Self::Parked => "saga_parked",
            Self::Stuck { .. } => "saga_stuck",
            Self::OrphanPayment { .. } => "orphan_payment",
            Self::OrphanReservation { .. } => "orphan_reservation",
        }
    }

    /// What a person should do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::ChargedTwice { .. }
            | Self::OverRefunded { .. }
            | Self::WrongAmount { .. }
            | Self::WrongCurrency { .. } => {
                "compare with the processor's statement, then correct the payment there and here"
            }
            Self::ChargedForNothing { .. } | Self::OrphanPayment { .. } => "refund the payment",
            Self::NotCharged => "find the payment at the processor, or cancel the order",
            Self::PaymentUndecided { .. } => "ask the processor by the payment's key",
            Self::GoodsNotCommitted | Self::GoodsCommittedTwice { .. } => "count the goods, then correct the stock",
            Self::GoodsKept { .. } | Self::GoodsHeld { .. } | Self::OrphanReservation { .. } => {
                "release or restock the reservation"
            }
            Self::Stuck { .. } => "see that a replica runs which knows the saga's definition and version",
            Self::Parked => "read the saga's timeline, mend the cause, then retry or resolve it",
        }
    }
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChargedTwice { payments } => write!(f, "paid more than once: payments {}", payments.join(", ")),
            Self::NotCharged => f.write_str("confirmed, but no payment was captured"),
            Self::WrongAmount { payment, net, total } => {
                write!(f, "payment {payment} keeps {net}, the total is {total}")
            }
            Self::WrongCurrency { payment, net, total } => {
                write!(f, "payment {payment} keeps {net}, the total is in {}", total.currency())
            }
            Self::OverRefunded { payment, captured, refunded } => {
                write!(f, "payment {payment} gave back {refunded} of {captured}")
            }
            Self::ChargedForNothing { payment, net } => write!(f, "not delivered, but payment {payment} keeps {net}"),
            Self::PaymentUndecided { payment } => write!(f, "settled, but payment {payment} is still pending"),
            Self::GoodsNotCommitted => f.write_str("confirmed, but no goods were committed"),
            Self::GoodsCommittedTwice { reservations } => {
                write!(f, "goods committed twice: {}", reservations.join(", "))
            }
            Self::GoodsKept { reservation } => {
                write!(f, "not delivered, but reservation {reservation} keeps the goods")
            }
            Self::GoodsHeld { reservation } => write!(f, "settled, but reservation {reservation} still holds goods"),
            Self::Parked => f.write_str("its saga is parked"),
            Self::Stuck { minutes } => write!(f, "in flight for {minutes} minutes without a change"),
            Self::OrphanPayment { payment, net } => {
                write!(f, "payment {payment} keeps {net} for an order that does not exist")
            }
            Self::OrphanReservation { reservation } => {
                write!(f, "reservation {reservation} keeps goods for an order that does not exist")
            }
        }
    }
}

/// Checks one order. An order in flight breaks no law, whatever its books say at this moment, unless its saga is parked.
pub fn check(order: &OrderFacts, payments: &[PaymentFacts], reservations: &[ReservationFacts]) -> Vec<Discrepancy> {
    let mut found = Vec::new();
    if order.parked {
        found.push(Discrepancy::Parked);
    } else if let Some(minutes) = order.stuck_for {
        found.push(Discrepancy::Stuck { minutes });
    }
    if order.standing == Standing::InFlight {
        return found;
    }
    for payment in payments {
        if payment.pending {
            found.push(Discrepancy::PaymentUndecided { payment: payment.id.clone() });
        }
        if payment.refunded.amount_minor() > payment.captured.amount_minor() {
            let (captured, refunded) = (payment.captured, payment.refunded);
            found.push(Discrepancy::OverRefunded { payment: payment.id.clone(), captured, refunded });
        }
    }
    for reservation in reservations.iter().filter(|reservation| reservation.held) {
        found.push(Discrepancy::GoodsHeld { reservation: reservation.id.clone() });
    }
    let keeping: Vec<&PaymentFacts> = payments.iter().filter(|payment| net(payment).is_positive()).collect();
    let committed: Vec<&ReservationFacts> = reservations.iter().filter(|reservation| reservation.committed).collect();
    if order.standing == Standing::Confirmed {
        check_confirmed(order, &keeping, &committed, &mut found);
    } else {
        found.extend(
            keeping
                .iter()
                .map(|payment| Discrepancy::ChargedForNothing { payment: payment.id.clone(), net: net(payment) }),
        );
        found
            .extend(committed.iter().map(|reservation| Discrepancy::GoodsKept { reservation: reservation.id.clone() }));
    }
    found
}

fn check_confirmed(
    order: &OrderFacts,
    keeping: &[&PaymentFacts],
    committed: &[&ReservationFacts],
    found: &mut Vec<Discrepancy>,
) {
    match keeping {
        [] => found.push(Discrepancy::NotCharged),
        [payment] => {
            let (net, total, payment) = (net(payment), order.total, payment.id.clone());
            if net.currency() != total.currency() {
                found.push(Discrepancy::WrongCurrency { payment, net, total });
            } else if net != total {
                found.push(Discrepancy::WrongAmount { payment, net, total });
            }
        }
        several => found
            .push(Discrepancy::ChargedTwice { payments: several.iter().map(|payment| payment.id.clone()).collect() }),
    }
    match committed {
        [_one] => {}
        [] => found.push(Discrepancy::GoodsNotCommitted),
        several => {
            let reservations = several.iter().map(|reservation| reservation.id.clone()).collect();
            found.push(Discrepancy::GoodsCommittedTwice { reservations });
        }
    }
}

/// Checks what belongs to an order id that the order store does not know.
pub fn check_orphans(payments: &[PaymentFacts], reservations: &[ReservationFacts]) -> Vec<Discrepancy> {
    let money = payments.iter().filter(|payment| net(payment).is_positive());
    let goods = reservations.iter().filter(|reservation| reservation.held || reservation.committed);
    money
        .map(|payment| Discrepancy::OrphanPayment { payment: payment.id.clone(), net: net(payment) })
        .chain(goods.map(|reservation| Discrepancy::OrphanReservation { reservation: reservation.id.clone() }))
        .collect()
}

fn net(payment: &PaymentFacts) -> Money {
    let minor = payment.captured.amount_minor().saturating_sub(payment.refunded.amount_minor());
    Money::new(minor, payment.captured.currency())
}

#[cfg(test)]
mod tests {
    use amends_primitives::Currency;

    use super::*;

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR)
    }

    fn order(standing: Standing) -> OrderFacts {
        OrderFacts { id: OrderId::new(uuid::Uuid::nil()), standing, total: eur(3700), parked: false, stuck_for: None }
    }

    fn paid(captured: i64, refunded: i64) -> PaymentFacts {
        PaymentFacts { id: "p".into(), captured: eur(captured), refunded: eur(refunded), pending: false }
    }

    const SOLD: fn() -> ReservationFacts = || ReservationFacts { id: "r".into(), held: false, committed: true };
    const HELD: fn() -> ReservationFacts = || ReservationFacts { id: "r".into(), held: true, committed: false };
    const GONE: fn() -> ReservationFacts = || ReservationFacts { id: "r".into(), held: false, committed: false };

    fn codes(order: &OrderFacts, payments: &[PaymentFacts], reservations: &[ReservationFacts]) -> Vec<&'static str> {
        check(order, payments, reservations).iter().map(Discrepancy::code).collect()
    }

    #[test]
    fn a_confirmed_order_has_one_charge_equal_to_its_total_and_its_goods() {
        let confirmed = order(Standing::Confirmed);
        assert!(codes(&confirmed, &[paid(3700, 0)], &[SOLD()]).is_empty());
        assert!(codes(&confirmed, &[paid(0, 0), paid(3700, 0), paid(3700, 3700)], &[GONE(), SOLD()]).is_empty());
        assert_eq!(codes(&confirmed, &[paid(3700, 0), paid(3700, 0)], &[SOLD()]), ["charged_twice"]);
        assert_eq!(codes(&confirmed, &[], &[SOLD()]), ["not_charged"]);
        assert_eq!(codes(&confirmed, &[paid(3700, 3700)], &[SOLD()]), ["not_charged"]);
        assert_eq!(codes(&confirmed, &[paid(3700, 1)], &[SOLD()]), ["wrong_amount"]);
        assert_eq!(codes(&confirmed, &[paid(3700, 0)], &[]), ["goods_not_committed"]);
        assert_eq!(codes(&confirmed, &[paid(3700, 0)], &[SOLD(), SOLD()]), ["goods_committed_twice"]);
        assert_eq!(codes(&confirmed, &[paid(3700, 0)], &[SOLD(), HELD()]), ["goods_held"]);
        let dollars = PaymentFacts {
            captured: Money::new(3700, Currency::USD),
            refunded: Money::zero(Currency::USD),
            ..paid(0, 0)
        };
        assert_eq!(codes(&confirmed, &[dollars], &[SOLD()]), ["wrong_currency"]);
    }

    #[test]
    fn an_undone_order_keeps_neither_money_nor_goods() {
        let undone = order(Standing::Undone);
        assert!(codes(&undone, &[], &[]).is_empty());
        assert!(codes(&undone, &[paid(3700, 3700), paid(0, 0)], &[GONE()]).is_empty());
        assert_eq!(codes(&undone, &[paid(3700, 0)], &[GONE()]), ["charged_for_nothing"]);
        assert_eq!(codes(&undone, &[paid(3700, 3701)], &[]), ["over_refunded"]);
        assert_eq!(codes(&undone, &[], &[SOLD()]), ["goods_kept"]);
        assert_eq!(codes(&undone, &[], &[HELD()]), ["goods_held"]);
        assert_eq!(codes(&undone, &[PaymentFacts { pending: true, ..paid(0, 0) }], &[]), ["payment_undecided"]);
    }

    #[test]
    fn an_order_in_flight_breaks_no_law_unless_it_is_parked() {
        let books = ([paid(3700, 0), paid(3700, 0)], [HELD(), SOLD()]);
        assert!(codes(&order(Standing::InFlight), &books.0, &books.1).is_empty());
        assert_eq!(codes(&OrderFacts { stuck_for: Some(31), ..order(Standing::InFlight) }, &[], &[]), ["saga_stuck"]);
        assert_eq!(codes(&OrderFacts { parked: true, ..order(Standing::InFlight) }, &[], &[]), ["saga_parked"]);
    }

    #[test]
    fn what_belongs_to_no_order_is_an_orphan_only_while_it_keeps_something() {
        assert!(check_orphans(&[paid(3700, 3700)], &[GONE()]).is_empty());
        let found = check_orphans(&[paid(3700, 0)], &[HELD()]);
        assert_eq!(found.iter().map(Discrepancy::code).collect::<Vec<_>>(), ["orphan_payment", "orphan_reservation"]);
    }
}
