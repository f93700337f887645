//! One saga, the replicas that may run it, its participants and the network between them, as a Stateright model.
//!
//! | modelled | how | what follows |
//! |---|---|---|
//! | network | the set of all messages ever sent | each may arrive at any time, in any order, as often as it likes, or never |
//! | breakers | an action may be stopped before it is sent, at any time | what is known not to be sent is, and nothing else |
//! | answers | reach the attempts that wait for them, or never | any answer may be lost or late |
//! | time | does not exist | any attempt may time out at any time, any lease may end at any time |
//! | journal | the sum of the journaled events, and who may append | an append is accepted from the last claimer only |
//! | replica | the sum of the events it knows, and whether it is the last claimer | one that is not is a zombie, and does not know |
//!
//! Fences are only ever compared with the journal's, so a replica's is one bit; and sequence numbers add nothing to it, because only the
//! last claimer appends. Thus the space is finite without a bound on crashes, takeovers, losses or repeats.

use stateright::{Model, Property};

use super::{
    Bug,
    machine::{Id, Learnt, Machine, Todo},
    participant::Participant,
    properties,
};
use crate::{Status, plan::EffectKind};

pub(super) const STEPS_MAX: usize = 4;
const REPLICAS_MAX: usize = 3;

/// What is explored.
#[derive(Debug)]
pub(super) struct Saga {
    pub(super) machine: Machine,
    pub(super) bug: Bug,
    pub(super) replicas: usize,
    pub(super) left: Left,
}

/// How much may still happen that the saga does not do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Left {
    /// Crashes, hand-overs and takeovers from the living; none is without bound.
    pub(super) disruptions: Option<u8>,
    /// An operator, or the saga's deadline, wants it to end.
    pub(super) cancels: u8,
    /// An operator has a parked saga tried again.
    pub(super) retries: u8,
}

/// A replica that runs the saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Replica {
    /// The sum of all events, also of those not journaled yet.
    pub(super) knows: Id,
    /// No replica has claimed the saga since.
    pub(super) owns: bool,
    /// Answers on their way to the attempt under way, for each step: a bit for each [`Learnt`].
    answers: [u8; STEPS_MAX],
}

/// All messages ever sent: a bit for each step and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Sent(u16);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The sum of the journaled events.
    pub(super) journal: Id,
    /// Sorted, because it makes no difference which is which.
    pub(super) replicas: [Option<Replica>; REPLICAS_MAX],
    pub(super) participants: [Participant; STEPS_MAX],
    pub(super) sent: Sent,
    pub(super) left: Left,
    /// The first end that the journal told of.
    pub(super) ended: Option<Status>,
    /// The machine was asked to do what it calls illegal.
    pub(super) illegal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A replica does what the plan says.
    Proceed(usize),
    /// The same, but some of the actions, by a bit for each step, are stopped before anything is sent: a breaker is open.
    Withhold(usize, u8),
    /// It writes down what it knows: `Journaling::EveryStep`, a long wait, a hand-over.
    Journal(usize),
    /// An attempt learns what became of it, or that it took too long.
    Learn(usize, usize, Learnt),
    /// A replica is gone, with all it did not journal.
    Crash(usize),
    /// A replica takes the saga over from a dead one, or from a living one whose lease ended.
    Claim,
    /// A message arrives, once more or for the first time.
    Deliver { step: usize, kind: EffectKind, willing: bool },
    /// The owner is told to cancel the saga.
    Cancel(usize),
    /// An operator wants a parked saga tried again.
    Retry,
}

const KINDS: [EffectKind; 3] = [EffectKind::Act, EffectKind::Compensate, EffectKind::Close];

impl Sent {
    const fn bit(step: usize, kind: EffectKind) -> u16 {
        1 << (step * KINDS.len() + kind as usize)
    }

    pub(super) const fn has(self, step: usize, kind: EffectKind) -> bool {
        self.0 & Self::bit(step, kind) != 0
    }
}

