//! Every invariant that the audit checks: its stable code, and what to do when it is broken. What must hold, and which tables it is
//! computed from, is tabled in `docs/audit.md`; a test in `tests/platform/audit` plants each once.
//!
//! The rules that compare stores are pure functions in the files beside this one. Those within one store are SELECTs in that store's
//! own `checks.rs`, because one statement sees one moment.

pub mod bank;
pub mod goods;
pub mod money;
pub mod orders;
pub mod payments;

#[cfg(test)]
mod order_tests;

use amends_sql::checks::Breach;

macro_rules! laws {
    ($($law:ident $code:literal: $advice:expr;)+) => {
        /// An invariant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "docs/audit.md has a row for each code")]
        pub enum Law {
            $($law,)+
        }

        impl Law {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$law,)+];

            /// A stable name, for machines.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$law => $code,)+
                }
            }

            /// What a person should do about it.
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$law => $advice,)+
                }
            }
        }
    };
}

const STATEMENT: &str = "compare with the processor's statement, then correct the payment there and here";
const BANK: &str = "trust the bank: settle the difference with it, then correct the payment store";
const STOCK: &str = "count the goods, then correct the stock";
const RELEASE: &str = "release or restock the reservation";
const RESTORE: &str = "restore the row from a backup, or write it anew from what the other tables say";
const TAMPERED: &str = "find out who wrote to the database: no program of ours leaves this behind";

laws! {
    // Money of an order.
    ChargedTwice "charged_twice": STATEMENT;
    NotCharged "not_charged": "find the payment at the processor, or cancel the order";
    WrongAmount "wrong_amount": STATEMENT;
    WrongCurrency "wrong_currency": STATEMENT;
    ChargedForNothing "charged_for_nothing": "refund the payment";
    PaymentUndecided "payment_undecided": "ask the processor by the payment's key";
    ChargeNotClosed "charge_not_closed": "compensate the charge once more: a late one must find a tombstone";
    OrphanPayment "orphan_payment": "refund the payment";
    OrderNamesOtherPayment "order_names_other_payment": "find out which payment is the order's, then correct the order or refund the other";
    PaymentOfOtherCustomer "payment_of_other_customer": "find out who paid, then refund or correct the payment";
    // A payment by itself.
    OverRefunded "over_refunded": STATEMENT;
    RefundsNotSum "refunds_not_sum": STATEMENT;
    PaymentMalformed "payment_malformed": TAMPERED;
    PaymentUnreadable "payment_unreadable": TAMPERED;
    EffectKeyDiffers "effect_key_differs": RESTORE;
    WebhookUnfounded "webhook_unfounded": "tell the receiver that the event did not happen, then delete the delivery";
    // Payments against the bank.
    BankCaptureUnknown "bank_capture_unknown": "refund at the bank what no payment of ours stands for";
    BankCaptureMissing "bank_capture_missing": BANK;
    BankAmountDiffers "bank_amount_differs": BANK;
    BankRefundUnknown "bank_refund_unknown": BANK;
    BankRefundMissing "bank_refund_missing": BANK;
    BankReceiptDiffers "bank_receipt_differs": BANK;
    BankHoldUnknown "bank_hold_unknown": "void the key at the bank: it holds the customer's money for nothing";
    BankStatementMalformed "bank_statement_malformed": "ask the bank for a new statement: this one does not add up";
    // Goods of an order.
    GoodsNotCommitted "goods_not_committed": STOCK;
    GoodsCommittedTwice "goods_committed_twice": STOCK;
    GoodsKept "goods_kept": RELEASE;
    GoodsHeld "goods_held": RELEASE;
    OrphanReservation "orphan_reservation": RELEASE;
    GoodsDifferFromOrder "goods_differ_from_order": STOCK;
    OrderNamesOtherReservation "order_names_other_reservation": "find out which reservation is the order's, then correct the order";
    StepAndOrderDiffer "step_and_order_differ": STOCK;
    // The inventory by itself.
    ReservedNotSumOfHeld "reserved_not_sum_of_held": "set `reserved` to what the held reservations come to";
    StockOutOfBounds "stock_out_of_bounds": STOCK;
    ReservationMalformed "reservation_malformed": RESTORE;
    ReservationOverdue "reservation_overdue": "see that the inventory's sweeper runs (`/readyz`, its log): these goods are kept from sale";
    StepLeftOpen "step_left_open": TAMPERED;
    StepAndGoodsDiffer "step_and_goods_differ": STOCK;
    // The order store by itself.
    TotalNotSumOfLines "total_not_sum_of_lines": RESTORE;
    OrderMalformed "order_malformed": TAMPERED;
    TwoOrdersUnderOneKey "two_orders_under_one_key": "cancel the order that the caller was not told of";
    KeyMissing "key_missing": "write the key's record anew, or a repeat of the request places the order again";
    KeyNamesOtherOrder "key_names_other_order": "clear the claim (`key_fingerprint`, `key_expires_at`), or a repeat of the request is answered with a failure that is over";
    OutboxEventMissing "outbox_event_missing": RESTORE;
    OutboxEventUnfounded "outbox_event_unfounded": "tell the readers of the outbox that it did not happen, then take it out of the order's events";
    OutboxPayloadDiffers "outbox_payload_differs": RESTORE;
    // Sagas.
    SagaParked "saga_parked": "read the saga's timeline, mend the cause, then retry or resolve it";
    SagaStuck "saga_stuck": "see that a replica runs which knows the saga's definition and version";
    SagaMissing "saga_missing": RESTORE;
    OrderAndSagaDiffer "order_and_saga_differ": TAMPERED;
    OrphanSaga "orphan_saga": RESTORE;
    SagaMalformed "saga_malformed": TAMPERED;
    EventsWithoutSaga "events_without_saga": RESTORE;
    JournalBroken "journal_broken": "restore the journal from a backup before the saga is retried";
}

