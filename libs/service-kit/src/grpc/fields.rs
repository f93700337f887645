//! Reads a message's fields, and collects what is wrong with them, so that the caller hears everything at once.
//!
//! Must not know: messages.

use std::{fmt::Display, str::FromStr};

use amends_primitives::{Fingerprint, InvalidStepKey, StepKey};
use tonic::Status;

use service_base::problem::{Code, Domain, FieldError, Problem};

/// A request of that domain whose fields are wrong.
pub fn invalid(domain: Domain, fields: Vec<FieldError>) -> Status {
    let message =
        fields.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.message)).collect::<Vec<_>>().join("; ");
    Problem::of(Code::InvalidArgument, message).domain(domain).fields(fields).into()
}

/// What is wrong so far with a request of a domain.
#[derive(Debug)]
pub struct Fields {
    domain: Domain,
    wrong: Vec<FieldError>,
}

impl Fields {
    /// Nothing yet.
    pub const fn of(domain: Domain) -> Self {
        Self { domain, wrong: Vec::new() }
    }

    /// Notes that a field is wrong.
    pub fn wrong(&mut self, field: impl Into<String>, message: impl Display) {
        self.wrong.push(FieldError { field: field.into(), message: message.to_string() });
    }

    /// The value, or a note in its place.
    pub fn check<T, E: Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.wrong(field, error)).ok()
    }

    /// A field that must be there.
    pub fn given<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        self.check(field, value.ok_or("must be given"))
    }

    /// A field that must be there and be the text of something.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        let text = self.given(field, Some(text).filter(|text| !text.is_empty()))?;
        self.check(field, text.parse())
    }

    /// As [`parsed`](Self::parsed), where an empty text says "any".
    pub fn parsed_if_given<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() { None } else { self.check(field, text.parse()) }
    }

    /// The key of an action to be undone or closed, by its saga's id and its step: undoing cannot be refused, so no fingerprint is asked
    /// for.
    pub fn step_key(&mut self, field: &str, key: Option<(&str, &str)>) -> Option<StepKey> {
        let (saga, step) = self.given(field, key)?;
        let saga = self.check(format!("{field}.saga_id"), saga.parse().map_err(|_| InvalidStepKey::SagaId));
        let step_field = format!("{field}.step");
        if let Some(saga) = saga {
            return self.check(step_field, StepKey::try_new(saga, step));
        }
        // Both parts are judged, whatever the saga.
        if !StepKey::is_step_name(step) {
            self.wrong(step_field, InvalidStepKey::Step);
        }
        None
    }

    /// The key of an action, with its fingerprint.
    pub fn action(&mut self, field: &str, key: Option<(&str, &str)>, digest: &[u8]) -> Option<(StepKey, Fingerprint)> {
        let step = self.step_key(field, key);
        key?;
        // Told even when the rest of the key is wrong as well.
        step.zip(self.check(format!("{field}.fingerprint"), Fingerprint::try_from(digest)))
    }

    /// The value, if nothing at all was wrong. It is `None` only when something was.
    ///
    /// # Errors
    /// With all that was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Status> {
        match value {
            Some(value) if self.wrong.is_empty() => Ok(value),
            _ => Err(invalid(self.domain, self.wrong)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn a_step_key_is_judged_part_by_part() {
        let saga = "0198c0de-0000-7000-8000-000000000001";
        let mut fields = Fields::of(Domain::Payments);
        assert!(fields.action("k", Some((saga, "charge_payment")), &[0; 32]).is_some());
        assert!(fields.step_key("k", Some((saga, "charge_payment"))).is_some());
        assert!(fields.action("a", None, &[]).is_none());
        assert!(fields.action("b", Some(("", "")), &[]).is_none());
        assert!(fields.step_key("c", Some(("x", "Charge"))).is_none());
        let refused = fields.finish(None::<()>).unwrap_err();
        assert!(refused.message().starts_with("a: must be given; b.saga_id: "), "{}", refused.message());
        let reason = refused.get_details_error_info().unwrap();
        assert_eq!((reason.reason.as_str(), reason.domain.as_str()), ("INVALID_ARGUMENT", "amends.payments"));
        let wrong = refused.get_details_bad_request().unwrap().field_violations;
        let wrong: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(wrong, ["a", "b.saga_id", "b.step", "b.fingerprint", "c.saga_id", "c.step"]);
    }

    #[test]
    fn a_wrong_field_refuses_a_message_that_could_be_read() {
        let mut fields = Fields::of(Domain::Payments);
        assert_eq!(fields.parsed::<u8>("n", "7"), Some(7));
        assert_eq!((fields.parsed_if_given::<u8>("m", ""), fields.parsed::<u8>("o", "x")), (None, None));
        let refused = fields.finish(Some(())).unwrap_err();
        assert_eq!(refused.message(), "o: invalid digit found in string");
        assert!(Fields::of(Domain::Payments).finish(Some(())).is_ok());
    }
}
