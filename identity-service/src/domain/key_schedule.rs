//! When signing keys are made, used and withdrawn.
//!
//! A key is published as soon as it is made, a while before it signs, so that verifiers have it by then; and it stays published
//! until the last token it can have signed has expired. Nothing here is done by a clock of its own: replicas call [`plan`] now and
//! then and share the outcome in the store, where the sequence number is unique, so that two that plan the same key make one.
//!
//! Wall clocks are set, by people and by other machines, forwards and backwards, and replicas' clocks differ. Whatever `now` is:
//! **the key that signs is published, and so is every key that may have signed a token which has not expired.** The first holds
//! because [`published`] says so, the second because of three rules. No time keeps a key out of the set before it is withdrawn. It is
//! withdrawn only after its successor took over *and* its own period is over, since until it had a successor no more than that can
//! have passed. And a key signs only while no later one may.

use std::time::Duration;

use amends_primitives::Timestamp;

/// How keys rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a key signs.
    pub period: Duration,
    /// How long it is published before: longer than verifiers cache the key set and replicas take to notice.
    pub publish_ahead: Duration,
    /// How long after its successor took over it stays published: the life of a token, leeway, and a replica's delay.
    pub keep_after: Duration,
}

/// The times of a stored key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyTimes {
    /// Counts up from 1; unique.
    pub sequence: i64,
    /// When it was made, by the clock of the replica that made it. For people to read: it is published from then on, whatever the
    /// time is now.
    pub published_at: Timestamp,
    /// Signs from here, until a later one does.
    pub active_from: Timestamp,
    /// Out of the key set from here; unknown until it has a successor.
    pub retire_at: Option<Timestamp>,
}

/// A key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewKey {
    /// Its times.
    pub times: KeyTimes,
    /// When its predecessor is to be withdrawn.
    pub predecessor_retires_at: Option<Timestamp>,
}

/// The key to make now, if any. One at a time: a clock that was set far forward makes one key, not all that were missed.
pub(crate) fn plan(keys: &[KeyTimes], policy: &RotationPolicy, now: Timestamp) -> Option<NewKey> {
    let Some(newest) = keys.iter().max_by_key(|key| key.sequence) else {
        // The first key of all: no verifier can have cached a set without it.
        let times = KeyTimes { sequence: 1, published_at: now, active_from: now, retire_at: None };
        return Some(NewKey { times, predecessor_retires_at: None });
    };
    let signer = &keys[signing(keys, now)?];
    let soonest = now + policy.publish_ahead;
    let due = if signer.active_from > soonest {
        // Made by a clock that is far ahead of ours. Its period would begin when we get there, and it would sign all the time until then.
        now
    } else {
        signer.active_from + policy.period
    };
    let takes_over = due.max(soonest);
    // Not the newest key's times but the next one's: a key made by a clock that was far ahead does not take over for a long time.
    let is_planned = keys.iter().any(|key| key.sequence > signer.sequence && key.active_from <= takes_over);
    if due > soonest || is_planned {
        return None;
    }
    Some(NewKey {
        times: KeyTimes { sequence: newest.sequence + 1, published_at: now, active_from: takes_over, retire_at: None },
        predecessor_retires_at: Some(takes_over.max(newest.active_from + policy.period) + policy.keep_after),
    })
}

/// Index of the key that signs at `now`: the newest whose time has come. Else the oldest: it was made by a clock that is ahead of ours.
pub(crate) fn signing(keys: &[KeyTimes], now: Timestamp) -> Option<usize> {
    let latest = |usable: &dyn Fn(&KeyTimes) -> bool| {
        keys.iter().enumerate().filter(|(_, key)| usable(key)).max_by_key(|(_, key)| key.sequence)
    };
    let oldest = || keys.iter().enumerate().min_by_key(|(_, key)| key.sequence);
    latest(&|key| key.active_from <= now && !is_withdrawn(key, now)).or_else(oldest).map(|(index, _)| index)
}