impl Left {
    const fn may_disrupt(self) -> bool {
        !matches!(self.disruptions, Some(0))
    }

    fn disrupt(&mut self) {
        self.disruptions = self.disruptions.map(|left| left - 1);
    }
}

impl Replica {
    pub(super) fn hears(self, step: usize) -> impl Iterator<Item = Learnt> + use<> {
        let answers = self.answers[step];
        Learnt::ANSWERS.into_iter().filter(move |learnt| answers & (1 << *learnt as u8) != 0)
    }
}

impl World {
    pub(super) fn owner(&self) -> Option<usize> {
        self.replicas.iter().position(|replica| replica.is_some_and(|replica| replica.owns))
    }

    pub(super) fn living(&self) -> impl Iterator<Item = (usize, Replica)> + use<'_> {
        self.replicas.iter().enumerate().filter_map(|(at, replica)| replica.map(|replica| (at, replica)))
    }
}

impl Saga {
    pub(super) fn status(&self, world: &World) -> Status {
        self.machine.status(world.journal)
    }

    /// A replica appends what it knows up to `after`. One that does not own the saga is refused, and learns that it has lost it.
    fn append(&self, world: &mut World, at: usize, after: Id) {
        let Some(replica) = &mut world.replicas[at] else { return };
        if !replica.owns && self.bug != Bug::NoFencing {
            world.replicas[at] = None;
            return;
        }
        replica.knows = after;
        world.journal = after;
        if *self.machine.todo(after) == Todo::Settled {
            world.replicas[at] = None;
        }
        let status = self.machine.status(after);
        if status.is_finished() {
            world.ended.get_or_insert(status);
        }
    }

    fn proceed(&self, world: &mut World, at: usize, withheld: u8) {
        let Some(replica) = &mut world.replicas[at] else { return };
        match self.machine.todo(replica.knows) {
            Todo::Perform(effects, after) => {
                replica.knows = *after;
                for effect in effects {
                    let step = effect.step.position();
                    if withheld & (1 << step) == 0 {
                        world.sent.0 |= Sent::bit(step, effect.kind);
                        continue;
                    }
                    match self.machine.concluded(replica.knows, step, Learnt::NotSent) {
                        Some(after) => replica.knows = after,
                        None => world.illegal = true,
                    }
                }
            }
            Todo::Decide { after, unwinds: true } if self.bug == Bug::NoUnwindRecord => replica.knows = *after,
            Todo::Decide { after, .. } => self.append(world, at, *after),
            Todo::Wait | Todo::Settled => {}
        }
    }

    fn learn(&self, world: &mut World, at: usize, step: usize, learnt: Learnt) {
        let Some(replica) = &mut world.replicas[at] else { return };
        replica.answers[step] = 0;
        match self.machine.concluded(replica.knows, step, learnt) {
            Some(after) => replica.knows = after,
            None => world.illegal = true,
        }
    }

    fn deliver(&self, world: &mut World, step: usize, kind: EffectKind, willing: bool) {
        let learnt = world.participants[step].arrive(kind, willing, self.bug);
        for replica in world.replicas.iter_mut().flatten() {
            let waits = |replica: &Replica| {
                let in_flight = self.machine.in_flight(replica.knows);
                in_flight.iter().any(|effect| effect.step.position() == step && effect.kind == kind)
            };
            if waits(replica) {
                replica.answers[step] |= 1 << learnt as u8;
            }
        }
    }

    /// The replica that owned the saga is a zombie from here on.
    fn take_over(&self, world: &mut World, journaled: Id) {
        for replica in world.replicas.iter_mut().flatten() {
            replica.owns = false;
        }
        let Some(free) = world.replicas.iter().position(Option::is_none) else { return };
        match self.machine.resumed(journaled) {
            Some(knows) => world.replicas[free] = Some(Replica { knows, owns: true, answers: [0; STEPS_MAX] }),
            None => world.illegal = true,
        }
    }

