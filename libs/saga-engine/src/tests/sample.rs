//! A saga to test with: a trip. Hotel and flight are booked together, the card is charged, the ticket is issued (pivot), the mail is
//! sent, and the host notes that it is confirmed.

use std::{collections::BTreeMap, sync::Arc};

use amends_primitives::{SagaId, Timestamp};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Cause, Closed, Compensable, Definition, Failure, LocalOutcome, LocalStep, Outcome, Pivot, Policy, Saga, Step,
    StepContext, Undo,
    testkit::{Books, MemoryJournal},
};

pub(super) struct Trip;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct TripState {
    pub(super) id: Option<SagaId>,
    pub(super) outputs: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note(pub(super) SagaId, pub(super) &'static str);

impl Saga for Trip {
    const NAME: &'static str = "trip";
    const VERSION: u32 = 1;
    type State = TripState;
    type Local = Note;

    fn on_unwound(state: &TripState, _failure: &Failure) -> Option<Note> {
        state.id.map(|id| Note(id, "failed"))
    }

    fn on_parked(state: &TripState, _cause: &Cause) -> Option<Note> {
        state.id.map(|id| Note(id, "parked"))
    }
}

macro_rules! step {
    ($name:ident, $text:literal) => {
        pub(super) struct $name(pub(super) Books);

        #[async_trait]
        impl Step<Trip> for $name {
            const NAME: &'static str = $text;
            type Output = Value;

            async fn act(&self, _state: &TripState, context: &StepContext) -> Outcome<Value> {
                self.0.act(context.key.clone()).await
            }

            fn record(state: &mut TripState, output: Value) {
                state.outputs.insert($text.to_owned(), output);
            }
        }
    };
}

macro_rules! compensable {
    ($name:ident, $text:literal) => {
        step!($name, $text);

        #[async_trait]
        impl Compensable<Trip> for $name {
            async fn compensate(&self, _state: &TripState, context: &StepContext) -> Undo {
                self.0.undo(context.key.clone()).await
            }
        }
    };
}

compensable!(BookHotel, "book_hotel");
compensable!(BookFlight, "book_flight");
compensable!(ChargeCard, "charge_card");
step!(IssueTicket, "issue_ticket");
step!(SendMail, "send_mail");

#[async_trait]
impl Pivot<Trip> for IssueTicket {
    async fn close(&self, _state: &TripState, context: &StepContext) -> Closed<Value> {
        self.0.close(context.key.clone()).await
    }
}

pub(super) struct Confirm;

impl LocalStep<Trip> for Confirm {
    const NAME: &'static str = "confirm";

    fn change(&self, _state: &TripState, context: &StepContext) -> Note {
        Note(context.key.saga_id(), "confirmed")
    }
}

pub(super) fn trip(books: &Books) -> Definition<Trip> {
    let policy = Policy::default;
    Definition::builder()
        .parallel(|group| group.step(BookHotel(books.clone()), policy()).step(BookFlight(books.clone()), policy()))
        .step(ChargeCard(books.clone()), policy())
        .pivot(IssueTicket(books.clone()), policy())
        .retriable(SendMail(books.clone()), policy())
        .local(Confirm)
        .build()
        .unwrap()
}

pub(super) const ALL: [&str; 5] = ["book_flight", "book_hotel", "charge_card", "issue_ticket", "send_mail"];

/// The host's table: what became of each trip.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<BTreeMap<SagaId, Vec<&'static str>>>>);

impl Notes {
    pub(super) fn journal(&self) -> MemoryJournal<Note> {
        let notes = self.clone();
        MemoryJournal::new(move |note: &Note, _now: Timestamp| {
            notes.0.lock().entry(note.0).or_default().push(note.1);
            LocalOutcome::Applied
        })
    }

    pub(super) fn of(&self, id: SagaId) -> Vec<&'static str> {
        self.0.lock().get(&id).cloned().unwrap_or_default()
    }
}
