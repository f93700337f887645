//! Who waits for room, and who is refused instead. Pure: the time is an argument.
//!
//! CoDel's observation (RFC 8289), in the form in which servers use it: a queue that empties now and then is doing its work, which is to
//! take in bursts; one that has not been empty for a while only makes everything late. So while the queue was empty within `burst_ms`, all
//! may wait that fit. After that, newcomers are refused for as long as the first in the queue has waited longer than `queue_ms`.

use std::{collections::VecDeque, time::Duration};

use amends_primitives::Moment;

use crate::config::AdmissionConfig;

#[derive(Debug)]
pub(super) struct Queue<W> {
    waiting: VecDeque<(Moment, W)>,
    /// Since when it has not been empty.
    standing_since: Moment,
    burst: Duration,
    patience: Duration,
    max: usize,
}

impl<W> Queue<W> {
    pub(super) fn new(config: &AdmissionConfig, max: usize, now: Moment) -> Self {
        Self {
            waiting: VecDeque::new(),
            standing_since: now,
            burst: Duration::from_millis(config.burst_ms),
            patience: Duration::from_millis(config.queue_ms),
            max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether one more may wait, beside `working` that are being worked on.
    pub(super) fn has_room(&self, working: usize, now: Moment) -> bool {
        if self.waiting.len() + working >= self.max {
            return false;
        }
        let Some((first, _)) = self.waiting.front() else { return true };
        now.since(self.standing_since) < self.burst || now.since(*first) <= self.patience
    }

    pub(super) fn push(&mut self, waiter: W, now: Moment) {
        if self.waiting.is_empty() {
            self.standing_since = now;
        }
        self.waiting.push_back((now, waiter));
    }

    pub(super) fn pop(&mut self) -> Option<W> {
        self.waiting.pop_front().map(|(_, waiter)| waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_beginning(Duration::from_millis(ms))
    }

    fn queue(max: usize) -> Queue<u64> {
        Queue::new(&AdmissionConfig { burst_ms: 1_000, queue_ms: 100, ..AdmissionConfig::default() }, max, at(0))
    }

    #[test]
    fn burst_is_taken_in_whole() {
        let mut queue = queue(1000);
        for ms in 0..900 {
            assert!(queue.has_room(50, at(ms)));
            queue.push(ms, at(ms));
        }
    }

    #[test]
    fn standing_queue_takes_only_who_will_not_wait_long() {
        let mut queue = queue(1000);
        for ms in 0..20 {
            queue.push(ms * 100, at(ms * 100));
        }
        assert!(!queue.has_room(50, at(2_000)), "the first has waited for two seconds");
        for _ in 0..19 {
            queue.pop();
        }
        assert!(queue.has_room(50, at(2_000)), "the first has waited for 100 ms");
        assert!(!queue.has_room(50, at(2_001)));
        queue.pop();
        assert!(queue.has_room(50, at(9_000)), "the queue is empty");
        queue.push(9_000, at(9_000));
        assert!(queue.has_room(50, at(9_999)), "a new burst");
        assert!(!queue.has_room(50, at(10_000)));
    }

    #[test]
    fn more_than_fits_is_refused_in_a_burst_too() {
        let mut queue = queue(10);
        assert!(queue.has_room(9, at(0)) && !queue.has_room(10, at(0)));
        queue.push(0, at(0));
        assert!(queue.has_room(8, at(0)) && !queue.has_room(9, at(0)));
        assert_eq!(queue.len(), 1);
    }
}
