//! What every participant has to do, as tests that any implementation can be put through, on any store: [`run`].
//!
//! Looked at are effects, not calls: how often something is in force under a key.

use std::fmt::Debug;

use amends_primitives::{IdSource, SagaId, StepKey};
use async_trait::async_trait;
use futures::future::join_all;
use serde_json::Value;

/// As many as an impatient caller and its load balancer can produce.
const REPEATS: usize = 64;

/// What was answered to an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done, now or before.
    Done(Value),
    /// Refused for its own reasons, now or before.
    Refused(Value),
    /// Refused, because the key was compensated or closed.
    Compensated,
    /// Refused, because the key was used for another request.
    Mismatch,
}

/// What was answered to a compensation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The effect was undone by this call.
    Now,
    /// There was nothing to undo, or it had been undone before.
    Nothing,
}

/// A participant under test. Clones are replicas on one store.
#[async_trait]
pub trait Participant: Clone + Debug + Send + Sync + 'static {
    /// Performs the action. The same `request` must give the same fingerprint, and another one another; if `refused`, the participant
    /// has a reason of its own to refuse the request.
    async fn act(&self, key: &StepKey, request: u32, refused: bool) -> Answer;

    /// Compensates the action.
    async fn compensate(&self, key: &StepKey) -> Undone;

    /// Closes the action as a pivot: the answer if it was done, `Ok(None)` if it is closed. `Err(())` where this participant has no pivot.
    async fn close(&self, key: &StepKey) -> Result<Option<Value>, ()>;

    /// How many effects are in force under the key: performed, and not undone. Asked of the store itself.
    async fn in_effect(&self, key: &StepKey) -> i64;
}

/// Puts a participant through every order of arrivals, `rounds` times each with keys of their own.
///
/// # Panics
/// When it does what it must not.
pub async fn run<P: Participant>(participant: &P, ids: &dyn IdSource, rounds: u32) {
    let fresh = || StepKey::of_definition(SagaId::new(ids.next_id()), "step");
    for _ in 0..rounds {
        a_repeat_gets_the_same_answer(participant, &fresh()).await;
        a_refusal_is_remembered(participant, &fresh()).await;
        a_compensation_undoes_once(participant, &fresh()).await;
        a_compensation_that_comes_first_keeps_the_action_out(participant, &fresh()).await;
        a_compensation_of_a_refusal_undoes_nothing(participant, &fresh()).await;
        closing_keeps_the_pivot_out_or_says_that_it_was_done(participant, &fresh(), &fresh()).await;
        many_twins_have_one_effect(participant, &fresh()).await;
        many_compensations_undo_once(participant, &fresh()).await;
        an_action_and_its_compensation_race(participant, &fresh()).await;
    }
}

async fn a_repeat_gets_the_same_answer<P: Participant>(participant: &P, key: &StepKey) {
    let first = participant.act(key, 1, false).await;
    assert!(matches!(first, Answer::Done(_)), "{first:?}");
    assert_eq!(participant.act(key, 1, false).await, first);
    assert_eq!(participant.act(key, 2, false).await, Answer::Mismatch);
    assert_eq!(participant.act(key, 1, false).await, first);
    assert_eq!(participant.in_effect(key).await, 1);
}

async fn a_refusal_is_remembered<P: Participant>(participant: &P, key: &StepKey) {
    let first = participant.act(key, 1, true).await;
    assert!(matches!(first, Answer::Refused(_)), "{first:?}");
    assert_eq!(participant.act(key, 1, true).await, first, "a repeat must not turn a no into something else");
    assert_eq!(participant.act(key, 2, false).await, Answer::Mismatch);
    assert_eq!(participant.in_effect(key).await, 0);
}

async fn a_compensation_undoes_once<P: Participant>(participant: &P, key: &StepKey) {
    assert!(matches!(participant.act(key, 1, false).await, Answer::Done(_)));
    assert_eq!(participant.compensate(key).await, Undone::Now);
    assert_eq!(participant.in_effect(key).await, 0);
    assert_eq!(participant.compensate(key).await, Undone::Nothing);
    assert_eq!(participant.act(key, 1, false).await, Answer::Compensated);
    assert_eq!(participant.in_effect(key).await, 0);
}

