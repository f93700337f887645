//! Bookkeeping: the state after an event. No rules here; an event that does not fit is corruption, not a refusal.

use super::{Event, State};

/// History that this program cannot have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event {event} cannot follow the state {state}")]
pub struct CorruptHistory {
    /// Where the order stood.
    pub state: &'static str,
    /// What is said to have happened.
    pub event: &'static str,
}

/// Folds one event.
///
/// # Errors
/// When the event cannot follow the state.
pub fn evolve(state: State, event: &Event) -> Result<State, CorruptHistory> {
    use Event as E;
    use State as S;
    Ok(match (state, event) {
        (S::New, E::Placed { .. }) => S::Pending,
        (S::Pending, E::Confirmed { receipt, at }) => S::Confirmed { receipt: *receipt, at: *at },
        (S::Pending, E::Failed { failure, refunded, at }) => {
            S::Failed { failure: failure.clone(), refunded: *refunded, at: *at }
        }
        (S::Confirmed { receipt, at }, E::CancellationBegun { by }) => {
            S::Cancelling { receipt, confirmed_at: at, by: *by }
        }
        (S::Cancelling { receipt, confirmed_at, .. }, E::Cancelled { by }) => {
            S::Cancelled { receipt, confirmed_at, by: *by }
        }
        (S::Confirmed { receipt, at }, E::Shipped) => S::Shipped { receipt, confirmed_at: at },
        (state, event) => return Err(CorruptHistory { state: state.name(), event: event.kind() }),
    })
}

#[cfg(test)]
mod tests {
    use amends_primitives::{Currency, Money, PaymentId, ReservationId, SagaId, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Applied, Command, Failure, FailureCode, Line, Quantity, Receipt, Rejection, Sku, decide};

    fn receipt() -> Receipt {
        Receipt { payment: PaymentId::new(Uuid::from_u128(1)), reservation: ReservationId::new(Uuid::from_u128(2)) }
    }

    /// A word with a 2 is the same command about something else.
    fn command(word: &str) -> Command {
        let is_other = word.ends_with('2');
        let by = SagaId::new(Uuid::from_u128(if is_other { 4 } else { 3 }));
        match word.trim_end_matches('2') {
            "place" => Command::Place {
                lines: vec![Line {
                    sku: Sku::try_new("a").unwrap(),
                    quantity: Quantity::try_new(2).unwrap(),
                    unit_price: Money::new(5, Currency::EUR),
                }],
            },
            "confirm" if is_other => {
                Command::Confirm { receipt: Receipt { payment: PaymentId::new(Uuid::from_u128(9)), ..receipt() } }
            }
            "confirm" => Command::Confirm { receipt: receipt() },
            "fail" => Command::Fail {
                failure: Failure {
                    code: FailureCode::PaymentDeclined,
                    message: if is_other { "never" } else { "no" }.into(),
                },
                refunded: None,
            },
            "cancelling" => Command::MarkCancelling { by },
            "cancelled" => Command::MarkCancelled { by },
            "ship" => Command::Ship,
            other => panic!("{other}"),
        }
    }

    /// Runs commands separated by `|` and says where the order stands, or what refused it.
    fn check(script: &str, expected: &str) {
        let mut state = State::New;
        let mut outcome = String::new();
        for word in script.split(" | ") {
            outcome = match decide(&state, &command(word), Timestamp::from_millis(1)) {
                Ok(Applied::Now(event)) => {
                    state = evolve(state, &event).unwrap();
                    state.name().to_owned()
                }
                Ok(Applied::Already) => format!("already {}", state.name()),
                Err(rejection) => format!("refused: {rejection}"),
            };
        }
        assert_eq!(outcome, expected, "{script}");
    }

    #[test]
    fn the_life_of_an_order() {
        check("place", "pending");
        check("place | confirm", "confirmed");
        check("place | fail", "failed");
        check("place | confirm | cancelling | cancelled", "cancelled");
        check("place | confirm | ship", "shipped");
    }

