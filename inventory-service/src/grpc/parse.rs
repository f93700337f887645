//! Messages into domain types, every wrong field named; and back. Past this file nothing is validated again.

use std::{collections::HashSet, fmt::Display, str::FromStr, time::Duration};

use amends_primitives::{Currency, Fingerprint, InvalidStepKey, Money, StepKey, Timestamp};
use amends_protos::{common::v1 as common, inventory::v1 as pb};
use service_base::problem::FieldError;
use tonic::Status;

use super::status;
use crate::{
    domain::{Item, LINES_MAX, Line, PricedLine, QUANTITY_MAX, Quantity, Reservation, State},
    ports::ActionKey,
};

const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 100;

/// Collects what is wrong with a request, so that the caller hears everything at once.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<FieldError>);

impl Fields {
    pub(super) fn wrong(&mut self, field: impl Into<String>, message: impl Display) {
        self.0.push(FieldError { field: field.into(), message: message.to_string() });
    }

    /// The value, or a violation in its place.
    pub(super) fn check<T, E: Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.wrong(field, error)).ok()
    }

    /// A field that must be there and be the text of something.
    pub(super) fn parsed<T>(&mut self, field: &str, text: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        if text.is_empty() {
            self.wrong(field, "must be given");
            return None;
        }
        self.check(field, text.parse())
    }

    /// As [`parsed`](Self::parsed), where an empty text says "any".
    pub(super) fn parsed_if_given<T>(&mut self, field: &str, text: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        if text.is_empty() { None } else { self.check(field, text.parse()) }
    }

    /// `value`, if nothing at all was wrong. It is `None` only when something was.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(status::invalid(self.0)),
        }
    }

    /// The key of an action.
    pub(super) fn action_key(&mut self, field: &str, key: Option<&common::StepKey>) -> Option<ActionKey> {
        let step = self.step_key(field, key);
        // A violation of the fingerprint is told even when the rest of the key is wrong as well.
        let fingerprint = Fingerprint::try_from(key?.fingerprint.as_slice());
        let fingerprint = self.check(&format!("{field}.fingerprint"), fingerprint)?;
        step.map(|step| ActionKey { step, fingerprint })
    }

    /// The key of an action to be undone or closed: its fingerprint does not matter.
    pub(super) fn step_key(&mut self, field: &str, key: Option<&common::StepKey>) -> Option<StepKey> {
        let Some(key) = key else {
            self.wrong(field, "must be given");
            return None;
        };
        let saga_id = key.saga_id.parse().map_err(|_| InvalidStepKey::SagaId);
        let saga_id = self.check(&format!("{field}.saga_id"), saga_id)?;
        self.check(&format!("{field}.step"), StepKey::try_new(saga_id, &key.step))
    }

    /// A price.
    pub(super) fn price(&mut self, field: &str, money: &common::Money) -> Option<Money> {
        let currency: Option<Currency> = self.parsed(&format!("{field}.currency"), &money.currency);
        if money.amount_minor <= 0 {
            self.wrong(format!("{field}.amount_minor"), "must be above zero");
            return None;
        }
        Some(Money::new(money.amount_minor, currency?))
    }

    /// The lines of a reservation.
    pub(super) fn lines(&mut self, lines: &[pb::Line]) -> Option<Vec<Line>> {
        if lines.is_empty() || lines.len() > LINES_MAX {
            self.wrong("lines", format!("must be 1 to {LINES_MAX}"));
            return None;
        }
        let mut seen = HashSet::with_capacity(lines.len());
        let mut parsed = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            let field = |name: &str| format!("lines[{index}].{name}");
            let sku = self.parsed(&field("sku"), &line.sku);
            if sku.is_some() && !seen.insert(line.sku.as_str()) {
                self.wrong(field("sku"), "is in another line as well");
            }
            let quantity = Quantity::try_new(line.quantity);
            if quantity.is_none() {
                self.wrong(field("quantity"), format!("must be 1 to {QUANTITY_MAX}"));
            }
            let price = line.expected_unit_price.as_ref();
            let expected_unit_price = price.and_then(|price| self.price(&field("expected_unit_price"), price));
            if let (Some(sku), Some(quantity)) = (sku, quantity) {
                parsed.push(Line { sku, quantity, expected_unit_price });
            }
        }
        Some(parsed)
    }

    /// How long goods are to be held.
    pub(super) fn hold_for(&mut self, asked: Option<&prost_types::Duration>) -> Option<Duration> {
        let asked = *asked?;
        match Duration::try_from(asked) {
            Ok(hold_for) if hold_for >= Duration::from_millis(1) => Some(hold_for),
            _ => {
                self.wrong("hold_for", "must be at least a millisecond");
                None
            }
        }
    }

    /// How many of a list are asked for.
    pub(super) fn page_size(&mut self, asked: u32) -> usize {
        if asked > PAGE_MAX {
            self.wrong("page_size", format!("must be at most {PAGE_MAX}"));
        }
        let size = if asked == 0 { PAGE_DEFAULT } else { asked.min(PAGE_MAX) };
        size as usize
    }
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

    fn key(saga_id: &str, step: &str, fingerprint: &[u8]) -> common::StepKey {
        common::StepKey { saga_id: saga_id.into(), step: step.into(), fingerprint: fingerprint.to_vec(), attempt: 1 }
    }

    #[test]
    fn a_step_key_is_told_in_parts() {
        let saga = "0198c0de-0000-7000-8000-000000000001";
        let mut fields = Fields::default();
        assert!(fields.action_key("step_key", Some(&key(saga, "reserve_stock", &[0; 32]))).is_some());
        assert!(fields.action_key("step_key", None).is_none());
        assert!(fields.action_key("step_key", Some(&key("1", "reserve_stock", &[]))).is_none());
        assert!(fields.action_key("step_key", Some(&key(saga, "Reserve", &[0; 32]))).is_none());
        assert!(fields.step_key("reserve_step_key", Some(&key(saga, "reserve_stock", &[]))).is_some());
        assert_eq!(wrong(fields), ["step_key", "step_key.saga_id", "step_key.fingerprint", "step_key.step"]);
    }

    #[test]
    fn every_wrong_field_of_a_line_is_named() {
        let line = |sku: &str, quantity, price: Option<(i64, &str)>| pb::Line {
            sku: sku.into(),
            quantity,
            expected_unit_price: price
                .map(|(amount_minor, currency)| common::Money { amount_minor, currency: currency.into() }),
        };
        let mut fields = Fields::default();
        fields.lines(&[
            line("tea", 1, None),
            line("tea", 0, Some((0, "EUR"))),
            line("", QUANTITY_MAX + 1, Some((1, "eur"))),
            line("a b", 1, Some((1, "EUR"))),
        ]);
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
            let mut fields = Fields::default();
            fields.lines(&vec![line("tea", 1, None); count]);
            assert_eq!(wrong(fields), ["lines"]);
        }
    }

    #[test]
    fn holds_and_pages_are_bounded() {
        let mut fields = Fields::default();
        let seconds = |seconds| prost_types::Duration { seconds, nanos: 0 };
        assert_eq!(fields.hold_for(None), None);
        assert_eq!(fields.hold_for(Some(&seconds(5))), Some(Duration::from_secs(5)));
        assert_eq!((fields.page_size(0), fields.page_size(7), fields.page_size(100)), (50, 7, 100));
        for bad in [0, -1] {
            assert_eq!(fields.hold_for(Some(&seconds(bad))), None);
        }
        fields.page_size(101);
        assert_eq!(wrong(fields), ["hold_for", "hold_for", "page_size"]);
    }
}