impl Law {
    /// The law of that code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|law| law.code() == code)
    }
}

/// What breaks a law, before it is known whose books it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which law.
    pub law: Law,
    /// The ids, and what both sides say.
    pub detail: String,
}

impl Found {
    /// With what was found.
    pub fn new(law: Law, detail: impl Into<String>) -> Self {
        Self { law, detail: detail.into() }
    }
}

/// One broken law.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which law.
    pub law: Law,
    /// What the subject is: `order`, `payment`, `item` …
    pub about: &'static str,
    /// What does not add up.
    pub subject: String,
    /// The order it concerns, where there is one.
    pub order: Option<String>,
    /// The ids, and what both sides say.
    pub detail: String,
}

impl Finding {
    /// Of an order.
    pub fn of_order(order: &str, found: Found) -> Self {
        let (subject, order) = (order.to_owned(), Some(order.to_owned()));
        Self { law: found.law, about: "order", subject, order, detail: found.detail }
    }

    /// By the statement of a store's own check. None where no law has its code, which a test rules out.
    pub fn of_breach(breach: Breach) -> Option<Self> {
        let Breach { code, about, subject, order, detail } = breach;
        let order = (!order.is_empty()).then_some(order);
        Some(Self { law: Law::from_code(code)?, about, subject, order, detail })
    }
}

/// An amount for people; as it is stored where its currency is none.
pub fn money(minor: i64, currency: &str) -> String {
    match currency.parse() {
        Ok(currency) => amends_primitives::Money::new(minor, currency).to_string(),
        Err(_) => format!("{minor} {currency}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_there_once() {
        let codes: BTreeSet<&str> = Law::ALL.iter().map(|law| law.code()).collect();
        assert_eq!(codes.len(), Law::ALL.len());
    }

    #[test]
    fn a_finding_names_its_subject_and_its_order() {
        for law in Law::ALL {
            assert_eq!(Law::from_code(law.code()), Some(*law));
        }
        let found = Finding::of_order("o", Found::new(Law::NotCharged, "why"));
        assert_eq!((found.about, found.subject.as_str(), found.order.as_deref()), ("order", "o", Some("o")));
        let breach = |code, order: &str| Breach {
            code,
            about: "item",
            subject: "tea".into(),
            order: order.into(),
            detail: "why".into(),
        };
        let found = Finding::of_breach(breach("stock_out_of_bounds", "")).unwrap();
        assert_eq!(
            (found.law, found.about, found.subject.as_str(), found.order),
            (Law::StockOutOfBounds, "item", "tea", None)
        );
        assert_eq!(Finding::of_breach(breach("goods_kept", "o")).unwrap().order.as_deref(), Some("o"));
        assert_eq!(Finding::of_breach(breach("lost", "o")), None);
    }

    #[test]
    fn every_law_has_a_row_in_the_documentation() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit.md");
        let page = std::fs::read_to_string(file).unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        for law in Law::ALL {
            let begin = format!("| `{}` |", law.code());
            let row = rows.iter().filter(|row| row.starts_with(&begin));
            assert_eq!(row.count(), 1, "docs/audit.md has one row for {}", law.code());
        }
        assert_eq!(rows.len(), Law::ALL.len(), "docs/audit.md has a row that is of no law");
    }
}
