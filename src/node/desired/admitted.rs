//! Whom a client has admitted since it started. geth looks at the list of admitted nodes at each dial and
//! keeps whoever is connected: it is rid of a node that has left the list only by a restart.

use std::{collections::BTreeSet, fmt};

use sha2::{Digest as _, Sha256};

/// So much of a node's public key tells it from every other.
const ID: usize = 16;

/// As it stands on the client's workload: `MARK:ID,ID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Part of what a pod is made from: another one restarts the client.
    pub(super) mark: String,
    ids: BTreeSet<String>,
}

impl Admitted {
    /// What follows from what stands there now and the enode URLs that are to be admitted. A newcomer leaves
    /// the mark as it is.
    pub(super) fn next(live: Option<&str>, permitted: &[String]) -> Self {
        let ids: BTreeSet<String> = permitted.iter().map(|enode| id(enode)).collect();
        let live = live.map(Self::read).unwrap_or_default();
        if live.ids.is_subset(&ids) {
            return Self { mark: live.mark, ids };
        }
        let left = Sha256::digest(live.to_string());
        Self { mark: left.iter().take(4).map(|byte| format!("{byte:02x}")).collect(), ids }
    }

    fn read(text: &str) -> Self {
        let (mark, ids) = text.split_once(':').unwrap_or_default();
        let ids = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        Self { mark: mark.to_owned(), ids }
    }
}

fn id(enode: &str) -> String {
    enode.trim_start_matches("enode://").chars().take(ID).collect()
}

impl fmt::Display for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        write!(f, "{}:{}", self.mark, ids.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn enodes(keys: &BTreeSet<u8>) -> Vec<String> {
        keys.iter()
            .map(|key| format!("enode://{}@10.0.0.1:30303?discport=0", format!("{key:02x}").repeat(64)))
            .collect()
    }

    proptest! {
        /// The client is restarted when, and only when, somebody has left since the last list.
        #[test]
        fn the_mark_moves_exactly_when_somebody_leaves(lists in prop::collection::vec(prop::collection::btree_set(0u8..6, 0..5), 1..12)) {
            let mut live: Option<String> = None;
            for (i, list) in lists.iter().enumerate() {
                let next = Admitted::next(live.as_deref(), &enodes(list));
                let before = live.as_deref().map(Admitted::read).unwrap_or_default();
                let left = i > 0 && !lists[i - 1].is_subset(list);
                prop_assert_eq!(next.mark != before.mark, left);
                prop_assert_eq!(Admitted::read(&next.to_string()), next.clone());
                // a write whose answer is lost is made again, the same
                prop_assert_eq!(&Admitted::next(live.as_deref(), &enodes(list)), &next);
                prop_assert_eq!(&Admitted::next(Some(&next.to_string()), &enodes(list)), &next);
                live = Some(next.to_string());
            }
        }
    }

    #[test]
    fn a_client_that_starts_has_no_mark() {
        assert_eq!(
            Admitted::next(None, &enodes(&[1, 2].into())).to_string(),
            ":0101010101010101,0202020202020202"
        );
    }
}
