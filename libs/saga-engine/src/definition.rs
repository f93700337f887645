//! A saga as data: its steps in order, the pivot, the limits. The builder's type makes "after the pivot only retriable steps"
//! a rule of the compiler.
//!
//! Must not know: how steps are run or journaled.

use std::{collections::HashSet, marker::PhantomData, sync::Arc, time::Duration};

use amends_primitives::{InvalidStepKey, StepKey};

use crate::{
    Compensable, Journaling, LocalStep, Pivot, Policy, Saga, Step,
    erased::{self, ErasedStep},
    shape::{Role, STEPS_MAX, Shape, StepIndex, StepShape},
};

/// The steps of one kind of saga, ready to be registered with an engine.
pub struct Definition<S: Saga> {
    pub(crate) shape: Arc<Shape>,
    pub(crate) steps: Arc<[Box<dyn ErasedStep<S>>]>,
}

impl<S: Saga> Definition<S> {
    /// Begins a definition.
    pub fn builder() -> Builder<S, BeforePivot> {
        Builder {
            steps: Vec::new(),
            shapes: Vec::new(),
            stages: Vec::new(),
            commit_stage: None,
            deadline: Some(Duration::from_secs(30)),
            journaling: Journaling::default(),
            place: PhantomData,
        }
    }

    /// The steps, the pivot and the limits, as plain data.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl<S: Saga> Clone for Definition<S> {
    fn clone(&self) -> Self {
        Self { shape: Arc::clone(&self.shape), steps: Arc::clone(&self.steps) }
    }
}

/// Why a definition cannot be built: mistakes of the programmer, found at start-up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// There is nothing to do.
    #[error("the saga {saga} has no step")]
    Empty {
        /// The saga's name.
        saga: &'static str,
    },
    /// Step keys would not be unique.
    #[error("the saga {saga} has two steps named {step}")]
    DuplicateStep {
        /// The saga's name.
        saga: &'static str,
        /// The step's name.
        step: &'static str,
    },
    /// Its key would be none.
    #[error("the saga {saga} has a step named {step:?}, which is no name: {}", InvalidStepKey::Step)]
    StepName {
        /// The saga's name.
        saga: &'static str,
        /// The step's name.
        step: &'static str,
    },
    /// See [`STEPS_MAX`](crate::shape::STEPS_MAX).
    #[error("the saga {saga} has more than {STEPS_MAX} steps")]
    TooManySteps {
        /// The saga's name.
        saga: &'static str,
    },
}

/// Marks a builder whose next step may still be compensated.
pub enum BeforePivot {}
/// Marks a builder whose next step can only go forward.
pub enum AfterPivot {}

/// Puts a definition together; see [`Definition::builder`].
pub struct Builder<S: Saga, Place> {
    steps: Vec<Box<dyn ErasedStep<S>>>,
    shapes: Vec<StepShape>,
    stages: Vec<Vec<StepIndex>>,
    commit_stage: Option<usize>,
    deadline: Option<Duration>,
    journaling: Journaling,
    place: PhantomData<Place>,
}

impl<S: Saga, Place> Builder<S, Place> {
    /// How long the saga may take until its pivot is done; past that it unwinds. Default 30 s. It is not a caller's deadline: callers
    /// stop waiting, sagas go on.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How much is journaled. Default [`Journaling::Decisions`].
    #[must_use]
    pub fn journaling(mut self, journaling: Journaling) -> Self {
        self.journaling = journaling;
        self
    }

    /// The definition.
    ///
    /// # Errors
    /// When it has no step, too many, two of one name, or one whose name cannot be in a step key.
    pub fn build(self) -> Result<Definition<S>, DefinitionError> {
        let saga = S::NAME;
        if self.steps.is_empty() {
            return Err(DefinitionError::Empty { saga });
        }
        if self.steps.len() > STEPS_MAX {
            return Err(DefinitionError::TooManySteps { saga });
        }
        if let Some(bad) = self.shapes.iter().find(|shape| !StepKey::is_step_name(shape.name)) {
            return Err(DefinitionError::StepName { saga, step: bad.name });
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.shapes.iter().find(|shape| !names.insert(shape.name)) {
            return Err(DefinitionError::DuplicateStep { saga, step: twice.name });
        }
        let shape = Shape {
            name: saga,
            version: S::VERSION,
            steps: self.shapes,
            stages: self.stages,
            commit_stage: self.commit_stage,
            deadline: self.deadline,
            journaling: self.journaling,
        };
        Ok(Definition { shape: Arc::new(shape), steps: self.steps.into() })
    }

    fn push(&mut self, step: Box<dyn ErasedStep<S>>, role: Role, local: bool, policy: Policy, together: bool) {
        let index = StepIndex::at(self.steps.len());
        if together && let Some(last) = self.stages.last_mut() {
            last.push(index);
        } else {
            self.stages.push(vec![index]);
        }
        let stage = self.stages.len() - 1;
        self.shapes.push(StepShape { name: step.name(), role, local, policy, stage });
        self.steps.push(step);
    }

    fn moved<Other>(self) -> Builder<S, Other> {
        Builder {
            steps: self.steps,
            shapes: self.shapes,
            stages: self.stages,
            commit_stage: self.commit_stage,
            deadline: self.deadline,
            journaling: self.journaling,
            place: PhantomData,
        }
    }
}

impl<S: Saga> Builder<S, BeforePivot> {
    /// The next step, which can be compensated.
    #[must_use]
    pub fn step<T: Compensable<S>>(mut self, step: T, policy: Policy) -> Self {
        self.push(Box::new(erased::OfCompensable(step)), Role::Compensable, false, policy, false);
        self
    }

