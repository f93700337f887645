//! When signing keys are made, used and withdrawn.
//!
//! A key is published before it signs, so that verifiers have it by then, and stays published until the last token it signed
//! has expired. Nothing here is done by a clock of its own: replicas call [`plan`] now and then and share the outcome in the
//! store, where the sequence number is unique, so that two that plan the same key make one.

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
    /// In the key set from here.
    pub published_at: Timestamp,
    /// Signs from here, until its successor does.
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

/// The key to make now, if any.
pub(crate) fn plan(keys: &[KeyTimes], policy: &RotationPolicy, now: Timestamp) -> Option<NewKey> {
    let Some(newest) = keys.iter().max_by_key(|key| key.sequence) else {
        // The first key of all: nobody can have cached a set without it.
        let times = KeyTimes { sequence: 1, published_at: now, active_from: now, retire_at: None };
        return Some(NewKey { times, predecessor_retires_at: None });
    };
    let due = newest.active_from + policy.period;
    if due > now + policy.publish_ahead {
        return None;
    }
    let active_from = due.max(now + policy.publish_ahead);
    Some(NewKey {
        times: KeyTimes { sequence: newest.sequence + 1, published_at: now, active_from, retire_at: None },
        predecessor_retires_at: Some(active_from + policy.keep_after),
    })
}

/// Index of the key that signs at `now`: the newest that may. Else the oldest there is: a replica made it and its clock is a
/// little ahead of ours.
pub(crate) fn signing(keys: &[KeyTimes], now: Timestamp) -> Option<usize> {
    let usable = keys.iter().enumerate().filter(|(_, key)| key.active_from <= now && is_published(key, now));
    let oldest = || keys.iter().enumerate().min_by_key(|(_, key)| key.sequence);
    usable.max_by_key(|(_, key)| key.sequence).or_else(oldest).map(|(index, _)| index)
}

/// Whether a key belongs in the key set at `now`.
pub(crate) fn is_published(key: &KeyTimes, now: Timestamp) -> bool {
    key.published_at <= now && key.retire_at.is_none_or(|retire_at| now < retire_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const POLICY: RotationPolicy =
        RotationPolicy { period: Duration::from_hours(24), publish_ahead: HOUR, keep_after: Duration::from_mins(15) };

    /// Runs the schedule with a tick every ten minutes and checks what must hold at each.
    #[test]
    fn a_token_is_verifiable_from_its_first_second_to_its_last() {
        let start = Timestamp::from_millis(1_700_000_000_000);
        let mut keys: Vec<KeyTimes> = Vec::new();
        for tick in 0..1000_u32 {
            let now = start + Duration::from_mins(10) * tick;
            if let Some(new) = plan(&keys, &POLICY, now) {
                if let Some(retire_at) = new.predecessor_retires_at {
                    keys.last_mut().unwrap().retire_at = Some(retire_at);
                }
                keys.push(new.times);
            }
            keys.retain(|key| key.retire_at.is_none_or(|retire_at| now < retire_at));
            let signer = keys[signing(&keys, now).unwrap()];
            assert!(keys.len() <= 2, "{keys:?}");
            assert!(now.since(signer.active_from) < POLICY.period + HOUR, "an old key signs");
            if signer.sequence > 1 {
                assert!(signer.active_from.since(signer.published_at) >= HOUR, "signs before verifiers cached it");
            }
            assert!(
                signer.retire_at.is_none_or(|at| at > now + Duration::from_mins(11)),
                "withdrawn under a live token"
            );
        }
        assert!(keys.last().unwrap().sequence >= 6);
    }

    #[test]
    fn after_a_long_sleep_the_old_key_signs_until_the_new_one_is_known() {
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
}
