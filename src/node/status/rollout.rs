//! Condition `RolledOut`: what the replacement of an outdated pod waits for. Not part of `Ready`: the outdated pod
//! serves.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Finding, finding};
use crate::node::{
    apply::Applied,
    decide::rollout::plan::{Absence, Named, Wait},
};

/// Time without service after which a part stops a rollout.
const STOPPED: SignedDuration = SignedDuration::from_mins(5);

/// Maximum number of stopped parts in a message.
const NAMED: usize = 5;

/// The condition; `None` while no replacement waits.
pub(crate) fn rolled_out(applied: &Applied, now: Timestamp) -> Option<Finding> {
    let (reason, cause) = match applied.rollout.as_ref()? {
        Wait::Queued(named) => ("RolloutQueued", format!("{} is replaced first", spoken(named))),
        Wait::MinReady(named, available) => (
            "WaitingForHealth",
            format!("{} has begun to serve and counts as available only from {available:.0}", spoken(named)),
        ),
        Wait::Away(named, Absence { why, since }) => {
            let stopped = since.filter(|since| now.duration_since(*since) >= STOPPED);
            let reason = if stopped.is_some() { "RolloutStopped" } else { "WaitingForHealth" };
            let serves = stopped
                .map_or("does not serve".to_owned(), |since| format!("has not served since {since:.0}"));
            (reason, format!("{} {serves}: {why}", spoken(named)))
        }
        Wait::RolloutLimit { most, stopped } => {
            let some: Vec<_> = stopped.iter().take(NAMED).map(String::as_str).collect();
            let stopped = match some.as_slice() {
                [] => String::new(),
                some => format!("; these have been unavailable for 5 minutes or longer: {}", some.join(", ")),
            };
            (
                "RolloutLimitReached",
                format!(
                    "the flag --max-rollouts allows {most} pods in the cluster to be replaced at a time, and {most} pods are being replaced{stopped}"
                ),
            )
        }
        Wait::Canary(node) => (
            "GuardCanary",
            format!(
                "the operator first rolls out the new guard image or operator version to node {node} (the canary)"
            ),
        ),
        Wait::CanaryFailed => (
            "GuardCanary",
            "this node was the canary for the new guard image or operator version and did not become available within 5 minutes, so the operator first tries another node as the canary".into(),
        ),
        Wait::Budget(named) => (
            "EvictionRefused",
            format!(
                "a PodDisruptionBudget rejects the eviction of the pod of {}: check the PodDisruptionBudgets of the namespace with kubectl get pdb",
                spoken(named)
            ),
        ),
        Wait::Chain => (
            "ChainStalled",
            "the chain makes no blocks, or the operator has not probed the chain yet, see the condition ChainAdvancing".into(),
        ),
        Wait::CatchesUp(named) => (
            "WaitingForHealth",
            format!("{} has not caught up with its network, or has too few peers", spoken(named)),
        ),
        Wait::MissingValidator(address) => {
            ("ValidatorMissing", format!("{}, see the condition QuorumTolerant", gone(address)))
        }
    };
    let message = format!("a pod with an older revision waits to be replaced: {cause}");
    Some(finding("RolledOut", "False", reason, message))
}

/// A message about a validator of the chain that has no node here any more.
pub(crate) fn gone(address: &str) -> String {
    format!(
        "validator {address} of the chain ran in this namespace, but no node with role Validator has the validator's key now"
    )
}

fn spoken(named: &Named) -> String {
    format!("the {} of node {}", named.component.spoken(), named.node)
}

/// One of each, for tests.
#[cfg(test)]
pub(crate) fn every_wait() -> Vec<Wait> {
    let named = || Named { node: "bob".into(), component: crate::model::names::Component::Client };
    let stopped = Absence { why: "it is broken".into(), since: Some(Timestamp::UNIX_EPOCH) };
    vec![
        Wait::Queued(named()),
        Wait::MinReady(named(), Timestamp::MAX),
        Wait::Away(named(), stopped),
        Wait::RolloutLimit { most: 5, stopped: vec![] },
        Wait::Canary("ledger/bob".into()),
        Wait::CanaryFailed,
        Wait::Budget(named()),
        Wait::Chain,
        Wait::CatchesUp(named()),
        Wait::MissingValidator("0x5".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::names::Component;

    fn said(wait: Wait) -> (String, String) {
        let applied = Applied { rollout: Some(wait), ..Applied::default() };
        let now = "2031-03-07T11:13:17Z".parse().expect("a time");
        let said = rolled_out(&applied, now).expect("it waits");
        assert_eq!((said.kind, said.status), ("RolledOut", "False"));
        (said.reason, said.message.split_once(": ").expect("a cause").1.to_owned())
    }

    #[test]
    fn a_node_that_waits_says_for_which_part_of_which_node_and_why() {
        let named = Named { node: "bob".into(), component: Component::TransactionManager };
        let told = |reason: &str, cause: &str| (reason.to_owned(), cause.to_owned());
        assert_eq!(
            said(Wait::Queued(named.clone())),
            told("RolloutQueued", "the transaction manager of node bob is replaced first")
        );
        let available = "2031-03-07T11:13:40Z".parse().expect("a time");
        assert_eq!(
            said(Wait::MinReady(named.clone(), available)),
            told(
                "WaitingForHealth",
                "the transaction manager of node bob has begun to serve and counts as available only from 2031-03-07T11:13:40Z"
            )
        );
        let away = |since: Option<&str>| {
            let since = since.map(|since| since.parse().expect("a time"));
            let absence = Absence { why: "container manager waits: ImagePullBackOff".into(), since };
            said(Wait::Away(named.clone(), absence))
        };
        let cause = |serves: &str| {
            format!("the transaction manager of node bob {serves}: container manager waits: ImagePullBackOff")
        };
        assert_eq!(away(None), told("WaitingForHealth", &cause("does not serve")));
        assert_eq!(away(Some("2031-03-07T11:08:18Z")), told("WaitingForHealth", &cause("does not serve")));
        let since = "2031-03-07T11:08:17Z";
        assert_eq!(
            away(Some(since)),
            told("RolloutStopped", &cause(&format!("has not served since {since}")))
        );
    }

    #[test]
    fn a_node_that_waits_for_the_fleet_names_some_of_it() {
        let fleet = |stopped: usize| {
            let stopped = (0..stopped).map(|i| format!("ledger/node-{i}-client")).collect();
            said(Wait::RolloutLimit { most: 7, stopped })
        };
        let (reason, cause) = fleet(0);
        assert_eq!((reason.as_str(), cause.contains(';')), ("RolloutLimitReached", false));
        let (_, cause) = fleet(7);
        assert!(
            cause.contains("7 pods are being replaced") && cause.ends_with("ledger/node-4-client"),
            "{cause}"
        );
        let (reason, cause) = said(Wait::Canary("ledger/bob".into()));
        assert_eq!(reason, "GuardCanary");
        assert!(cause.contains("ledger/bob"), "{cause}");
    }

    #[test]
    fn a_node_that_waits_for_the_chain_says_so() {
        assert_eq!(said(Wait::Chain).0, "ChainStalled");
        let named = Named { node: "bob".into(), component: Component::Client };
        let (reason, cause) = said(Wait::CatchesUp(named));
        assert_eq!(reason, "WaitingForHealth");
        assert!(cause.starts_with("the client of node bob has not caught up"), "{cause}");
    }

    #[test]
    fn a_node_that_does_not_wait_says_nothing() {
        assert_eq!(rolled_out(&Applied::default(), Timestamp::default()), None);
    }
}
