//! The books by direct queries: what the stores' own rows say, read past all of our code, the audit's above all. Two counts
//! of the same money by different code that agree are evidence; one count made twice is not.

mod rows;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::platform::Platform;
use rows::{Payment, Places, Rows};

pub use told::{Told, still_true, whole};

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Orders, however they ended.
    pub orders: usize,
    /// Of them confirmed.
    pub confirmed: usize,
    /// Minor units taken and not given back, over all currencies.
    pub kept_minor: i64,
}

/// Counts, when everything has settled ([`Platform::settled`]).
///
/// - An order that is confirmed has exactly one payment from which something was taken, and keeps exactly its total; one that failed or was
///   cancelled keeps nothing; none is under way.
/// - A confirmed order has exactly one committed reservation, of exactly its goods; any other has none that holds or sold anything.
/// - No payment and no reservation belongs to an order that does not exist.
/// - One key of one customer has one order at the most.
/// - What the articles say is reserved is what reservations hold.
/// - No saga is under way or parked.
/// - What the bank has moved is what the payments say.
///
/// # Errors
/// Names every row that disagrees; or says why a store could not be read.
pub async fn books_agree(platform: &Platform) -> Result<Counted> {
    let rows = Rows::read(&Places::of(platform)).await.context("the stores cannot be read directly")?;
    let mut wrong = Vec::new();
    orders(&rows, &mut wrong);
    strangers(&rows, &mut wrong);
    stock(&rows, &mut wrong);
    bank(&rows, &mut wrong);
    for (saga, status) in &rows.sagas_at_work {
        wrong.push(format!("saga {saga} is {status}"));
    }
    ensure!(wrong.is_empty(), "by direct queries, {} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let confirmed = rows.orders.values().filter(|order| is_sold(&order.status)).count();
    let kept_minor = rows.payments.iter().map(|payment| payment.captured - payment.refunded).sum();
    Ok(Counted { orders: rows.orders.len(), confirmed, kept_minor })
}

fn is_sold(status: &str) -> bool {
    matches!(status, "confirmed" | "shipped")
}

fn orders(rows: &Rows, wrong: &mut Vec<String>) {
    let mut payments: BTreeMap<&str, Vec<&Payment>> = BTreeMap::new();
    for payment in &rows.payments {
        payments.entry(&payment.order).or_default().push(payment);
    }
    let mut keys = BTreeSet::new();
    for (id, order) in &rows.orders {
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(format!("order {id} ({}): {what}", order.status));
            }
        };
        let sold = is_sold(&order.status);
        check(sold || matches!(order.status.as_str(), "failed" | "cancelled"), "has not settled".to_owned());
        let of_it = payments.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        let kept: i64 = of_it.iter().map(|payment| payment.captured - payment.refunded).sum();
        let expected = if sold { order.total } else { 0 };
        check(kept == expected, format!("keeps {kept} minor units, and should keep {expected}"));
        let kept_by = of_it.iter().filter(|payment| payment.captured > payment.refunded).count();
        check(kept_by <= 1, format!("keeps money of {kept_by} payments"));
        check(
            of_it.iter().all(|payment| payment.currency == order.currency),
            "was paid in another currency".to_owned(),
        );
        let reservations: Vec<_> = rows.reservations.iter().filter(|(_, r)| r.order == *id).collect();
        let held = reservations.iter().filter(|(_, r)| r.state == "held").count();
        check(held == 0, format!("{held} reservations still hold goods"));
        let committed: Vec<_> = reservations.iter().filter(|(_, r)| r.state == "committed").collect();
        check(committed.len() == usize::from(sold), format!("has {} committed reservations", committed.len()));
        for (reservation, r) in committed {
            check(r.goods == order.goods, format!("{reservation} is of {:?}, not of {:?}", r.goods, order.goods));
        }
        // A key whose order failed for want of a participant is free again: then the next order has it.
        if sold && !keys.insert((&order.customer, &order.key)) {
            wrong.push(format!("order {id}: another confirmed order of {} has the key {}", order.customer, order.key));
        }
    }
}

fn strangers(rows: &Rows, wrong: &mut Vec<String>) {
    for payment in rows.payments.iter().filter(|payment| !rows.orders.contains_key(&payment.order)) {
        if payment.captured != 0 {
            wrong.push(format!("payment {} is of order {}, which does not exist", payment.id, payment.order));
        }
    }
    for (id, reservation) in rows.reservations.iter().filter(|(_, r)| !rows.orders.contains_key(&r.order)) {
        if matches!(reservation.state.as_str(), "held" | "committed") {
            wrong.push(format!("reservation {id} is of order {}, which does not exist", reservation.order));
        }
    }
}

fn stock(rows: &Rows, wrong: &mut Vec<String>) {
    let mut held: BTreeMap<&str, i64> = BTreeMap::new();
    for reservation in rows.reservations.values().filter(|r| r.state == "held") {
        for (sku, quantity) in &reservation.goods {
            *held.entry(sku).or_default() += quantity;
        }
    }
    for (sku, item) in &rows.items {
        let held = held.get(sku.as_str()).copied().unwrap_or_default();
        if item.reserved != held {
            wrong.push(format!("{sku}: {} are reserved, and reservations hold {held}", item.reserved));
        }
        if item.on_hand < 0 {
            wrong.push(format!("{sku}: {} are on hand", item.on_hand));
        }
    }
}

fn bank(rows: &Rows, wrong: &mut Vec<String>) {
    let moved = rows.bank_minor;
    let kept: i64 = rows.payments.iter().map(|payment| payment.captured - payment.refunded).sum();
    if moved != kept {
        wrong.push(format!("the bank has moved {moved} minor units, and payments keep {kept}"));
    }
}
