//! Which requests came through lately, by who asked and under which key. A repeat of one of them is no new work.
//!
//! A hint, of one process: what a key stands for is in a store. Must not know: what is asked for, what follows from it.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

/// A request that may be repeated. Two that share a mark by chance are taken for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(u64);

impl Mark {
    /// Of a caller's request under that key.
    pub fn of(hasher: &RandomState, caller: &str, key: &[u8]) -> Self {
        Self(hasher.hash_one((caller, key)))
    }
}

/// The latest marks, up to a number.
#[derive(Debug)]
pub struct Latest {
    known: HashSet<Mark>,
    order: VecDeque<Mark>,
    max: usize,
}

impl Latest {
    /// Some minutes of what one process can do, in 16 bytes each.
    pub const REQUESTS: usize = 32_768;

    /// None yet, and later `max` at the most.
    pub fn new(max: usize) -> Self {
        Self { known: HashSet::new(), order: VecDeque::new(), max }
    }

    /// Takes a mark in. The oldest goes, where there are too many.
    pub fn note(&mut self, mark: Mark) {
        if !self.known.insert(mark) {
            return;
        }
        self.order.push_back(mark);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether that mark is among the latest.
    pub fn has(&self, mark: Mark) -> bool {
        self.known.contains(&mark)
    }

    /// Takes a mark out: what it stands for came to nothing.
    pub fn forget(&mut self, mark: Mark) {
        // Noted once more it is the newest, and its old place would take it out early. It is looked for from the end: what came to nothing
        // came through a moment ago.
        if self.known.remove(&mark)
            && let Some(place) = self.order.iter().rposition(|one| *one == mark)
        {
            self.order.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(count: usize) -> Vec<Mark> {
        let hasher = RandomState::new();
        (0..count).map(|number| Mark::of(&hasher, "ann", number.to_string().as_bytes())).collect()
    }

    #[test]
    fn the_latest_marks_are_known_and_no_others() {
        let (mut latest, marks) = (Latest::new(3), marks(5));
        for mark in &marks[..4] {
            latest.note(*mark);
            latest.note(*mark);
        }
        let known: Vec<bool> = marks.iter().map(|mark| latest.has(*mark)).collect();
        assert_eq!(known, [false, true, true, true, false]);
    }

    #[test]
    fn forgotten_mark_noted_again_is_the_newest() {
        let (mut latest, marks) = (Latest::new(2), marks(3));
        latest.note(marks[0]);
        latest.forget(marks[0]);
        latest.forget(marks[2]);
        assert!(!latest.has(marks[0]));
        for mark in [marks[1], marks[0], marks[2]] {
            latest.note(mark);
        }
        assert!(latest.has(marks[0]) && latest.has(marks[2]) && !latest.has(marks[1]));
    }

    #[test]
    fn marks_differ_by_caller_and_by_key() {
        let hasher = RandomState::new();
        let of = |caller, key: &str| Mark::of(&hasher, caller, key.as_bytes());
        assert_eq!(of("ann", "a"), of("ann", "a"));
        assert!(
            of("ann", "a") != of("bob", "a") && of("ann", "a") != of("ann", "b") && of("ann", "a") != of("a", "nna")
        );
    }
}
