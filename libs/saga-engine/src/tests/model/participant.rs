//! A participant: what it keeps for the key of its step, and how often the step is in effect. What it does about an arrival is for the
//! real [`decide`] to say.

use serde_json::Value;

use super::{Bug, machine::Learnt};
use crate::{
    participant::decide::{self, Record},
    plan::EffectKind,
};

const FINGERPRINT: &str = "same";
/// More is wrong already, and counting on would never end.
const EFFECTS_MAX: i8 = 2;

/// What is on record, without the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
enum Kept {
    #[default]
    Nothing,
    Done,
    Refused,
    Tombstone,
}

impl Kept {
    fn record(self) -> Option<Record> {
        let fingerprint = FINGERPRINT.to_owned();
        match self {
            Self::Nothing => None,
            Self::Done => Some(Record::Done { fingerprint, answer: Value::Null }),
            Self::Refused => Some(Record::Refused { fingerprint, answer: Value::Null }),
            Self::Tombstone => Some(Record::Tombstone { answer: None }),
        }
    }
}

/// The participant of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(super) struct Participant {
    kept: Kept,
    /// Times performed minus times undone.
    pub(super) effects: i8,
}

impl Participant {
    /// Whether it would be asked for its opinion.
    pub(super) fn has_a_choice(self) -> bool {
        self.kept == Kept::Nothing
    }

    /// A message arrives. `willing` is the participant's own opinion, should it be asked for it.
    pub(super) fn arrive(&mut self, kind: EffectKind, willing: bool, bug: Bug) -> Learnt {
        if bug == Bug::NoBarrier {
            return self.arrive_unguarded(kind, willing);
        }
        let record = self.kept.record();
        match kind {
            EffectKind::Act => match decide::action(record.as_ref(), FINGERPRINT) {
                decide::Action::Perform if willing => {
                    self.perform();
                    self.kept = Kept::Done;
                    Learnt::Yes
                }
                decide::Action::Perform => {
                    self.kept = Kept::Refused;
                    Learnt::No
                }
                decide::Action::Repeat(_) => Learnt::Yes,
                decide::Action::RepeatRefusal(_) | decide::Action::Compensated => Learnt::No,
                decide::Action::Mismatch => unreachable!("there is one fingerprint"),
            },
            EffectKind::Compensate => {
                match decide::compensation(record.as_ref()) {
                    decide::Compensation::Undo(_) => {
                        self.effects -= 1;
                        self.kept = Kept::Tombstone;
                    }
                    decide::Compensation::Bury => self.kept = Kept::Tombstone,
                    decide::Compensation::Already(_) => {}
                }
                Learnt::Yes
            }
            EffectKind::Close => match decide::close(record.as_ref()) {
                decide::Close::WasDone(_) => Learnt::No,
                decide::Close::Bury => {
                    self.kept = Kept::Tombstone;
                    Learnt::Yes
                }
                decide::Close::Already => Learnt::Yes,
            },
        }
    }

    /// The seeded bug: a participant that does whatever arrives, as often as it arrives.
    fn arrive_unguarded(&mut self, kind: EffectKind, willing: bool) -> Learnt {
        match kind {
            EffectKind::Act if willing => {
                self.perform();
                Learnt::Yes
            }
            EffectKind::Act => Learnt::No,
            EffectKind::Compensate => {
                self.effects = (self.effects - 1).max(0);
                Learnt::Yes
            }
            EffectKind::Close if self.effects > 0 => Learnt::No,
            EffectKind::Close => Learnt::Yes,
        }
    }

    fn perform(&mut self) {
        self.effects = (self.effects + 1).min(EFFECTS_MAX);
    }
}
