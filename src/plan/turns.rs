//! Waiters in lines that take turns, so that a long line delays the first of another line by one turn alone. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// Waiters `T` in lines `L`; within a line the least `O` is first.
pub struct Turns<L, O, T> {
    lines: HashMap<L, BTreeMap<O, T>>,
    /// The lines that have waiters: the one whose turn is next comes first.
    rotation: VecDeque<L>,
}

impl<L, O, T> Default for Turns<L, O, T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), rotation: VecDeque::new() }
    }
}

impl<L: Clone + Eq + Hash, O: Ord, T> Turns<L, O, T> {
    /// Adds a waiter to a line. A line that had none takes its turn after the others.
    pub fn insert(&mut self, line: L, order: O, waiter: T) {
        if !self.lines.contains_key(&line) {
            self.rotation.push_back(line.clone());
        }
        self.lines.entry(line).or_default().insert(order, waiter);
    }

    /// Removes one waiter of a line.
    pub fn remove(&mut self, line: &L, order: &O) -> Option<T> {
        let waiters = self.lines.get_mut(line)?;
        let waiter = waiters.remove(order);
        if waiters.is_empty() {
            self.lines.remove(line);
            self.rotation.retain(|other| other != line);
        }
        waiter
    }

    /// Removes and returns the first waiter of the line whose turn it is; `None` without waiters.
    pub fn pop(&mut self) -> Option<T> {
        let line = self.rotation.pop_front()?;
        let waiters = self.lines.get_mut(&line)?;
        let first = waiters.pop_first();
        if waiters.is_empty() {
            self.lines.remove(&line);
        } else {
            self.rotation.push_back(line);
        }
        first.map(|(_, waiter)| waiter)
    }

    /// The number of waiters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.values().map(BTreeMap::len).sum()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every waiter, in the order in which they are served.
    fn served(mut turns: Turns<&str, u32, &'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn lines_take_turns_and_each_keeps_its_order() {
        let mut turns = Turns::default();
        for (order, line, waiter) in [(3, "a", "a3"), (1, "a", "a1"), (2, "a", "a2"), (4, "b", "b4"), (5, "c", "c5")] {
            turns.insert(line, order, waiter);
        }
        assert_eq!(turns.len(), 5);
        assert_eq!(served(turns), ["a1", "b4", "c5", "a2", "a3"]);
    }

    #[test]
    fn a_line_without_waiters_has_no_turn_and_gets_one_turn_when_it_comes_back() {
        let mut turns = Turns::default();
        turns.insert("a", 1, "a1");
        turns.insert("b", 2, "b2");
        assert_eq!((turns.remove(&"a", &1), turns.remove(&"a", &1)), (Some("a1"), None));
        turns.insert("a", 3, "a3");
        turns.insert("a", 4, "a4");
        turns.insert("b", 5, "b5");
        assert_eq!(served(turns), ["b2", "a3", "b5", "a4"]);
    }
}