    fn retry(&self, world: &mut World) {
        let parked = world.journal;
        self.take_over(world, parked);
        let Some(at) = world.owner() else { return };
        let resumed = world.replicas[at].map(|replica| replica.knows);
        match resumed.and_then(|resumed| self.machine.retried(resumed)) {
            Some(retried) => self.append(world, at, retried),
            None => world.illegal = true,
        }
    }

    fn actions_of(&self, world: &World, at: usize, replica: Replica, actions: &mut Vec<Action>) {
        if matches!(self.machine.todo(replica.knows), Todo::Perform(..) | Todo::Decide { .. }) {
            actions.push(Action::Proceed(at));
        }
        if let Todo::Perform(effects, _) = self.machine.todo(replica.knows) {
            let acts = effects.iter().filter(|effect| effect.kind == EffectKind::Act);
            let all = acts.fold(0_u8, |bits, effect| bits | 1 << effect.step.position());
            actions.extend((1..=all).filter(|some| some & !all == 0).map(|some| Action::Withhold(at, some)));
        }
        if replica.knows != world.journal {
            actions.push(Action::Journal(at));
        }
        for effect in self.machine.in_flight(replica.knows) {
            let step = effect.step.position();
            actions.extend(replica.hears(step).chain([Learnt::Nothing]).map(|learnt| Action::Learn(at, step, learnt)));
        }
        if world.left.may_disrupt() {
            actions.push(Action::Crash(at));
        }
        if replica.owns && world.left.cancels > 0 && self.machine.cancelled(replica.knows).is_some() {
            actions.push(Action::Cancel(at));
        }
    }
}

impl Model for Saga {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let starter = Replica { knows: Machine::START, owns: true, answers: [0; STEPS_MAX] };
        let mut replicas = [None; REPLICAS_MAX];
        replicas[REPLICAS_MAX - 1] = Some(starter);
        vec![World {
            journal: Machine::START,
            replicas,
            participants: Default::default(),
            sent: Sent::default(),
            left: self.left,
            ended: None,
            illegal: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (at, replica) in world.living() {
            self.actions_of(world, at, replica, actions);
        }
        let status = self.status(world);
        let has_room = world.living().count() < self.replicas;
        if has_room && status.is_active() && (world.owner().is_none() || world.left.may_disrupt()) {
            actions.push(Action::Claim);
        }
        if has_room && status == Status::Parked && world.left.retries > 0 {
            actions.push(Action::Retry);
        }
        for step in 0..self.machine.shape.steps.len() {
            for kind in KINDS.into_iter().filter(|kind| world.sent.has(step, *kind)) {
                actions.push(Action::Deliver { step, kind, willing: true });
                if kind == EffectKind::Act && world.participants[step].has_a_choice() {
                    actions.push(Action::Deliver { step, kind, willing: false });
                }
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Proceed(at) => self.proceed(&mut world, at, 0),
            Action::Withhold(at, some) => self.proceed(&mut world, at, some),
            Action::Journal(at) => {
                let knows = world.replicas[at]?.knows;
                self.append(&mut world, at, knows);
            }
            Action::Learn(at, step, learnt) => self.learn(&mut world, at, step, learnt),
            Action::Crash(at) => {
                world.replicas[at] = None;
                world.left.disrupt();
            }
            Action::Claim => {
                if world.owner().is_some() {
                    world.left.disrupt();
                }
                let journaled = world.journal;
                self.take_over(&mut world, journaled);
            }
            Action::Deliver { step, kind, willing } => self.deliver(&mut world, step, kind, willing),
            Action::Cancel(at) => {
                let cancelled = self.machine.cancelled(world.replicas[at]?.knows)?;
                world.left.cancels -= 1;
                self.append(&mut world, at, cancelled);
            }
            Action::Retry => {
                world.left.retries -= 1;
                self.retry(&mut world);
            }
        }
        world.replicas.sort_unstable();
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}
