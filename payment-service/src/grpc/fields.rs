//! Reads messages into domain values. Past this file nothing is validated again.

use amends_primitives::{Currency, Money, Timestamp};
use amends_protos::common::v1 as common;
use service_kit::grpc::fields::Fields;

use crate::{
    domain::{Fingerprint, StepKey},
    store::PAGE_SIZE_MAX,
};

/// What `google.protobuf.Timestamp` can say: the years 1 to 9999.
const TIME_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Where the caller does not say.
const PAGE_SIZE_DEFAULT: u32 = 50;

fn parts(key: &common::StepKey) -> (&str, &str) {
    (&key.saga_id, &key.step)
}

/// The key of an action, with its fingerprint.
pub(super) fn action(
    fields: &mut Fields,
    field: &str,
    key: Option<&common::StepKey>,
) -> Option<(StepKey, Fingerprint)> {
    fields.action(field, key.map(parts), key.map_or(&[], |key| &key.fingerprint))
}

/// The key of an action to undo.
pub(super) fn step_key(fields: &mut Fields, field: &str, key: Option<&common::StepKey>) -> Option<StepKey> {
    fields.step_key(field, key.map(parts))
}

/// A point in time that may be absent.
pub(super) fn time_if_given(
    fields: &mut Fields,
    field: &str,
    at: Option<&prost_types::Timestamp>,
) -> Option<Timestamp> {
    let prost_types::Timestamp { seconds, nanos } = *at?;
    if !TIME_SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        fields.wrong(field, "must be a point in time, in the years 1 to 9999");
        return None;
    }
    Some(Timestamp::from_micros(seconds * 1_000_000 + i64::from(nanos / 1_000)))
}

/// An amount above zero.
pub(super) fn amount(fields: &mut Fields, field: &str, money: &common::Money) -> Option<Money> {
    let currency: Option<Currency> = fields.check(format!("{field}.currency"), money.currency.parse());
    if money.amount_minor <= 0 {
        fields.wrong(format!("{field}.amount_minor"), "must be more than zero");
        return None;
    }
    Some(Money::new(money.amount_minor, currency?))
}

/// How many to list.
pub(super) fn page_size(fields: &mut Fields, asked: u32) -> u32 {
    match asked {
        0 => PAGE_SIZE_DEFAULT,
        1..=PAGE_SIZE_MAX => asked,
        _ => {
            fields.wrong("page_size", "must be 1 to 100, or 0 for 50");
            PAGE_SIZE_DEFAULT
        }
    }
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
    fn amounts_are_more_than_nothing_of_a_currency() {
        let money = |amount_minor, currency: &str| common::Money { amount_minor, currency: currency.into() };
        let mut fields = Fields::of(super::super::DOMAIN);
        assert_eq!(amount(&mut fields, "a", &money(1, "EUR")), Some(Money::new(1, Currency::EUR)));
        for (field, bad) in [("b", money(0, "EUR")), ("c", money(-1, "")), ("d", money(1, "eur"))] {
            assert_eq!(amount(&mut fields, field, &bad), None);
        }
        assert_eq!(wrong(fields), ["b.amount_minor", "c.currency", "c.amount_minor", "d.currency"]);
    }

    #[test]
    fn pages_are_bounded() {
        let mut fields = Fields::of(super::super::DOMAIN);
        assert_eq!((page_size(&mut fields, 0), page_size(&mut fields, 1), page_size(&mut fields, 100)), (50, 1, 100));
        page_size(&mut fields, 101);
        assert_eq!(wrong(fields), ["page_size"]);
    }
}