/// Indices of the keys in the key set at `now`, the newest first: verifiers that read only the beginning of a long set miss the oldest.
pub(crate) fn published(keys: &[KeyTimes], now: Timestamp) -> Vec<usize> {
    let signer = signing(keys, now);
    let mut published: Vec<usize> =
        (0..keys.len()).filter(|index| Some(*index) == signer || !is_withdrawn(&keys[*index], now)).collect();
    published.sort_by_key(|index| std::cmp::Reverse((Some(*index) == signer, keys[*index].sequence)));
    published
}

fn is_withdrawn(key: &KeyTimes, now: Timestamp) -> bool {
    key.retire_at.is_some_and(|retire_at| retire_at <= now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const POLICY: RotationPolicy =
        RotationPolicy { period: Duration::from_hours(24), publish_ahead: HOUR, keep_after: Duration::from_mins(15) };
    /// Life of a token.
    const LIFE: Duration = Duration::from_mins(10);

    fn start() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    /// Keys as the store keeps them, and what they signed.
    #[derive(Default)]
    struct World {
        keys: Vec<KeyTimes>,
        /// Sequence of the key, end of the token.
        signed: Vec<(i64, Timestamp)>,
    }

    impl World {
        fn plan(&mut self, now: Timestamp) -> bool {
            let Some(new) = plan(&self.keys, &POLICY, now) else { return false };
            if let (Some(retire_at), Some(newest)) = (new.predecessor_retires_at, self.keys.last_mut()) {
                newest.retire_at = Some(retire_at);
            }
            self.keys.push(new.times);
            true
        }

        fn sign(&mut self, now: Timestamp) -> KeyTimes {
            let signer = self.keys[signing(&self.keys, now).unwrap()];
            self.signed.push((signer.sequence, now + LIFE));
            signer
        }

        fn check(&self, now: Timestamp) {
            let published: Vec<i64> =
                published(&self.keys, now).into_iter().map(|index| self.keys[index].sequence).collect();
            let signer = self.keys[signing(&self.keys, now).unwrap()].sequence;
            assert_eq!(published[0], signer, "the key that signs is published, first");
            for (sequence, end) in &self.signed {
                assert!(*end <= now || published.contains(sequence), "{sequence} signed until {end}, now {now}");
            }
        }
    }

    /// Runs the schedule with a tick every ten minutes and checks what must hold at each.
    #[test]
    fn a_token_is_verifiable_from_its_first_second_to_its_last() {
        let mut world = World::default();
        for tick in 0..1000_u32 {
            let now = start() + Duration::from_mins(10) * tick;
            world.plan(now);
            world.check(now);
            let signer = world.sign(now);
            assert!(published(&world.keys, now).len() <= 2, "{:?}", world.keys);
            assert!(now.since(signer.active_from) < POLICY.period + HOUR, "an old key signs");
            if signer.sequence > 1 {
                assert!(signer.active_from.since(signer.published_at) >= HOUR, "signs before verifiers cached it");
            }
            assert!(
                signer.retire_at.is_none_or(|at| at > now + Duration::from_mins(11)),
                "withdrawn under a live token"
            );
        }
        assert_eq!(world.keys.last().unwrap().sequence, 7);
    }

    #[test]
    fn after_a_long_sleep_the_old_key_signs_until_the_new_is_known() {
        let first = KeyTimes {
            sequence: 1,
            published_at: Timestamp::default(),
            active_from: Timestamp::default(),
            retire_at: None,
        };
        let now = Timestamp::default() + Duration::from_hours(365 * 24);
        let new = plan(&[first], &POLICY, now).unwrap();
        assert_eq!(new.times.active_from, now + HOUR);
        assert_eq!(signing(&[first, new.times], now), Some(0));
        assert_eq!(signing(&[first, new.times], now + HOUR), Some(1));
        assert_eq!(plan(&[first, new.times], &POLICY, now + HOUR), None);
    }

    #[test]
    fn before_the_only_key_was_made_it_signs_and_is_published() {
        let mut world = World::default();
        world.plan(start());
        for back in [Duration::from_secs(1), HOUR, Duration::from_hours(24 * 365)] {
            world.check(start() - back);
            assert_eq!(world.sign(start() - back).sequence, 1);
        }
        assert!(!world.plan(start() - HOUR), "a clock a little behind the other replica's makes no key");
        assert!(world.plan(start() - HOUR * 2), "a key from the far future is replaced by one of today");
        assert_eq!(world.sign(start() - HOUR).sequence, 2);
        world.check(start() - HOUR);
    }

    #[test]
    fn every_boundary_of_the_schedule_is_inclusive() {
        let micro = Duration::from_micros(1);
        let (begun, due) = (start(), start() + POLICY.period - POLICY.publish_ahead);
        let first = KeyTimes { sequence: 1, published_at: begun, active_from: begun, retire_at: None };
        assert_eq!(plan(&[first], &POLICY, due - micro), None, "not before its successor is due");
        let new = plan(&[first], &POLICY, due).unwrap();
        let takes_over = begun + POLICY.period;
        assert_eq!((new.times.active_from, new.times.published_at, new.times.sequence), (takes_over, due, 2));
        assert_eq!(new.predecessor_retires_at, Some(takes_over + POLICY.keep_after));
        let keys = [KeyTimes { retire_at: new.predecessor_retires_at, ..first }, new.times];
        assert_eq!([signing(&keys, takes_over - micro), signing(&keys, takes_over)], [Some(0), Some(1)]);
        let withdrawn = takes_over + POLICY.keep_after;
        assert_eq!(published(&keys, withdrawn - micro), [1, 0]);
        assert_eq!(published(&keys, withdrawn), [1]);
    }

    #[test]
    fn the_key_that_signs_is_published_before_newer_ones() {
        let key = |sequence, hours| {
            let at = start() + HOUR * hours;
            KeyTimes { sequence, published_at: start(), active_from: at, retire_at: None }
        };
        // Stored in any order.
        let keys = [key(3, 48), key(1, 0), key(2, 24)];
        assert_eq!(
            (signing(&keys, start() + HOUR * 25), published(&keys, start() + HOUR * 25)),
            (Some(2), vec![2, 0, 1])
        );
        assert_eq!(published(&keys, start() - HOUR), [1, 0, 2], "the oldest signs where none has its time");
    }

    #[test]
    fn a_key_of_a_clock_far_ahead_is_replaced_and_kept() {
        let far = start() + HOUR * 1000;
        let first = KeyTimes { sequence: 1, published_at: far, active_from: far, retire_at: None };
        let soonest = start() + POLICY.publish_ahead;
        let new = plan(&[first], &POLICY, start()).unwrap();
        assert_eq!((new.times.active_from, new.times.sequence), (soonest, 2));
        assert_eq!(new.predecessor_retires_at, Some(far + POLICY.period + POLICY.keep_after));
        // At its beginning it is just the next one.
        assert_eq!(plan(&[KeyTimes { active_from: soonest, ..first }], &POLICY, start()), None);
        assert!(
            plan(&[KeyTimes { active_from: soonest + Duration::from_micros(1), ..first }], &POLICY, start()).is_some()
        );
    }

    #[test]
    fn a_clock_set_far_forward_makes_one_key_and_set_back_none() {
        let mut world = World::default();
        world.plan(start());
        let year = Duration::from_hours(24 * 365);
        let made = (0..10).filter(|minute| world.plan(start() + year + Duration::from_mins(*minute))).count();
        assert_eq!(made, 1);
        assert!(!world.plan(start() + HOUR), "the first key's period is not over");
        let due = start() + POLICY.period - HOUR;
        assert!(world.plan(due), "nor does it wait for the clock to come by that year again");
        assert!(!world.plan(due));
        assert_eq!(world.sign(start() + POLICY.period).sequence, 3);
        world.check(start() + POLICY.period);
    }

    proptest! {
        /// Steps of a clock, in minutes, of one replica or of several whose clocks differ.
        #[test]
        fn whatever_the_clock_does_the_signer_is_published(
            steps in prop::collection::vec(
                prop_oneof![0_i64..20, -20_i64..0, -3_000_i64..3_000, -600_000_i64..600_000],
                1..120,
            )
        ) {
            let mut world = World::default();
            let mut now = start();
            for minutes in steps {
                let step = Duration::from_mins(minutes.unsigned_abs());
                now = if minutes < 0 { now - step } else { now + step };
                let made_one = world.plan(now);
                prop_assert!(!(made_one && world.plan(now)), "one step makes one key");
                world.check(now);
                world.sign(now);
                world.check(now);
            }
        }
    }
}
