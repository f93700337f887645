//! What must hold, whatever happens.

use stateright::{Model, Property};

use super::{
    machine::{Learnt, Todo},
    world::{Action, Saga, Sent, World},
};
use crate::{CauseKind, Status};

/// A completed saga has each effect once, an unwound one has none: also after every message that is still on its way has arrived.
pub(super) const MONEY_LAW: &str = "the money law";
/// Whatever happened, once nothing goes wrong any more the saga comes to rest by itself.
pub(super) const COMES_TO_REST: &str = "in good weather every saga ends or is parked";
/// With a bound on disruptions no saga goes on for ever.
pub(super) const SETTLES: &str = "every saga ends or is parked";

/// No saga here takes more moves to its end when nothing goes wrong.
const MOVES_MAX: u32 = 100;

pub(super) fn all(saga: &Saga) -> Vec<Property<Saga>> {
    let mut properties = vec![
        Property::always(MONEY_LAW, money_law),
        Property::always("nothing takes effect twice or is undone twice", once),
        Property::always("an end is final", final_end),
        Property::always("the machine is only asked for what is legal", |_, world: &World| !world.illegal),
        Property::always(COMES_TO_REST, comes_to_rest),
        Property::sometimes("a saga completes", |_, world: &World| world.ended == Some(Status::Completed)),
        Property::sometimes("a saga unwinds", |_, world: &World| world.ended == Some(Status::Unwound)),
        match saga.machine.nothing {
            CauseKind::Permanent => Property::sometimes("a saga is parked", is_parked),
            CauseKind::Environment => Property::always("no saga is parked", |saga, world| !is_parked(saga, world)),
        },
        Property::sometimes("a saga unwinds of which nothing was ever sent", |_, world: &World| {
            world.ended == Some(Status::Unwound) && world.sent == Sent::default()
        }),
        Property::sometimes("a zombie outlives the end", |_, world: &World| {
            world.ended.is_some() && world.living().next().is_some()
        }),
    ];
    // Stateright can tell only where no path comes back to where it was.
    if saga.left.disruptions.is_some() {
        properties.push(Property::eventually(SETTLES, |saga: &Saga, world: &World| !saga.status(world).is_active()));
    }
    properties
}

fn money_law(saga: &Saga, world: &World) -> bool {
    let expected = match saga.status(world) {
        Status::Completed => 1,
        Status::Unwound => 0,
        Status::Running | Status::Unwinding | Status::Parked => return true,
    };
    let steps = saga.machine.shape.steps.len();
    world.participants[..steps].iter().all(|participant| participant.effects == expected)
}

fn is_parked(saga: &Saga, world: &World) -> bool {
    saga.status(world) == Status::Parked
}

fn once(_saga: &Saga, world: &World) -> bool {
    world.participants.iter().all(|participant| (0..=1).contains(&participant.effects))
}

fn final_end(saga: &Saga, world: &World) -> bool {
    world.ended.is_none_or(|ended| saga.status(world) == ended)
}

/// Follows one way on which nothing goes wrong. That it leads to an end says that an end can be reached from here.
fn comes_to_rest(saga: &Saga, world: &World) -> bool {
    let mut world = world.clone();
    for _ in 0..MOVES_MAX {
        if !saga.status(&world).is_active() {
            return true;
        }
        let Some(next) = saga.next_state(&world, calmly(saga, &world)) else { return false };
        world = next;
    }
    false
}

fn calmly(saga: &Saga, world: &World) -> Action {
    let Some((at, owner)) = world.owner().and_then(|at| world.replicas[at].map(|owner| (at, owner))) else {
        return Action::Claim;
    };
    if !matches!(saga.machine.todo(owner.knows), Todo::Wait) {
        return Action::Proceed(at);
    }
    let in_flight = saga.machine.in_flight(owner.knows);
    let heard = in_flight.iter().find_map(|effect| {
        let step = effect.step.position();
        owner.hears(step).next().map(|learnt| Action::Learn(at, step, learnt))
    });
    let asked = || {
        in_flight.first().map(|effect| Action::Deliver {
            step: effect.step.position(),
            kind: effect.kind,
            willing: true,
        })
    };
    heard.or_else(asked).unwrap_or(Action::Learn(at, 0, Learnt::Nothing))
}
