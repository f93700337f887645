//! What a step may answer. A remote call has three outcomes, not two: a timeout is not a "no".
//!
//! Must not know: how a call is made, when it is made again.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// What became of one attempt of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome<T> {
    /// It took effect.
    Done(T),
    /// It surely had no effect, and asking again would not change that.
    Refused(Refusal),
    /// It may have had an effect: a timeout, a cut connection, an internal error. It is asked again under the same key.
    Unknown(Cause),
    /// Surely nothing was sent: an open circuit breaker, a full queue, a deadline that had passed. It is asked again like
    /// [`Unknown`](Self::Unknown), but where no attempt was sent at all and the saga gives up, there is nothing to compensate. Say it
    /// only of what was stopped on this side; in doubt say `Unknown`, which costs a call, where a wrong `NotSent` costs money.
    NotSent(Cause),
}

impl<T> Outcome<T> {
    /// A refusal, by its stable code and a sentence.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, message))
    }

    /// An attempt whose effect is not known, because of the environment: no answer in time, a connection that broke.
    pub fn unknown(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Unknown(Cause::environment(code, message))
    }

    /// An attempt that was surely not sent.
    pub fn not_sent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::NotSent(Cause::environment(code, message))
    }

    /// The same outcome with another output.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(output) => Outcome::Done(with(output)),
            Self::Refused(refusal) => Outcome::Refused(refusal),
            Self::Unknown(cause) => Outcome::Unknown(cause),
            Self::NotSent(cause) => Outcome::NotSent(cause),
        }
    }
}

/// Why a participant said no.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Refusal {
    /// Stable, for programs: `insufficient_stock`.
    pub code: String,
    /// A sentence, for people. Never a secret: it is journaled and shown.
    pub message: String,
}

impl Refusal {
    /// A refusal, by its stable code and a sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What an attempt without a usable answer ended by, and with it whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum CauseKind {
    /// The environment: nothing was sent, no answer came in time, a process, a store or a disk was away or asked for a pause. It ends by
    /// itself, after however long. Such attempts never park a saga.
    #[default]
    Environment,
    /// An answer that asking again will not change: a mistake in a participant or here, a contract that is broken. A number of these
    /// ([`attempts_before_parking`](crate::Persistence::attempts_before_parking)) park the saga, and a human is told.
    Permanent,
}

impl CauseKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    const fn is_environment(&self) -> bool {
        matches!(self, Self::Environment)
    }
}

impl From<bool> for CauseKind {
    fn from(permanent: bool) -> Self {
        if permanent { Self::Permanent } else { Self::Environment }
    }
}

impl From<CauseKind> for bool {
    fn from(kind: CauseKind) -> Self {
        !kind.is_environment()
    }
}

/// Why the effect of an attempt is not known, or why an undo has not happened yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// Stable, for programs: `timeout`, `unavailable`.
    pub code: String,
    /// A sentence, for people. Never a secret: it is journaled and shown.
    pub message: String,
    /// Whether asking again can help. Journaled as a field that is absent where it can, since it was not in the first edition: what was
    /// written then does not count towards parking, and a replica that does not know the field counts every attempt, as it always did.
    #[serde(default, rename = "permanent", skip_serializing_if = "CauseKind::is_environment")]
    pub kind: CauseKind,
    /// The participant asked not to be called before this has passed.
    #[serde(default, rename = "retry_after_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub retry_after: Option<Duration>,
}

impl Cause {
    /// The environment's, by its stable code and a sentence: it ends by itself.
    pub fn environment(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), kind: CauseKind::Environment, retry_after: None }
    }

    /// One that asking again will not change, by its stable code and a sentence.
    pub fn permanent(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: CauseKind::Permanent, ..Self::environment(code, message) }
    }

    /// The participant asked not to be called before `wait` has passed.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

/// A whole number, as stores and people have it.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match wait {
            Some(wait) => serializer.serialize_u64(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What became of one attempt of a compensation. It cannot say no: "it never happened" counts as undone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Undo {
    /// There is no effect any more, and a late action will be refused.
    Undone,
    /// Not yet, or not known: it is asked again.
    NotYet(Cause),
}

/// What became of one attempt to close the pivot, so that it can never take effect later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Closed<T> {
    /// It had no effect and never will.
    Closed,
    /// It had taken effect: the saga goes forward with this output.
    WasDone(T),
    /// Not yet, or not known: it is asked again.
    NotYet(Cause),
}

/// What became of a change to the host's own tables, applied in the journal's transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum LocalOutcome {
    /// Applied; it commits together with the journal's entry.
    Applied,
    /// Not applied: the journal's entry is rolled back with it.
    Refused(Refusal),
}

/// Why a saga did not go through.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The step that decided it; none for a cancellation or a deadline between steps.
    pub step: Option<String>,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// Stable, for programs: the refusal's or the last cause's code, `cancelled`, or `deadline_exceeded`.
    pub code: String,
    /// A sentence, for people.
    pub message: String,
}

/// The kinds of failure a caller treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A participant said no.
    Refused,
    /// The attempts of a step were spent without an answer: the dependency is unavailable.
    Exhausted,
    /// The saga's own deadline passed.
    DeadlineExceeded,
    /// An operator cancelled it.
    Cancelled,
}
