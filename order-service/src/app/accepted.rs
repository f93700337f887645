//! Which requests were let in lately, by customer and key: their repeats are no new work, and are let in without being looked up, however
//! much is going on. A hint, of this process alone; what a key stands for is in the store.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use parking_lot::Mutex;

use crate::{domain::CustomerId, ports::IdempotencyKey};

/// Some minutes of what one process can do, in 16 bytes each.
const REMEMBERED_MAX: usize = 32_768;

/// Remembers so many requests, the latest ones.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    hasher: RandomState,
    /// By hash: two requests that share one only mean that a new one skips the queue.
    keys: Mutex<(HashSet<u64>, VecDeque<u64>)>,
}

impl Accepted {
    pub(super) fn note(&self, customer: &CustomerId, key: &IdempotencyKey) {
        let hash = self.hasher.hash_one((customer.as_str(), key.as_str()));
        let mut keys = self.keys.lock();
        let (known, order) = &mut *keys;
        if !known.insert(hash) {
            return;
        }
        order.push_back(hash);
        if order.len() > REMEMBERED_MAX
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
    }

    pub(super) fn has(&self, customer: &CustomerId, key: &IdempotencyKey) -> bool {
        self.keys.lock().0.contains(&self.hasher.hash_one((customer.as_str(), key.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_requests_are_known_and_no_others() {
        let (accepted, ann, bob) =
            (Accepted::default(), CustomerId::try_new("ann").unwrap(), CustomerId::try_new("bob").unwrap());
        let key = |number: usize| IdempotencyKey::try_new(number.to_string()).unwrap();
        for number in 0..=REMEMBERED_MAX {
            accepted.note(&ann, &key(number));
            accepted.note(&ann, &key(number));
        }
        assert!(accepted.has(&ann, &key(1)) && accepted.has(&ann, &key(REMEMBERED_MAX)));
        assert!(!accepted.has(&ann, &key(0)) && !accepted.has(&bob, &key(1)));
    }
}
