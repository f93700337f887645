//! What happens to a saga, as its host is told of it: for the host's log.
//!
//! Told is what came of something: the start, each attempt's end, each decision, a takeover, the end. Decisions are told once they are
//! durable; an attempt's end is told when it is known, and again by the replica that takes the saga over and repeats the attempt.
//!
//! Must not know: how it is told, and what the saga is about.

use amends_primitives::SagaId;

use crate::{Status, TraceContext, event::Event, shape::Shape, state::State};

/// One thing that happened to a saga, see [`Saga::tell`](crate::Saga::tell).
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The saga.
    pub id: SagaId,
    /// The trace it was started in, also after a takeover.
    pub trace: &'a TraceContext,
    /// What happened.
    pub happened: Happened<'a>,
    pub(crate) shape: &'a Shape,
    pub(crate) state: &'a State,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happened<'a> {
    /// It was started, and its start is durable.
    Started,
    /// An event of its journal. Never the beginning of an attempt: what came of it is told.
    Event(&'a Event),
}

impl Told<'_> {
    /// The saga's name.
    pub const fn name(&self) -> &'static str {
        self.shape.name
    }

    /// Where the saga stands after it.
    pub const fn status(&self) -> Status {
        self.state.status()
    }

    /// The step that the saga is at after it; none once it has settled.
    pub fn step(&self) -> Option<&'static str> {
        self.state.current_step(self.shape).map(|index| self.shape.step(index).name)
    }
}

impl Event {
    /// Whether it only says that an attempt begins.
    pub(crate) const fn is_beginning(&self) -> bool {
        matches!(self, Self::StepStarted { .. } | Self::CompensationStarted { .. } | Self::CloseStarted { .. })
    }
}
