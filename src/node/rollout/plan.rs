//! The rule by which pods are replaced by choice: few of a network at a time, and none while one that was replaced is not
//! healthy.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::ORDER;
use crate::{api::rollout::Rollout, node::names::Component};

/// A part that has not served for less may be on its way back.
const MOMENT: SignedDuration = SignedDuration::from_secs(60);

/// A part of a network, as a rollout goes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which one.
    pub named: Named,
    /// Uid of its pod; empty without one.
    pub pod: String,
    /// Whether the chain may need it to make blocks.
    pub is_validator: bool,
    /// Whether it serves.
    pub health: Health,
    /// Whether its pod is outdated, and the reconciles of its node would replace it.
    pub is_waiting: bool,
}

/// A part by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its node.
    pub node: String,
    /// Which part of it.
    pub component: Component,
}

/// Whether a part serves, and since when as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serves(Option<Timestamp>),
    /// It does not.
    Away(Absence),
}

/// Why a part does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// The cause, for a message.
    pub why: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// How much of a network may be unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parts that may be.
    pub max_unavailable: usize,
    /// How long a part must have served to be available.
    pub min_ready: SignedDuration,
    /// Validators that may be, as far as those are concerned that are no nodes here.
    pub validators: usize,
}

/// Why a part is not replaced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Another part goes first.
    Turn(Named),
    /// A part has begun to serve, and is available from then on.
    Soaks(Named, Timestamp),
    /// A part does not serve.
    Away(Named, Absence),
    /// As many pods of the fleet as may be are on their way.
    Fleet {
        /// How many may be.
        most: usize,
        /// Those that have been for long.
        stopped: Vec<String>,
    },
    /// What this operator renders is tried on that node first.
    Trial(String),
    /// It was tried on this node, which did not get on.
    Tried,
    /// A disruption budget refuses the end of its pod.
    Budget(Named),
    /// The chain stands still, or was not looked at yet.
    Chain,
    /// A client has not caught up with the others of its network, or has too few peers.
    CatchesUp(Named),
    /// So many validators of the chain, of which this is the first by its address, ran here and do not any more that no other one
    /// can be spared.
    Voter(String),
}

impl Limits {
    /// The strictest of several.
    #[must_use]
    pub fn strictest(of: impl IntoIterator<Item = Rollout>) -> Self {
        let strictest = of.into_iter().reduce(|one, other| Rollout {
            max_unavailable: one.max_unavailable.min(other.max_unavailable),
            min_ready_seconds: one.min_ready_seconds.max(other.min_ready_seconds),
        });
        let strictest = strictest.unwrap_or_default();
        Self {
            max_unavailable: usize::try_from(strictest.max_unavailable).unwrap_or_default().max(1),
            min_ready: SignedDuration::from_secs(strictest.min_ready_seconds.into()),
            validators: usize::MAX,
        }
    }
}

impl Part {
    /// Members before validators, by node, and within one the database first.
    fn place(&self) -> (bool, &str, Option<usize>) {
        let order = ORDER.iter().position(|component| *component == self.named.component);
        (self.is_validator, &self.named.node, order)
    }

    /// Why it is not available.
    #[must_use]
    pub fn trouble(&self, limits: Limits, now: Timestamp) -> Option<Wait> {
        match &self.health {
            Health::Away(absence) => Some(Wait::Away(self.named.clone(), absence.clone())),
            Health::Serves(since) => {
                let available = since.and_then(|since| since.checked_add(limits.min_ready).ok());
                let available = available.filter(|available| *available > now);
                available.map(|available| Wait::Soaks(self.named.clone(), available))
            }
        }
    }

    /// Whether it has not served for long enough that waiting for it brings nothing.
    fn is_lost(&self, now: Timestamp) -> bool {
        let Health::Away(absence) = &self.health else { return false };
        absence.since.is_none_or(|since| now.duration_since(since) >= MOMENT)
    }

    /// Whether nobody misses it: it has not served for a minute, or is a database whose one client, the transaction manager,
    /// has not.
    #[must_use]
    pub fn is_idle(&self, network: &[Part], now: Timestamp) -> bool {
        let manager = Named { component: Component::TransactionManager, ..self.named.clone() };
        let is_database = self.named.component == Component::Database;
        let is_lost = |other: &Part| other.named == manager && other.is_lost(now);
        self.is_lost(now) || is_database && network.iter().any(is_lost)
    }
}

/// Decides whether a part that waits may be replaced now. `network` are the parts of its network, itself among them.
///
/// # Errors
/// What it waits for.
pub fn may_go(part: &Part, network: &[Part], limits: Limits, now: Timestamp) -> Result<(), Wait> {
    if part.is_idle(network, now) {
        return Ok(());
    }
    // a node that is short of a part already loses no other
    let own = |other: &&Part| other.named.node == part.named.node;
    if let Some(wait) = network.iter().filter(own).find_map(|own| own.trouble(limits, now)) {
        return Err(wait);
    }
    if let Some(first) = network.iter().filter(own).find(|own| own.is_waiting && own.place() < part.place()) {
        return Err(Wait::Turn(first.named.clone()));
    }
    let is_whole = |node: &str| {
        let mut parts = network.iter().filter(|other| other.named.node == node);
        parts.all(|other| other.trouble(limits, now).is_none())
    };
    let goes_before =
        |other: &&Part| other.is_waiting && other.place() < part.place() && is_whole(&other.named.node);
    let taken = |group: &dyn Fn(&&Part) -> bool| {
        let away = network.iter().filter(group).filter_map(|other| other.trouble(limits, now));
        let before = network.iter().filter(group).filter(goes_before);
        away.chain(before.map(|other| Wait::Turn(other.named.clone()))).collect::<Vec<_>>()
    };
    has_room(taken(&|_| true), limits.max_unavailable)?;
    if part.is_validator {
        let validators = network.iter().filter(|other| other.is_validator).count();
        let tolerated = (validators.saturating_sub(1) / 3).max(1);
        has_room(
            taken(&|other| other.is_validator),
            limits.max_unavailable.min(tolerated).min(limits.validators),
        )?;
    }
    Ok(())
}

/// Whether fewer are taken than may be. Of those that are, what does not serve is named before what has just begun to.
fn has_room(taken: Vec<Wait>, most: usize) -> Result<(), Wait> {
    if taken.len() < most {
        return Ok(());
    }
    let rank = |wait: &Wait| match wait {
        Wait::Away(..) => (0, None),
        Wait::Soaks(_, available) => (1, Some(*available)),
        _ => (2, None),
    };
    taken.into_iter().min_by_key(rank).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
