//! Reads messages into domain values, and collects what is wrong with them, so that the caller hears everything at once. Past this
//! file nothing is validated again.

use std::{fmt::Display, str::FromStr};

use amends_primitives::{Currency, InvalidStepKey, Money, Timestamp};
use amends_protos::common::v1 as common;
use service_base::problem::FieldError;
use tonic::Status;

use super::status;
use crate::{
    domain::{Fingerprint, StepKey},
    store::PAGE_SIZE_MAX,
};

/// What `google.protobuf.Timestamp` can say: the years 1 to 9999.
const TIME_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Where the caller does not say.
const PAGE_SIZE_DEFAULT: u32 = 50;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<FieldError>);

impl Fields {
    /// Notes that a field is wrong.
    pub(super) fn wrong(&mut self, field: impl Into<String>, why: impl Display) {
        self.0.push(FieldError { field: field.into(), message: why.to_string() });
    }

    /// The value, or a note in its place.
    pub(super) fn good<T, E: Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|why| self.wrong(field, why)).ok()
    }

    /// A text that must be there.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            self.wrong(field, "must be given");
            return None;
        }
        self.good(field, text.parse())
    }

    /// A text that may be absent.
    pub(super) fn parsed_if_given<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() { None } else { self.good(field, text.parse()) }
    }

    /// A point in time that may be absent.
    pub(super) fn time_if_given(&mut self, field: &str, at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
        let prost_types::Timestamp { seconds, nanos } = *at?;
        if !TIME_SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
            self.wrong(field, "must be a point in time, in the years 1 to 9999");
            return None;
        }
        Some(Timestamp::from_micros(seconds * 1_000_000 + i64::from(nanos / 1_000)))
    }

    /// The key of an action, with its fingerprint.
    pub(super) fn action(&mut self, field: &str, key: Option<&common::StepKey>) -> Option<(StepKey, Fingerprint)> {
        let step = self.step_key(field, key);
        let fingerprint = Fingerprint::try_from(key?.fingerprint.as_slice());
        let fingerprint = self.good(format!("{field}.fingerprint"), fingerprint);
        step.zip(fingerprint)
    }

    /// The key of an action to undo. Its fingerprint is not asked for: undoing cannot be refused.
    pub(super) fn step_key(&mut self, field: &str, key: Option<&common::StepKey>) -> Option<StepKey> {
        let Some(key) = key else {
            self.wrong(field, "must be given");
            return None;
        };
        let saga = self.good(format!("{field}.saga_id"), key.saga_id.parse().map_err(|_| InvalidStepKey::SagaId));
        // Whatever the saga, so that both parts are judged.
        let stand_in = amends_primitives::SagaId::new(uuid::Uuid::nil());
        let step = self.good(format!("{field}.step"), StepKey::try_new(saga.unwrap_or(stand_in), &key.step));
        saga.and(step)
    }

    /// An amount above zero.
    pub(super) fn amount(&mut self, field: &str, money: &common::Money) -> Option<Money> {
        let currency: Option<Currency> = self.good(format!("{field}.currency"), money.currency.parse());
        if money.amount_minor <= 0 {
            self.wrong(format!("{field}.amount_minor"), "must be more than zero");
            return None;
        }
        Some(Money::new(money.amount_minor, currency?))
    }

    /// How many to list.
    pub(super) fn page_size(&mut self, asked: u32) -> u32 {
        match asked {
            0 => PAGE_SIZE_DEFAULT,
            1..=PAGE_SIZE_MAX => asked,
            _ => {
                self.wrong("page_size", "must be 1 to 100, or 0 for 50");
                PAGE_SIZE_DEFAULT
            }
        }
    }

    /// The value, if nothing at all was wrong. It is `None` only when something was.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(status::invalid(self.0)),
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
    fn a_step_key_is_judged_part_by_part() {
        let key = |saga_id: &str, step: &str, fingerprint: &[u8]| common::StepKey {
            saga_id: saga_id.into(),
            step: step.into(),
            fingerprint: fingerprint.to_vec(),
            attempt: 1,
        };
        let saga = "0198c0de-0000-7000-8000-000000000001";
        let mut fields = Fields::default();
        assert!(fields.action("k", Some(&key(saga, "charge_payment", &[0; 32]))).is_some());
        assert!(fields.step_key("k", Some(&key(saga, "charge_payment", &[]))).is_some());
        assert!(fields.action("a", None).is_none());
        assert!(fields.action("b", Some(&key("", "", &[]))).is_none());
        assert!(fields.step_key("c", Some(&key("x", "Charge", &[]))).is_none());
        assert_eq!(wrong(fields), ["a", "b.saga_id", "b.step", "b.fingerprint", "c.saga_id", "c.step"]);
    }

    #[test]
    fn amounts_are_more_than_nothing_of_a_currency() {
        let money = |amount_minor, currency: &str| common::Money { amount_minor, currency: currency.into() };
        let mut fields = Fields::default();
        assert_eq!(fields.amount("a", &money(1, "EUR")), Some(Money::new(1, Currency::EUR)));
        for (field, bad) in [("b", money(0, "EUR")), ("c", money(-1, "")), ("d", money(1, "eur"))] {
            assert_eq!(fields.amount(field, &bad), None);
        }
        assert_eq!(wrong(fields), ["b.amount_minor", "c.currency", "c.amount_minor", "d.currency"]);
    }

    #[test]
    fn pages_are_bounded() {
        let mut fields = Fields::default();
        assert_eq!((fields.page_size(0), fields.page_size(1), fields.page_size(100)), (50, 1, 100));
        fields.page_size(101);
        assert_eq!(wrong(fields), ["page_size"]);
    }
}