    #[test]
    fn the_same_again_is_already() {
        check("place | confirm | confirm", "already confirmed");
        check("place | fail | fail", "already failed");
        check("place | confirm | cancelling | cancelling", "already cancelling");
        check("place | confirm | cancelling | cancelled | cancelling", "already cancelled");
        check("place | confirm | cancelling | cancelled | cancelled", "already cancelled");
        check("place | confirm | ship | ship", "already shipped");
    }

    #[test]
    fn what_does_not_fit_names_the_pair() {
        check("place | cancelling", "refused: an order that is pending cannot cancel");
        check("place | fail | cancelling", "refused: an order that is failed cannot cancel");
        check("place | fail | confirm", "refused: an order that is failed cannot confirm");
        check("place | confirm | fail", "refused: an order that is confirmed cannot fail");
        check("place | confirm | ship | cancelling", "refused: an order that is shipped cannot cancel");
        check("place | confirm | cancelling | ship", "refused: an order that is cancelling cannot ship");
        check("place | confirm | cancelling | cancelling2", "refused: an order that is cancelling cannot cancel");
        check(
            "place | confirm | cancelling | cancelled2",
            "refused: an order that is cancelling cannot mark as cancelled",
        );
        check("place | confirm | confirm2", "refused: an order that is confirmed cannot confirm");
        check("place | fail | fail2", "refused: an order that is failed cannot fail");
        let cancelled = "place | confirm | cancelling | cancelled";
        check(&format!("{cancelled} | cancelling2"), "refused: an order that is cancelled cannot cancel");
        check(&format!("{cancelled} | cancelled2"), "refused: an order that is cancelled cannot mark as cancelled");
        check("place | place", "refused: an order that is pending cannot place");
        check("confirm", "refused: an order that is new cannot confirm");
    }

    #[test]
    fn history_that_does_not_fit_names_the_event() {
        let kinds = ["place", "confirm", "fail", "cancelling", "cancelled", "ship"].map(|word| {
            let state = match word {
                "place" => State::New,
                "confirm" | "fail" => State::Pending,
                "cancelled" => {
                    let by = SagaId::new(Uuid::from_u128(3));
                    State::Cancelling { receipt: receipt(), confirmed_at: Timestamp::default(), by }
                }
                _ => State::Confirmed { receipt: receipt(), at: Timestamp::default() },
            };
            let Ok(Applied::Now(event)) = decide(&state, &command(word), Timestamp::default()) else {
                panic!("{word}")
            };
            let wrong = if word == "place" { State::Pending } else { State::New };
            evolve(wrong, &event).unwrap_err().to_string()
        });
        let expected = ["confirmed", "failed", "cancellation_begun", "cancelled", "shipped"]
            .map(|event| format!("the event order_{event} cannot follow the state new"));
        assert_eq!(kinds[0], "the event order_placed cannot follow the state pending");
        assert_eq!(kinds[1..], expected);
    }

    #[test]
    fn an_order_of_nothing_to_pay_is_refused() {
        let mut place = command("place");
        if let Command::Place { lines } = &mut place {
            lines[0].unit_price = Money::zero(Currency::EUR);
        }
        assert_eq!(decide(&State::New, &place, Timestamp::default()), Err(Rejection::NothingToPay));
    }

    #[test]
    fn every_decision_can_be_folded_and_nothing_else() {
        // Every reachable state against every command: what decide says happens, evolve accepts.
        let scripts = [
            "",
            "place",
            "place confirm",
            "place fail",
            "place confirm cancelling",
            "place confirm cancelling cancelled",
            "place confirm ship",
        ];
        let words = ["place", "confirm", "fail", "cancelling", "cancelled", "ship"];
        for script in scripts {
            let state = script.split_whitespace().fold(State::New, |state, word| {
                match decide(&state, &command(word), Timestamp::default()).unwrap() {
                    Applied::Now(event) => evolve(state, &event).unwrap(),
                    Applied::Already => state,
                }
            });
            for word in words {
                if let Ok(Applied::Now(event)) = decide(&state, &command(word), Timestamp::default()) {
                    assert!(evolve(state.clone(), &event).is_ok(), "{script}: {word}");
                }
            }
        }
        assert!(evolve(State::New, &Event::Shipped).is_err());
    }
}
