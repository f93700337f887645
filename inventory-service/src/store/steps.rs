//! Step keys: one effect and one answer per key, whatever is repeated, delayed or compensated.
//!
//! Refusals are stored as well as deeds: a delayed twin of a refused request must not succeed later, when the saga that sent
//! it has long moved on.

use amends_primitives::{ReservationId, Timestamp};
use amends_sql::{Dialect, SqlError, Tx};
use saga_engine::participant::{Barrier, BarrierError, BeginAction};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::reservations;
use crate::{
    domain::{Rejection, Reservation, State},
    ports::{ActionKey, Answer, Refusal},
};

/// What is kept under the key of a step that took effect. Only what cannot be read elsewhere: a reservation's lines and times
/// never change. Under the key of a refused step, its [`Rejection`] is kept.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    reservation: ReservationId,
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, SqlError> {
    serde_json::from_value(answer).map_err(|_| SqlError::Corrupt { what: "step answer" })
}

fn write(answer: &impl Serialize) -> Result<Value, SqlError> {
    serde_json::to_value(answer).map_err(|_| SqlError::Corrupt { what: "step answer" })
}

/// The reservation that a stored answer is about.
pub(super) fn reservation_of(answer: Value) -> Result<ReservationId, SqlError> {
    Ok(read::<Done>(answer)?.reservation)
}

/// An action that was not finished in its own transaction cannot be stored by this program.
pub(super) fn sql_error(error: BarrierError) -> SqlError {
    match error {
        BarrierError::Sql(error) => error,
        BarrierError::NotOpen(_) => SqlError::Corrupt { what: "saga_barrier" },
    }
}

/// Claims an action's key. `Some` is the answer to give instead of acting: that of the first time, `state` being what the
/// action had led to then, or a refusal; `late` is the one for a key that was compensated or closed.
pub(super) async fn claim(
    tx: &mut Tx,
    dialect: Dialect,
    action: &ActionKey,
    now: Timestamp,
    state: State,
    late: Refusal,
) -> Result<Option<Answer<Reservation>>, SqlError> {
    let begun = Barrier::new(dialect).begin_action(tx, &action.step, &action.fingerprint.to_string(), now).await;
    instead(tx, begun.map_err(sql_error)?, state, late).await
}

/// Claims an action's key for what has been decided about it, and keeps that under the key. `Some` is the answer to give instead, as
/// [`claim`]'s is; nothing may be written then.
pub(super) async fn claim_for(
    tx: &mut Tx,
    dialect: Dialect,
    action: &ActionKey,
    now: Timestamp,
    decided: Result<ReservationId, &Rejection>,
    state: State,
    late: Refusal,
) -> Result<Option<Answer<Reservation>>, SqlError> {
    let (barrier, fingerprint) = (Barrier::new(dialect), action.fingerprint.to_string());
    let begun = barrier.act_at_once(tx, &action.step, &fingerprint, stored(decided)?.as_ref(), now).await;
    instead(tx, begun.map_err(sql_error)?, state, late).await
}

/// Keeps a refusal under a key that this transaction has [claimed for](claim_for) a success.
pub(super) async fn refuse_after_all(
    tx: &mut Tx,
    dialect: Dialect,
    action: &ActionKey,
    now: Timestamp,
    refused: &Rejection,
) -> Result<(), SqlError> {
    let refused = Barrier::new(dialect).refuse_after_all(tx, &action.step, &write(refused)?, now).await;
    refused.map_err(sql_error)
}

/// The answer to give instead of acting.
async fn instead(
    tx: &mut Tx,
    begun: BeginAction,
    state: State,
    late: Refusal,
) -> Result<Option<Answer<Reservation>>, SqlError> {
    let answer = match begun {
        BeginAction::First => return Ok(None),
        BeginAction::Compensated => Err(late),
        BeginAction::Mismatch => Err(Refusal::StepKeyReused),
        BeginAction::RepeatRefusal(answer) => Err(read::<Rejection>(answer)?.into()),
        BeginAction::Repeat(answer) => {
            let first = reservations::load(tx, reservation_of(answer)?).await?;
            Ok(Reservation { state, ..first.ok_or(SqlError::Corrupt { what: "step answer" })? })
        }
    };
    Ok(Some(answer))
}

/// Keeps what was decided under a key that this transaction has [claimed](claim).
pub(super) async fn keep(
    tx: &mut Tx,
    dialect: Dialect,
    action: &ActionKey,
    now: Timestamp,
    decided: Result<ReservationId, &Rejection>,
) -> Result<(), SqlError> {
    let barrier = Barrier::new(dialect);
    let kept = match stored(decided)? {
        Ok(done) => barrier.finish(tx, &action.step, &done, now).await,
        Err(refused) => barrier.refuse(tx, &action.step, &refused, now).await,
    };
    kept.map_err(sql_error)
}

/// What is kept of a decision.
fn stored(decided: Result<ReservationId, &Rejection>) -> Result<Result<Value, Value>, SqlError> {
    Ok(match decided {
        Ok(reservation) => Ok(write(&Done { reservation })?),
        Err(rejection) => Err(write(rejection)?),
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use amends_primitives::{Currency, Money};
    use uuid::Uuid;

    use super::*;

    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(answer: &T, golden: &str) {
        let stored: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(&read::<T>(stored.clone()).unwrap(), answer);
        assert_eq!(write(answer).unwrap(), stored);
    }

    /// What old rows hold must stay readable: change the reader, never these texts.
    #[test]
    fn stored_answers_of_version_1_are_read() {
        let reservation = ReservationId::new(Uuid::from_u128(1));
        let sku = || "tea".parse().unwrap();
        let eur = |minor| Money::new(minor, Currency::EUR);
        check(&Done { reservation }, include_str!("../../tests/golden/done.v1.json"));
        check(&Rejection::UnknownSku { sku: sku() }, include_str!("../../tests/golden/unknown_sku.v1.json"));
        check(
            &Rejection::PriceMismatch { sku: sku(), expected: eur(1), actual: eur(2) },
            include_str!("../../tests/golden/price_mismatch.v1.json"),
        );
        check(
            &Rejection::InsufficientStock { sku: sku(), requested: 3, available: 2 },
            include_str!("../../tests/golden/insufficient_stock.v1.json"),
        );
        check(
            &Rejection::ReservationNotFound { reservation },
            include_str!("../../tests/golden/reservation_not_found.v1.json"),
        );
        check(
            &Rejection::ReservationExpired { reservation },
            include_str!("../../tests/golden/reservation_expired.v1.json"),
        );
        check(
            &Rejection::ReservationReleased { reservation },
            include_str!("../../tests/golden/reservation_released.v1.json"),
        );
        check(
            &Rejection::NotAllowed { reservation, state: State::Committed, command: "commit".into() },
            include_str!("../../tests/golden/not_allowed.v1.json"),
        );
    }
}
