//! Books of what took effect: participants in memory, with the barrier's rules, that know whether they balance.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use amends_primitives::SagaId;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    Closed, Outcome, Refusal, StepKey, Undo,
    participant::decide::{self, Record},
};

/// All participants' books. Cheap to clone; clones are the same books, as participants outlive an orchestrator's crash.
#[derive(Debug, Clone, Default)]
pub struct Books(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    records: BTreeMap<StepKey, Record>,
    /// How often each action took effect, minus how often it was undone.
    effects: BTreeMap<StepKey, i64>,
    /// What should never have happened.
    mistakes: Vec<String>,
    /// How long a message from here to the orchestrator takes.
    delay: Duration,
}

impl Books {
    /// New books whose participants take this long to answer.
    pub fn with_delay(delay: Duration) -> Self {
        Self(Arc::new(Mutex::new(Pages { delay, ..Pages::default() })))
    }

    async fn pause(&self) {
        let delay = self.0.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// An action arrives: it takes effect once, and repeats are answered the same.
    pub async fn act(&self, key: StepKey) -> Outcome<Value> {
        self.pause().await;
        let mut pages = self.0.lock();
        match decide::action(pages.records.get(&key), "same") {
            decide::Action::Perform => {
                let answer = Value::String(format!("{key} done"));
                pages.records.insert(key.clone(), Record::Done { fingerprint: "same".into(), answer: answer.clone() });
                let effects = pages.effects.entry(key.clone()).or_default();
                *effects += 1;
                if *effects > 1 {
                    pages.mistakes.push(format!("{key} took effect twice"));
                }
                Outcome::Done(answer)
            }
            decide::Action::Repeat(answer) => Outcome::Done(answer),
            decide::Action::RepeatRefusal(_) => Outcome::refused("no", "refused before"),
            decide::Action::Compensated => Outcome::refused("compensated", "it was compensated before it arrived"),
            decide::Action::Mismatch => Outcome::refused("mismatch", "the key was used for another request"),
        }
    }

    /// An action arrives that this participant refuses, and remembers to have refused.
    pub async fn refuse(&self, key: StepKey, refusal: Refusal) -> Outcome<Value> {
        self.pause().await;
        let mut pages = self.0.lock();
        if let decide::Action::Repeat(answer) = decide::action(pages.records.get(&key), "same") {
            return Outcome::Done(answer);
        }
        let refused = Record::Refused { fingerprint: "same".into(), answer: Value::Null };
        pages.records.entry(key.clone()).or_insert(refused);
        Outcome::Refused(refusal)
    }

    /// A compensation arrives.
    pub async fn undo(&self, key: StepKey) -> Undo {
        self.pause().await;
        let mut pages = self.0.lock();
        match decide::compensation(pages.records.get(&key)) {
            decide::Compensation::Undo(answer) => {
                *pages.effects.entry(key.clone()).or_default() -= 1;
                pages.records.insert(key.clone(), Record::Tombstone { answer: Some(answer) });
            }
            decide::Compensation::Bury => {
                pages.records.insert(key.clone(), Record::Tombstone { answer: None });
            }
            decide::Compensation::Already(_) => {}
        }
        Undo::Undone
    }

    /// A close of a pivot arrives.
    pub async fn close(&self, key: StepKey) -> Closed<Value> {
        self.pause().await;
        let mut pages = self.0.lock();
        match decide::close(pages.records.get(&key)) {
            decide::Close::WasDone(answer) => Closed::WasDone(answer),
            decide::Close::Bury => {
                pages.records.insert(key.clone(), Record::Tombstone { answer: None });
                Closed::Closed
            }
            decide::Close::Already => Closed::Closed,
        }
    }

    /// Whether the action of a step is in effect.
    pub fn is_in_effect(&self, saga_id: SagaId, step: &'static str) -> bool {
        self.0.lock().effects.get(&StepKey::of_definition(saga_id, step)).is_some_and(|effects| *effects > 0)
    }

    /// The steps of a saga whose actions are in effect, in alphabetical order.
    pub fn in_effect(&self, saga_id: SagaId) -> Vec<String> {
        let pages = self.0.lock();
        let effects = pages.effects.iter().filter(|(key, effects)| key.saga_id() == saga_id && **effects > 0);
        effects.map(|(key, _)| key.step().to_owned()).collect()
    }

    /// Everything that should never have happened: an effect twice, or undone twice.
    pub fn mistakes(&self) -> Vec<String> {
        let pages = self.0.lock();
        let negative = pages.effects.iter().filter(|(_, effects)| **effects < 0);
        let negative = negative.map(|(key, _)| format!("{key} was undone more often than done"));
        pages.mistakes.iter().cloned().chain(negative).collect()
    }
}
