//! Which requests were let in lately, by customer and key: their repeats are no new work, and are let in without being looked up, however
//! much is going on. A hint, of this process alone; what a key stands for is in the store.

use std::hash::RandomState;

use parking_lot::Mutex;
use service_base::latest::{Latest, Mark};

use crate::{domain::CustomerId, ports::IdempotencyKey};

/// Two requests that share a mark only mean that a new one skips the queue.
#[derive(Debug)]
pub(super) struct Accepted {
    hasher: RandomState,
    latest: Mutex<Latest>,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { hasher: RandomState::new(), latest: Mutex::new(Latest::new(Latest::REQUESTS)) }
    }
}

impl Accepted {
    pub(super) fn note(&self, customer: &CustomerId, key: &IdempotencyKey) {
        let mark = self.mark(customer, key);
        self.latest.lock().note(mark);
    }

    pub(super) fn has(&self, customer: &CustomerId, key: &IdempotencyKey) -> bool {
        let mark = self.mark(customer, key);
        self.latest.lock().has(mark)
    }

    fn mark(&self, customer: &CustomerId, key: &IdempotencyKey) -> Mark {
        Mark::of(&self.hasher, customer.as_str(), key.as_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_known_by_customer_and_key() {
        let (accepted, ann, bob) =
            (Accepted::default(), CustomerId::try_new("ann").unwrap(), CustomerId::try_new("bob").unwrap());
        let key = |text: &str| IdempotencyKey::try_new(text).unwrap();
        accepted.note(&ann, &key("a"));
        assert!(accepted.has(&ann, &key("a")));
        assert!(!accepted.has(&ann, &key("b")) && !accepted.has(&bob, &key("a")));
    }
}
