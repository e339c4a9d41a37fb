//! Whether a client has met the peers of its list, from what its metrics sidecar sees of its connections. Pure.

use std::time::Duration;

use crate::connections::{Connections, Suspect};

/// A peer that was missing for so long is named. One that is replaced is back before.
const PATIENCE: u32 = 120;

/// What was heard longer ago says nothing.
const FRESH: Duration = Duration::from_secs(100);

/// Which peers of its list a client lacks. It does not change by time alone, but where enough of it has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Met {
    /// Nobody knows: the client has no sidecar that looks, or it was not heard lately.
    #[default]
    Unseen,
    /// Some are missing, and not for long.
    Untold,
    /// None.
    All,
    /// Some, for long.
    Missing {
        /// How many at least.
        count: u32,
        /// Who may be among them, as far as they are named.
        suspects: Vec<Suspect>,
    },
}

impl Met {
    /// From what was told and when, on the clock by which it is `now`.
    #[must_use]
    pub fn judge(told: Option<&(Duration, Connections)>, now: Duration) -> Self {
        match told {
            Some((at, seen)) if now.saturating_sub(*at) <= FRESH => match seen {
                // its list has not come yet
                Connections { listed: 0, .. } => Self::Untold,
                Connections { missing: 0, .. } => Self::All,
                Connections { seconds, .. } if *seconds < PATIENCE => Self::Untold,
                Connections { missing, suspects, .. } => {
                    Self::Missing { count: *missing, suspects: suspects.clone() }
                }
            },
            _ => Self::Unseen,
        }
    }
}
