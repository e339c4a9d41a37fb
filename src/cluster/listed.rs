//! What is known of the objects of one kind, through every list of them that is read anew. Pure.

use std::{collections::HashMap, hash::Hash};

/// What is known of each object of a kind, for as long as it is there.
#[derive(Debug)]
pub(super) struct Listed<K, F> {
    now: HashMap<K, F>,
    /// From before the list that is being read.
    before: HashMap<K, F>,
}

impl<K, F> Default for Listed<K, F> {
    fn default() -> Self {
        Self { now: HashMap::new(), before: HashMap::new() }
    }
}

impl<K: Hash + Eq, F> Listed<K, F> {
    /// All objects are listed anew from here.
    pub(super) fn begin(&mut self) {
        self.before.extend(self.now.drain());
    }

    /// What was known of an object of which this is known now.
    pub(super) fn replace(&mut self, object: K, facts: F) -> Option<F> {
        let before = self.before.remove(&object);
        self.now.insert(object, facts).or(before)
    }

    /// An object is gone, or counts no more: what was known of it.
    pub(super) fn remove(&mut self, object: &K) -> Option<F> {
        let before = self.before.remove(object);
        self.now.remove(object).or(before)
    }

    /// The list is read: those that were not in it.
    pub(super) fn gone(&mut self) -> Vec<K> {
        self.before.drain().map(|(object, _)| object).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_no_list_any_more_is_gone_and_a_list_that_is_broken_off_loses_nothing() {
        let mut listed = Listed::default();
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
