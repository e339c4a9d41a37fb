//! Decides when the operator may replace an outdated pod: only a few pods of a network at a time, and none while a
//! replaced pod is not healthy.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::ORDER;
use crate::{api::rollout::Rollout, model::names::Component};

/// Time without service after which a part counts as lost. A part that has not served for less may still come back.
const LOST_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// State of a part of a network in a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The part.
    pub named: Named,
    /// Uid of its pod; empty without one.
    pub pod: String,
    /// Whether the chain may need it to make blocks.
    pub is_validator: bool,
    /// Whether it serves.
    pub health: Health,
    /// Whether its pod is outdated, and its node's reconciles would replace it.
    pub is_waiting: bool,
}

/// A part of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its node.
    pub node: String,
    /// Its component.
    pub component: Component,
}

/// Whether a part serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves, since this time if known.
    Serves(Option<Timestamp>),
    /// It does not serve.
    Away(Absence),
}

/// Why a part does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// The cause, for a message.
    pub why: String,
    /// Since when it has not served, if known.
    pub since: Option<Timestamp>,
}

/// How much of a network may be unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of parts that may be unavailable.
    pub max_unavailable: usize,
    /// How long a part must have served to be available.
    pub min_ready: SignedDuration,
    /// Number of validators that may be unavailable in addition to those without a node here.
    pub validators: usize,
}

/// Why a part is not replaced yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Another part is replaced first.
    Queued(Named),
    /// A part has begun to serve and becomes available at this time.
    MinReady(Named, Timestamp),
    /// A part does not serve.
    Away(Named, Absence),
    /// The limit of concurrent replacements in the cluster is reached.
    RolloutLimit {
        /// The limit.
        most: usize,
        /// Parts that have been unavailable for five minutes or longer.
        stopped: Vec<String>,
    },
    /// This node, `NAMESPACE/NAME`, is the canary of the operator's new revision.
    Canary(String),
    /// This node was the canary and did not become available in time.
    CanaryFailed,
    /// A disruption budget rejects the eviction of its pod.
    Budget(Named),
    /// The chain is stalled or was not probed yet.
    Chain,
    /// A client has not caught up with its network, or has too few peers.
    CatchesUp(Named),
    /// Validators of the chain have no node here any more, so no other validator may be unavailable; holds the lowest
    /// of their addresses.
    MissingValidator(String),
}

impl Limits {
    /// The strictest of several limits.
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
    /// Sort key of the rollout queue: members before validators, then by node, then by component.
    fn queue_order(&self) -> (bool, &str, Option<usize>) {
        let order = ORDER.iter().position(|component| *component == self.named.component);
        (self.is_validator, &self.named.node, order)
    }

    /// Why it is not available; `None` where it is.
    #[must_use]
    pub fn trouble(&self, limits: Limits, now: Timestamp) -> Option<Wait> {
        match &self.health {
            Health::Away(absence) => Some(Wait::Away(self.named.clone(), absence.clone())),
            Health::Serves(since) => {
                let available = since.and_then(|since| since.checked_add(limits.min_ready).ok());
                let available = available.filter(|available| *available > now);
                available.map(|available| Wait::MinReady(self.named.clone(), available))
            }
        }
    }

    /// Whether it has not served for so long that waiting for it is useless.
    fn is_lost(&self, now: Timestamp) -> bool {
        let Health::Away(absence) = &self.health else { return false };
        absence.since.is_none_or(|since| now.duration_since(since) >= LOST_AFTER)
    }

    /// Whether replacing it interrupts no service: it has not served for a minute, or it is the database of a
    /// transaction manager that has not.
    #[must_use]
    pub fn is_idle(&self, network: &[Part], now: Timestamp) -> bool {
        let manager = Named { component: Component::TransactionManager, ..self.named.clone() };
        let is_database = self.named.component == Component::Database;
        let is_lost = |other: &Part| other.named == manager && other.is_lost(now);
        self.is_lost(now) || is_database && network.iter().any(is_lost)
    }
}

/// Decides whether a waiting part may be replaced now. `network` are the parts of its network, including the part
/// itself.
///
/// # Errors
/// What it waits for.
pub fn may_go(part: &Part, network: &[Part], limits: Limits, now: Timestamp) -> Result<(), Wait> {
    if part.is_idle(network, now) {
        return Ok(());
    }
    // a node loses only one part at a time
    let own = |other: &&Part| other.named.node == part.named.node;
    if let Some(wait) = network.iter().filter(own).find_map(|own| own.trouble(limits, now)) {
        return Err(wait);
    }
    if let Some(first) =
        network.iter().filter(own).find(|own| own.is_waiting && own.queue_order() < part.queue_order())
    {
        return Err(Wait::Queued(first.named.clone()));
    }
    let is_whole = |node: &str| {
        let mut parts = network.iter().filter(|other| other.named.node == node);
        parts.all(|other| other.trouble(limits, now).is_none())
    };
    let goes_before = |other: &&Part| {
        other.is_waiting && other.queue_order() < part.queue_order() && is_whole(&other.named.node)
    };
    let taken = |group: &dyn Fn(&&Part) -> bool| {
        let away = network.iter().filter(group).filter_map(|other| other.trouble(limits, now));
        let before = network.iter().filter(group).filter(goes_before);
        away.chain(before.map(|other| Wait::Queued(other.named.clone()))).collect::<Vec<_>>()
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

/// Checks that fewer slots are taken than exist. The error names a part that does not serve before one that has just
/// begun to serve.
fn has_room(taken: Vec<Wait>, most: usize) -> Result<(), Wait> {
    if taken.len() < most {
        return Ok(());
    }
    let rank = |wait: &Wait| match wait {
        Wait::Away(..) => (0, None),
        Wait::MinReady(_, available) => (1, Some(*available)),
        _ => (2, None),
    };
    taken.into_iter().min_by_key(rank).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
