//! A definition without its code: what the pure machine needs to know to decide.
//!
//! Must not know: states, outputs, ports.

use std::time::Duration;

use crate::{Journaling, Policy};

/// More steps make one journal entry exceed what a row should hold; a longer process is better cut into sagas.
pub const STEPS_MAX: usize = 64;

/// Where a step stands in its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepIndex(u8);

impl StepIndex {
    pub(crate) fn at(position: usize) -> Self {
        // The builder refuses more than `STEPS_MAX` steps.
        Self(u8::try_from(position).unwrap_or(u8::MAX))
    }

    /// The position, from 0.
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

/// What a step owes by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Before the pivot: it has a compensation.
    Compensable,
    /// The pivot: it can be closed.
    Pivot,
    /// After the pivot: it is asked until it is done.
    Retriable,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepShape {
    /// Unique within the definition.
    pub name: &'static str,
    /// What it owes by its place.
    pub role: Role,
    /// Whether it is a change to the host's own tables, which commits with the journal.
    pub local: bool,
    /// Its limits.
    pub policy: Policy,
    /// The stage it belongs to; steps of one stage are made at the same time.
    pub stage: usize,
}

/// One definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The saga's name.
    pub name: &'static str,
    /// The definition's version.
    pub version: u32,
    /// All steps, in order.
    pub steps: Vec<StepShape>,
    /// The steps of each stage.
    pub stages: Vec<Vec<StepIndex>>,
    /// From this stage on the saga only goes forward; none when every step can be compensated.
    pub commit_stage: Option<usize>,
    /// How long the saga may take until then.
    pub deadline: Option<Duration>,
    /// How much is journaled.
    pub journaling: Journaling,
}

/// One step in few words, see [`Shape::outlined`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    name: &'static str,
    role: Role,
    local: bool,
}

impl Outline {
    /// A participant's step.
    pub const fn new(name: &'static str, role: Role) -> Self {
        Self { name, role, local: false }
    }

    /// A change to the host's own tables.
    pub const fn local(name: &'static str, role: Role) -> Self {
        Self { name, role, local: true }
    }
}

impl Shape {
    /// A definition known by its steps alone, one a stage, with default limits: enough to fold its events, without the ports that its
    /// code needs. More than [`STEPS_MAX`] steps are not told apart.
    pub fn outlined(name: &'static str, version: u32, steps: &[Outline]) -> Self {
        let step = |(stage, step): (usize, &Outline)| {
            let Outline { name, role, local } = *step;
            StepShape { name, role, local, policy: Policy::default(), stage }
        };
        Self {
            name,
            version,
            steps: steps.iter().enumerate().map(step).collect(),
            stages: (0..steps.len()).map(|position| vec![StepIndex::at(position)]).collect(),
            commit_stage: steps.iter().position(|step| step.role == Role::Pivot).map(|pivot| pivot + 1),
            deadline: None,
            journaling: Journaling::Decisions,
        }
    }

    /// One step.
    pub fn step(&self, index: StepIndex) -> &StepShape {
        &self.steps[index.position()]
    }

    /// The step of that name.
    pub fn index_of(&self, name: &str) -> Option<StepIndex> {
        self.steps.iter().position(|step| step.name == name).map(StepIndex::at)
    }

    /// All steps, in order.
    pub fn indices(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.steps.len()).map(StepIndex::at)
    }

    /// The pivot, if one step is it.
    pub fn pivot(&self) -> Option<StepIndex> {
        self.indices().find(|index| self.step(*index).role == Role::Pivot)
    }
}
