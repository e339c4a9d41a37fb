//! What the replacement of an outdated pod waits for. No part of being ready: what runs serves.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Finding, finding};
use crate::node::{
    apply::Applied,
    rollout::plan::{Absence, Named, Wait},
};

/// What has not served for so long is not on its way any more.
const STOPPED: SignedDuration = SignedDuration::from_mins(5);

/// So many of those that have stopped are named.
const NAMED: usize = 5;

/// There only while something waits.
pub(super) fn rolled_out(applied: &Applied, now: Timestamp) -> Option<Finding> {
    let (reason, cause) = match applied.rollout.as_ref()? {
        Wait::Turn(named) => ("WaitingForTurn", format!("{} is replaced first", spoken(named))),
        Wait::Soaks(named, available) => (
            "WaitingForHealth",
            format!("{} has begun to serve and is watched until {available:.0}", spoken(named)),
        ),
        Wait::Away(named, Absence { why, since }) => {
            let stopped = since.filter(|since| now.duration_since(*since) >= STOPPED);
            let reason = if stopped.is_some() { "RolloutStopped" } else { "WaitingForHealth" };
            let since = stopped.map(|since| format!(" since {since:.0}")).unwrap_or_default();
            (reason, format!("{} does not serve{since}: {why}", spoken(named)))
        }
        Wait::Fleet { most, stopped } => {
            let some: Vec<_> = stopped.iter().take(NAMED).map(String::as_str).collect();
            let stopped = match some.as_slice() {
                [] => String::new(),
                some => format!("; for 5 minutes and more {}", some.join(", ")),
            };
            ("FleetBusy", format!("{most} pods are on their way, as many as --max-rollouts allows{stopped}"))
        }
        Wait::Trial(node) => (
            "GuardOnTrial",
            format!("what this operator renders, with its guard image, goes to node {node} first"),
        ),
        Wait::Tried => (
            "GuardOnTrial",
            "what this operator renders, with its guard image, goes to another node first: here it did not get on for 5 minutes".into(),
        ),
        Wait::Budget(named) => (
            "EvictionRefused",
            format!(
                "a disruption budget refuses the end of the pod of {}: look at the budgets of its namespace with kubectl get pdb",
                spoken(named)
            ),
        ),
        Wait::Chain => {
            ("ChainStalled", "the chain makes no blocks, or was not looked at yet: see ChainAdvancing".into())
        }
        Wait::CatchesUp(named) => (
            "WaitingForHealth",
            format!("{} has not caught up with its network, or has too few peers", spoken(named)),
        ),
        Wait::Voter(address) => ("ValidatorMissing", format!("{}: see QuorumTolerant", gone(address))),
    };
    let message = format!("a pod of an older revision is not replaced yet: {cause}");
    Some(finding("RolledOut", "False", reason, message))
}

/// That a validator of the chain is not here any more.
pub(super) fn gone(address: &str) -> String {
    format!("validator {address} of the chain ran here, and no node with role Validator has its key now")
}

fn spoken(named: &Named) -> String {
    format!("the {} of node {}", named.component.spoken(), named.node)
}

/// One of each, for tests.
#[cfg(test)]
pub(super) fn every_wait() -> Vec<Wait> {
    let named = || Named { node: "bob".into(), component: crate::node::names::Component::Client };
    let stopped = Absence { why: "it is broken".into(), since: Some(Timestamp::UNIX_EPOCH) };
    vec![
        Wait::Turn(named()),
        Wait::Soaks(named(), Timestamp::MAX),
        Wait::Away(named(), stopped),
        Wait::Fleet { most: 5, stopped: vec![] },
        Wait::Trial("ledger/bob".into()),
        Wait::Tried,
        Wait::Budget(named()),
        Wait::Chain,
        Wait::CatchesUp(named()),
        Wait::Voter("0x5".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::names::Component;

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
            said(Wait::Turn(named.clone())),
            told("WaitingForTurn", "the transaction manager of node bob is replaced first")
        );
        let available = "2031-03-07T11:13:40Z".parse().expect("a time");
        assert_eq!(
            said(Wait::Soaks(named.clone(), available)),
            told(
                "WaitingForHealth",
                "the transaction manager of node bob has begun to serve and is watched until 2031-03-07T11:13:40Z"
            )
        );
        let away = |since: Option<&str>| {
            let since = since.map(|since| since.parse().expect("a time"));
            let absence = Absence { why: "container manager waits: ImagePullBackOff".into(), since };
            said(Wait::Away(named.clone(), absence))
        };
        let cause = |since: &str| {
            format!(
                "the transaction manager of node bob does not serve{since}: container manager waits: ImagePullBackOff"
            )
        };
        assert_eq!(away(None), told("WaitingForHealth", &cause("")));
        assert_eq!(away(Some("2031-03-07T11:08:18Z")), told("WaitingForHealth", &cause("")));
        let since = "2031-03-07T11:08:17Z";
        assert_eq!(away(Some(since)), told("RolloutStopped", &cause(&format!(" since {since}"))));
    }

    #[test]
    fn a_node_that_waits_for_the_fleet_names_some_of_it() {
        let fleet = |stopped: usize| {
            let stopped = (0..stopped).map(|i| format!("ledger/node-{i}-client")).collect();
            said(Wait::Fleet { most: 7, stopped })
        };
        let (reason, cause) = fleet(0);
        assert_eq!((reason.as_str(), cause.contains(';')), ("FleetBusy", false));
        let (_, cause) = fleet(7);
        assert!(cause.starts_with("7 pods are") && cause.ends_with("ledger/node-4-client"), "{cause}");
        let (reason, cause) = said(Wait::Trial("ledger/bob".into()));
        assert_eq!(reason, "GuardOnTrial");
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
