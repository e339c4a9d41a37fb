//! Peers that a client has admitted since it started. geth checks its list of admitted nodes only when a connection is
//! made, and leaves existing connections: a node that has left the list is disconnected only by a restart. A node may
//! be back in a moment, for example if it is deleted and recreated, so the restart waits for that.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::node::decide::absent_nodes::Roll;

/// Number of characters of a node's public key that identify it.
const ID: usize = 16;

/// Admitted peers as recorded on the client's workload: `MARK:ID,ID,ID@SECOND`, where the last one left in that second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Part of the pod template: a new value restarts the client.
    pub(super) mark: String,
    ids: Roll,
}

/// Whether peers that have left may cause a restart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaving {
    /// The current time.
    pub now: Timestamp,
    /// Whether a validator of the network is absent: no client is restarted for this meanwhile.
    pub waits: bool,
}

impl Admitted {
    /// The next record, from the current one and the enode URLs to admit. A new peer does not change the mark. Peers
    /// that have left change it after a delay, all together.
    pub(super) fn next(live: Option<&str>, admitted_peers: &[String], leaving: Leaving) -> Self {
        let live = live.map(Self::read).unwrap_or_default();
        let ids = live.ids.next(admitted_peers.iter().map(|enode| id(enode)).collect(), leaving.now);
        if leaving.waits || !ids.is_over(leaving.now) {
            return Self { mark: live.mark, ids };
        }
        let left = Sha256::digest(live.to_string());
        Self { mark: left.iter().take(4).map(|byte| format!("{byte:02x}")).collect(), ids: ids.settled() }
    }

    fn read(text: &str) -> Self {
        let (mark, ids) = text.split_once(':').unwrap_or_default();
        Self { mark: mark.to_owned(), ids: Roll::read(ids) }
    }
}

fn id(enode: &str) -> String {
    enode.trim_start_matches("enode://").chars().take(ID).collect()
}

impl fmt::Display for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.mark, self.ids)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn enodes(keys: &BTreeSet<u8>) -> Vec<String> {
        keys.iter()
            .map(|key| format!("enode://{}@10.0.0.1:30303?discport=0", format!("{key:02x}").repeat(64)))
            .collect()
    }

    fn leaving(second: i64, waits: bool) -> Leaving {
        Leaving { now: Timestamp::from_second(second).expect("a time"), waits }
    }

    proptest! {
        /// The client is restarted if and only if a peer has been off the list for five minutes without a break, and no
        /// validator is absent.
        #[test]
        fn the_mark_moves_exactly_when_somebody_stays_away(
            lists in prop::collection::vec((prop::collection::btree_set(0u8..6, 0..5), 1i64..400, any::<bool>()), 1..16)
        ) {
            let (mut live, mut now) = (None::<String>, 1_800_000_000);
            // peers that left since the last change of the mark, and when
            let (mut away, mut on) = (std::collections::BTreeMap::new(), BTreeSet::new());
            for (list, step, waits) in &lists {
                now += step;
                away.extend(on.iter().map(|key| (*key, now)));
                away.retain(|key, _| !list.contains(key));
                on.clone_from(list);
                let moves = !waits && away.values().any(|since| now - since >= 300);
                if moves {
                    away.clear();
                }
                let before = live.as_deref().map(Admitted::read).unwrap_or_default();
                let next = Admitted::next(live.as_deref(), &enodes(list), leaving(now, *waits));
                prop_assert_eq!(next.mark != before.mark, moves);
                prop_assert_eq!(Admitted::read(&next.to_string()), next.clone());
                // a write with a lost response is repeated unchanged
                prop_assert_eq!(&Admitted::next(live.as_deref(), &enodes(list), leaving(now, *waits)), &next);
                prop_assert_eq!(&Admitted::next(Some(&next.to_string()), &enodes(list), leaving(now, *waits)), &next);
                live = Some(next.to_string());
            }
        }
    }

    #[test]
    fn a_client_that_starts_has_no_mark() {
        assert_eq!(
            Admitted::next(None, &enodes(&[1, 2].into()), leaving(9, false)).to_string(),
            ":0101010101010101,0202020202020202"
        );
    }
}
