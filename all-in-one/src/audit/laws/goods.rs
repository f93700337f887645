//! The law of goods of one order: what the inventory may hold for it, and which steps led there.

use inventory_service::audit::{AuditReservation, AuditStep};
use order_service::audit::AuditOrder;

use super::{Found, Law, orders::Standing};

/// Checks an order against its reservations.
pub fn check(order: &AuditOrder, standing: Standing, reservations: &[AuditReservation]) -> Vec<Found> {
    let mut found = Vec::new();
    let committed: Vec<&AuditReservation> =
        reservations.iter().filter(|reservation| reservation.state == "committed").collect();
    if let [_, _, ..] = committed.as_slice() {
        let ids: Vec<&str> = committed.iter().map(|reservation| reservation.id.as_str()).collect();
        found.push(Found::new(Law::GoodsCommittedTwice, format!("goods committed twice: {}", ids.join(", "))));
    }
    if standing == Standing::InFlight {
        return found;
    }
    for held in reservations.iter().filter(|reservation| reservation.state == "held") {
        let detail = format!("settled, but reservation {} still holds goods", held.id);
        found.push(Found::new(Law::GoodsHeld, detail));
    }
    match (standing, committed.as_slice()) {
        (Standing::Confirmed, []) => {
            found.push(Found::new(Law::GoodsNotCommitted, "confirmed, but no goods were committed"));
        }
        (Standing::Confirmed, [one]) => sold(order, one, &mut found),
        (Standing::Undone, kept) => {
            for reservation in kept {
                let detail = format!("not delivered, but reservation {} keeps the goods", reservation.id);
                found.push(Found::new(Law::GoodsKept, detail));
            }
            if let Some(named) = &order.reservation
                && !reservations.iter().any(|reservation| reservation.id == *named)
            {
                let detail = format!("names reservation {named}, which the inventory does not have for it");
                found.push(Found::new(Law::OrderNamesOtherReservation, detail));
            }
        }
        _ => {}
    }
    found
}

fn sold(order: &AuditOrder, reservation: &AuditReservation, found: &mut Vec<Found>) {
    if order.reservation.as_deref() != Some(reservation.id.as_str()) {
        let named = order.reservation.as_deref().unwrap_or("none");
        let detail = format!("names reservation {named}, but reservation {} has its goods", reservation.id);
        found.push(Found::new(Law::OrderNamesOtherReservation, detail));
    }
    let line = |sku: &str, quantity: i64, price: i64, currency: &str| format!("{quantity} {sku} at {price} {currency}");
    let mut ordered: Vec<String> = order
        .lines
        .iter()
        .map(|ordered| line(&ordered.sku, ordered.quantity, ordered.unit_price_minor, &order.currency))
        .collect();
    let mut reserved: Vec<String> = reservation
        .lines
        .iter()
        .map(|reserved| line(&reserved.sku, reserved.quantity, reserved.unit_price_minor, &reserved.currency))
        .collect();
    ordered.sort();
    reserved.sort();
    if ordered != reserved {
        let detail = format!(
            "ordered {}; reservation {} sold {} (minor units)",
            ordered.join(", "),
            reservation.id,
            reserved.join(", ")
        );
        found.push(Found::new(Law::GoodsDifferFromOrder, detail));
    }
}

/// Checks a reservation whose order does not exist.
pub fn orphan(reservation: &AuditReservation) -> Option<Found> {
    let keeps = matches!(reservation.state.as_str(), "held" | "committed");
    keeps.then(|| {
        let detail = format!("reservation {} keeps goods for an order that does not exist", reservation.id);
        Found::new(Law::OrphanReservation, detail)
    })
}

/// The step whose record says how the order's goods came to where they are.
pub fn deciding_step(order: &AuditOrder) -> Option<String> {
    match order.status.as_str() {
        "confirmed" | "shipped" | "failed" => Some(format!("{}/commit_stock", order.place_saga)),
        "cancelled" => order.cancel_saga.as_ref().map(|saga| format!("{saga}/restock")),
        _ => None,
    }
}

/// Checks an order against the record of its deciding step. `kept`: whether a record of that age is still kept.
pub fn check_step(order: &AuditOrder, key: &str, step: Option<&AuditStep>, kept: bool) -> Option<Found> {
    let done = |step: &AuditStep| step.state == "done";
    let wrong = match (order.status.as_str(), step) {
        ("failed", Some(step)) if done(step) => "is done".to_owned(),
        ("failed", _) => return None,
        (_, None) if kept => "is not on record".to_owned(),
        (_, None) => return None,
        (_, Some(step)) if !done(step) => format!("is {}", step.state),
        (_, Some(step)) => {
            let answer: serde_json::Value = step.answer.as_deref().map(serde_json::from_str).and_then(Result::ok)?;
            let about = answer["reservation"].as_str().unwrap_or("none");
            let named = order.reservation.as_deref().unwrap_or("none");
            if about == named {
                return None;
            }
            format!("was about reservation {about}, the order names {named}")
        }
    };
    Some(Found::new(Law::StepAndOrderDiffer, format!("{}, but step {key} {wrong}", order.status)))
}
