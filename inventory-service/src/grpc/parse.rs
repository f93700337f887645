//! Messages into domain types, every wrong field named; and back. Past this file nothing is validated again.

use std::{collections::HashSet, time::Duration};

use amends_primitives::{Currency, Money, StepKey, Timestamp};
use amends_protos::{common::v1 as common, inventory::v1 as pb};
use service_kit::grpc::fields::Fields;

use crate::{
    domain::{Item, LINES_MAX, Line, PricedLine, QUANTITY_MAX, Quantity, Reservation, State},
    ports::ActionKey,
};

const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 100;

fn parts(key: &common::StepKey) -> (&str, &str) {
    (&key.saga_id, &key.step)
}

/// The key of an action.
pub(super) fn action_key(fields: &mut Fields, field: &str, key: Option<&common::StepKey>) -> Option<ActionKey> {
    let digest = key.map_or(&[][..], |key| &key.fingerprint);
    let (step, fingerprint) = fields.action(field, key.map(parts), digest)?;
    Some(ActionKey { step, fingerprint })
}

/// The key of an action to be undone or closed.
pub(super) fn step_key(fields: &mut Fields, field: &str, key: Option<&common::StepKey>) -> Option<StepKey> {
    fields.step_key(field, key.map(parts))
}

/// A price.
pub(super) fn price(fields: &mut Fields, field: &str, money: &common::Money) -> Option<Money> {
    let currency: Option<Currency> = fields.parsed(&format!("{field}.currency"), &money.currency);
    if money.amount_minor <= 0 {
        fields.wrong(format!("{field}.amount_minor"), "must be above zero");
        return None;
    }
    Some(Money::new(money.amount_minor, currency?))
}

/// The lines of a reservation.
pub(super) fn lines(fields: &mut Fields, lines: &[pb::Line]) -> Option<Vec<Line>> {
    if lines.is_empty() || lines.len() > LINES_MAX {
        fields.wrong("lines", format!("must be 1 to {LINES_MAX}"));
        return None;
    }
    let mut seen = HashSet::with_capacity(lines.len());
    let mut parsed = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let field = |name: &str| format!("lines[{index}].{name}");
        let sku = fields.parsed(&field("sku"), &line.sku);
        if sku.is_some() && !seen.insert(line.sku.as_str()) {
            fields.wrong(field("sku"), "is in another line as well");
        }
        let quantity = Quantity::try_new(line.quantity);
        if quantity.is_none() {
            fields.wrong(field("quantity"), format!("must be 1 to {QUANTITY_MAX}"));
        }
        let price = line.expected_unit_price.as_ref();
        let expected_unit_price = price.and_then(|price| self::price(fields, &field("expected_unit_price"), price));
        if let (Some(sku), Some(quantity)) = (sku, quantity) {
            parsed.push(Line { sku, quantity, expected_unit_price });
        }
    }
    Some(parsed)
}

/// How long goods are to be held.
pub(super) fn hold_for(fields: &mut Fields, asked: Option<&prost_types::Duration>) -> Option<Duration> {
    let asked = *asked?;
    match Duration::try_from(asked) {
        Ok(hold_for) if hold_for >= Duration::from_millis(1) => Some(hold_for),
        _ => {
            fields.wrong("hold_for", "must be at least a millisecond");
            None
        }
    }
}

/// How many of a list are asked for.
pub(super) fn page_size(fields: &mut Fields, asked: u32) -> usize {
    if asked > PAGE_MAX {
        fields.wrong("page_size", format!("must be at most {PAGE_MAX}"));
    }
    let size = if asked == 0 { PAGE_DEFAULT } else { asked.min(PAGE_MAX) };
    size as usize
}
pub(super) fn money(money: Money) -> common::Money {
    common::Money { amount_minor: money.amount_minor(), currency: money.currency().code().to_owned() }
}

pub(super) fn item(item: Item) -> pb::Item {
    pb::Item {
        sku: item.sku.into(),
        name: item.name,
        unit_price: Some(money(item.unit_price)),
        available: item.stock.available(),
        reserved: item.stock.reserved(),
    }
}

pub(super) fn reservation(reservation: Reservation) -> pb::Reservation {
    pb::Reservation {
        id: reservation.id.to_string(),
        order_id: reservation.order.to_string(),
        state: state(reservation.state).into(),
        lines: reservation.lines.into_iter().map(line).collect(),
        expires_at: Some(timestamp(reservation.expires_at)),
        created_at: Some(timestamp(reservation.created_at)),
    }
}

fn line(line: PricedLine) -> pb::PricedLine {
    pb::PricedLine { sku: line.sku.into(), quantity: line.quantity.units(), unit_price: Some(money(line.unit_price)) }
}

const fn state(state: State) -> pb::ReservationState {
    match state {
        State::Held => pb::ReservationState::Held,
        State::Released => pb::ReservationState::Released,
        State::Expired => pb::ReservationState::Expired,
        State::Committed => pb::ReservationState::Committed,
        State::Restocked => pb::ReservationState::Restocked,
    }
}

fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp::from(at.to_system_time())
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn wrong(fields: Fields) -> Vec<String> {
        let refused = fields.finish(None::<()>).unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "INVALID_ARGUMENT");
        refused.get_details_bad_request().unwrap().field_violations.into_iter().map(|v| v.field).collect()
    }

    #[test]
    fn every_wrong_field_of_a_line_is_named() {
        let line = |sku: &str, quantity, price: Option<(i64, &str)>| pb::Line {
            sku: sku.into(),
            quantity,
            expected_unit_price: price
                .map(|(amount_minor, currency)| common::Money { amount_minor, currency: currency.into() }),
        };
        let mut fields = Fields::of(super::super::DOMAIN);
        lines(
            &mut fields,
            &[
                line("tea", 1, None),
                line("tea", 0, Some((0, "EUR"))),
                line("", QUANTITY_MAX + 1, Some((1, "eur"))),
                line("a b", 1, Some((1, "EUR"))),
            ],
        );
        assert_eq!(
            wrong(fields),
            [
                "lines[1].sku",
                "lines[1].quantity",
                "lines[1].expected_unit_price.amount_minor",
                "lines[2].sku",
                "lines[2].quantity",
                "lines[2].expected_unit_price.currency",
                "lines[3].sku"
            ]
        );
        for count in [0, LINES_MAX + 1] {
            let mut fields = Fields::of(super::super::DOMAIN);
            lines(&mut fields, &vec![line("tea", 1, None); count]);
            assert_eq!(wrong(fields), ["lines"]);
        }
    }

    #[test]
    fn holds_and_pages_are_bounded() {
        let mut fields = Fields::of(super::super::DOMAIN);
        let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
        assert_eq!(hold_for(&mut fields, None), None);
        assert_eq!(hold_for(&mut fields, Some(&seconds(5))), Some(Duration::from_secs(5)));
        assert_eq!((page_size(&mut fields, 0), page_size(&mut fields, 7), page_size(&mut fields, 100)), (50, 7, 100));
        for bad in [0, -1] {
            assert_eq!(hold_for(&mut fields, Some(&seconds(bad))), None);
        }
        page_size(&mut fields, 101);
        assert_eq!(wrong(fields), ["hold_for", "hold_for", "page_size"]);
    }
}