async fn a_compensation_that_comes_first_keeps_the_action_out<P: Participant>(participant: &P, key: &StepKey) {
    assert_eq!(participant.compensate(key).await, Undone::Nothing);
    assert_eq!(participant.compensate(key).await, Undone::Nothing);
    assert_eq!(participant.act(key, 1, false).await, Answer::Compensated);
    assert_eq!(participant.in_effect(key).await, 0);
}

async fn a_compensation_of_a_refusal_undoes_nothing<P: Participant>(participant: &P, key: &StepKey) {
    assert!(matches!(participant.act(key, 1, true).await, Answer::Refused(_)));
    assert_eq!(participant.compensate(key).await, Undone::Nothing);
    assert_eq!(participant.act(key, 1, true).await, Answer::Compensated);
    assert_eq!(participant.in_effect(key).await, 0);
}

async fn closing_keeps_the_pivot_out_or_says_that_it_was_done<P: Participant>(
    participant: &P,
    never: &StepKey,
    done: &StepKey,
) {
    let Ok(closed) = participant.close(never).await else { return };
    assert_eq!(closed, None);
    assert_eq!(participant.close(never).await, Ok(None));
    assert_eq!(participant.act(never, 1, false).await, Answer::Compensated);
    assert_eq!(participant.in_effect(never).await, 0);

    let Answer::Done(answer) = participant.act(done, 1, false).await else { panic!("not done") };
    assert_eq!(participant.close(done).await, Ok(Some(answer.clone())));
    assert_eq!(participant.act(done, 1, false).await, Answer::Done(answer));
    assert_eq!(participant.in_effect(done).await, 1);
}

async fn many_twins_have_one_effect<P: Participant>(participant: &P, key: &StepKey) {
    let answers =
        at_once(participant, key, REPEATS, |replica, key| async move { replica.act(&key, 1, false).await }).await;
    assert!(matches!(answers[0], Answer::Done(_)), "{:?}", answers[0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(participant.in_effect(key).await, 1);
}

async fn many_compensations_undo_once<P: Participant>(participant: &P, key: &StepKey) {
    assert!(matches!(participant.act(key, 1, false).await, Answer::Done(_)));
    let undone = at_once(participant, key, REPEATS, |replica, key| async move { replica.compensate(&key).await }).await;
    // Those that came while it was being undone may have helped with it, and may all say so.
    assert!(undone.contains(&Undone::Now), "{undone:?}");
    assert_eq!(participant.in_effect(key).await, 0);
    assert_eq!(participant.act(key, 1, false).await, Answer::Compensated);
}

async fn an_action_and_its_compensation_race<P: Participant>(participant: &P, key: &StepKey) {
    let acts = at_once(participant, key, 3, |replica, key| async move { replica.act(&key, 1, false).await });
    let (acted, undone) = futures::join!(acts, participant.compensate(key));
    let done = acted.iter().any(|answer| matches!(answer, Answer::Done(_)));
    assert!(acted.iter().all(|answer| matches!(answer, Answer::Done(_) | Answer::Compensated)), "{acted:?}");
    assert!(undone == Undone::Now || !done, "something was done, and nothing undone: {acted:?}");
    assert_eq!(participant.in_effect(key).await, 0);
    assert_eq!(participant.act(key, 1, false).await, Answer::Compensated);
}

async fn at_once<P: Participant, T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    participant: &P,
    key: &StepKey,
    count: usize,
    call: impl Fn(P, StepKey) -> F + Clone + Send + 'static,
) -> Vec<T> {
    let calls = (0..count).map(|_| tokio::spawn(call(participant.clone(), key.clone())));
    join_all(calls).await.into_iter().map(|joined| joined.expect("a call panicked")).collect()
}