    /// The next steps, made at the same time and compensated at the same time.
    #[must_use]
    pub fn parallel(mut self, group: impl FnOnce(Group<'_, S, BeforePivot>) -> Group<'_, S, BeforePivot>) -> Self {
        group(Group { builder: &mut self, first: true });
        self
    }

    /// The next step: a change to the host's own tables, with its undo.
    #[must_use]
    pub fn local<T: LocalStep<S>>(mut self, step: T) -> Self {
        self.push(Box::new(erased::OfLocal(step)), Role::Compensable, true, Policy::default(), false);
        self
    }

    /// The pivot: once it is done, the saga only goes forward.
    #[must_use]
    pub fn pivot<T: Pivot<S>>(mut self, step: T, policy: Policy) -> Builder<S, AfterPivot> {
        self.push(Box::new(erased::OfPivot(step)), Role::Pivot, false, policy, false);
        self.commit_stage = Some(self.stages.len());
        self.moved()
    }

    /// The pivot, as a change to the host's own tables: it is never in doubt and needs no closing.
    #[must_use]
    pub fn local_pivot<T: LocalStep<S>>(mut self, step: T) -> Builder<S, AfterPivot> {
        self.push(Box::new(erased::OfLocal(step)), Role::Pivot, true, Policy::default(), false);
        self.commit_stage = Some(self.stages.len());
        self.moved()
    }

    /// From here on the saga only goes forward, though no participant's step is the pivot: having come here is enough. After other steps
    /// this is a pivot of its own, named `go_forward`, which is journaled before the saga goes on.
    #[must_use]
    pub fn forward_only(mut self) -> Builder<S, AfterPivot> {
        if !self.steps.is_empty() {
            self.push(Box::new(erased::OfNothing), Role::Pivot, true, Policy::default(), false);
        }
        self.commit_stage = Some(self.stages.len());
        self.moved()
    }
}

impl<S: Saga> Builder<S, AfterPivot> {
    /// The next step, asked until it is done.
    #[must_use]
    pub fn retriable<T: Step<S>>(mut self, step: T, policy: Policy) -> Self {
        self.push(Box::new(erased::OfRetriable(step)), Role::Retriable, false, policy, false);
        self
    }

    /// The next steps, made at the same time.
    #[must_use]
    pub fn parallel(mut self, group: impl FnOnce(Group<'_, S, AfterPivot>) -> Group<'_, S, AfterPivot>) -> Self {
        group(Group { builder: &mut self, first: true });
        self
    }

    /// The next step: a change to the host's own tables. As the last step it costs no commit of its own.
    #[must_use]
    pub fn local<T: LocalStep<S>>(mut self, step: T) -> Self {
        self.push(Box::new(erased::OfLocal(step)), Role::Retriable, true, Policy::default(), false);
        self
    }
}

/// Steps made at the same time.
pub struct Group<'builder, S: Saga, Place> {
    builder: &'builder mut Builder<S, Place>,
    first: bool,
}

impl<S: Saga> Group<'_, S, BeforePivot> {
    /// One of them.
    #[must_use]
    pub fn step<T: Compensable<S>>(mut self, step: T, policy: Policy) -> Self {
        self.builder.push(Box::new(erased::OfCompensable(step)), Role::Compensable, false, policy, !self.first);
        self.first = false;
        self
    }
}

impl<S: Saga> Group<'_, S, AfterPivot> {
    /// One of them.
    #[must_use]
    pub fn retriable<T: Step<S>>(mut self, step: T, policy: Policy) -> Self {
        self.builder.push(Box::new(erased::OfRetriable(step)), Role::Retriable, false, policy, !self.first);
        self.first = false;
        self
    }
}
