//! Facts about the objects of one kind, maintained across relists. Pure.

use std::{collections::HashMap, hash::Hash};

/// Facts about each existing object of a kind.
#[derive(Debug)]
pub(crate) struct Relist<K, F> {
    now: HashMap<K, F>,
    /// Facts from before the current relist, about objects that it has not shown yet.
    before: HashMap<K, F>,
}

impl<K, F> Default for Relist<K, F> {
    fn default() -> Self {
        Self { now: HashMap::new(), before: HashMap::new() }
    }
}

impl<K: Hash + Eq, F> Relist<K, F> {
    /// Begins a relist.
    pub(crate) fn begin(&mut self) {
        self.before.extend(self.now.drain());
    }

    /// Stores facts about an object, and returns the previous ones.
    pub(crate) fn replace(&mut self, object: K, facts: F) -> Option<F> {
        let before = self.before.remove(&object);
        self.now.insert(object, facts).or(before)
    }

    /// Removes an object, and returns its facts.
    pub(crate) fn remove(&mut self, object: &K) -> Option<F> {
        let before = self.before.remove(object);
        self.now.remove(object).or(before)
    }

    /// Ends a relist, and returns the objects that were not in it.
    pub(crate) fn gone(&mut self) -> Vec<K> {
        self.before.drain().map(|(object, _)| object).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_list_any_more_is_gone_and_a_list_that_is_broken_off_loses_nothing() {
        let mut listed = Relist::default();
        for (object, facts) in [("alice", 1), ("bob", 1), ("carol", 1)] {
            assert_eq!(listed.replace(object, facts), None);
        }
        assert_eq!(listed.replace("alice", 2), Some(1));
        listed.begin();
        assert_eq!(listed.replace("bob", 2), Some(1));
        listed.begin();
        assert_eq!((listed.replace("alice", 3), listed.replace("bob", 3)), (Some(2), Some(2)));
        assert_eq!(listed.gone(), ["carol"]);
        assert_eq!((listed.remove(&"alice"), listed.remove(&"alice")), (Some(3), None));
        listed.begin();
        assert_eq!((listed.remove(&"bob"), listed.gone()), (Some(3), vec![]));
        assert_eq!((listed.now.len(), listed.before.len()), (0, 0));
    }
}
