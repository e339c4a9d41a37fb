//! Assesses a client's peer connections from the report of its metrics sidecar. Pure.

use std::time::Duration;

use crate::protocol::peer_connections::{Connections, Suspect};

/// Seconds without a connection after which a peer is reported as missing. A pod that is replaced reconnects sooner.
const GRACE_SECONDS: u32 = 120;

/// Reports older than this are ignored.
const FRESH: Duration = Duration::from_secs(100);

/// State of a client's peer connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerState {
    /// Unknown: there is no recent report of a metrics sidecar.
    #[default]
    Unseen,
    /// Some peers have been missing for less than two minutes, or the client has no list of peers yet.
    Untold,
    /// No peer is missing.
    All,
    /// Peers have been missing for two minutes or longer.
    Missing {
        /// Minimum number of missing peers.
        count: u32,
        /// Peers that may be among the missing ones; at most eight are named.
        suspects: Vec<Suspect>,
    },
}

impl PeerState {
    /// Assesses a report and the time when it was read. Both times are of the same monotonic clock.
    #[must_use]
    pub fn judge(told: Option<&(Duration, Connections)>, now: Duration) -> Self {
        match told {
            Some((at, seen)) if now.saturating_sub(*at) <= FRESH => match seen {
                // its list has not come yet
                Connections { listed: 0, .. } => Self::Untold,
                Connections { missing: 0, .. } => Self::All,
                Connections { seconds, .. } if *seconds < GRACE_SECONDS => Self::Untold,
                Connections { missing, suspects, .. } => {
                    Self::Missing { count: *missing, suspects: suspects.clone() }
                }
            },
            _ => Self::Unseen,
        }
    }
}
