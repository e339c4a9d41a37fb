//! What a node's status says of its chain.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{Course, View};
use crate::{
    api::node::Role,
    node::{genesis::Validators, observed::Observed, validate::Validated},
};

/// What a node's status says of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// In one word.
    pub reason: String,
    /// In many.
    pub message: String,
}

impl From<&Condition> for Told {
    /// Without what was said of the node itself.
    fn from(condition: &Condition) -> Self {
        let status = match condition.status.as_str() {
            "True" => "True",
            "False" => "False",
            _ => "Unknown",
        };
        let message = condition.message.split("; ").next().unwrap_or_default();
        Self { status, reason: condition.reason.clone(), message: message.into() }
    }
}

/// Reason of a chain that stands still.
const STALLED: &str = "HeadStalled";

/// Type of the condition.
pub const ADVANCING: &str = "ChainAdvancing";

/// Whether the node's chain makes blocks. What was told before is told until it is known not to be so.
#[must_use]
pub fn told(observed: &Observed) -> Told {
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions);
    let before = before.find(|condition| condition.type_ == ADVANCING).map(Told::from);
    if let (Some(before), Some(View { looked: false, .. })) = (&before, &observed.chain) {
        return before.clone();
    }
    let stood = before.as_ref().filter(|before| before.status == "False");
    let at = |block: u64| format!("no block came after block {block}, since ");
    let (status, reason, message) = match observed.chain.as_ref().map(|view| &view.verdict.course) {
        None => (
            "Unknown",
            "NotSeen",
            "nobody looks: the operator's pods are not named in --operator-pod-labels".into(),
        ),
        Some(Course::Unseen) => {
            ("Unknown", "NotSeen", "no client of the network could be asked for its head".into())
        }
        Some(Course::AtGenesis) => ("Unknown", "AtGenesis", "the chain has made no block yet".into()),
        Some(Course::Untold) => match before {
            Some(before) if before.status != "Unknown" => return before,
            _ => ("Unknown", "NotSeen", "the chain was not seen for long enough to tell".into()),
        },
        Some(Course::Advances) => ("True", "Advancing", "the chain makes blocks".into()),
        Some(Course::Stands { block, since }) => {
            let since = Timestamp::from_second(since.as_second()).unwrap_or(*since).to_string();
            let known = stood.and_then(|stood| stood.message.strip_prefix(&at(*block))?.split_once(": "));
            let since = known.map_or(since.as_str(), |(known, _)| known);
            let what_to_do = "bring back validators that are away and see that they reach each other. Until blocks come again no pod that serves is replaced";
            ("False", STALLED, format!("{}{since}: {what_to_do}", at(*block)))
        }
    };
    Told { status, reason: reason.into(), message }
}

/// That the node is a validator by its role and none by the genesis. It may have been voted in, so this stops nothing.
#[must_use]
pub fn stranger(observed: &Observed, node: &Validated) -> Option<String> {
    let identity = node.identity.as_ref().filter(|_| node.spec.role == Role::Validator)?;
    let head = observed.chain.as_ref().map_or(0, |view| view.head);
    if !node.spec.consensus.validator_addresses.is_empty() {
        let mut stated = node.spec.consensus.validator_addresses.iter();
        let is_stated = stated.any(|address| address.eq_ignore_ascii_case(&identity.address));
        return (!is_stated).then(|| {
            let address = &identity.address;
            format!("its address {address} is none of spec.consensus.validatorAddresses: it makes no block unless it is a validator all the same")
        });
    }
    let Validators::Listed(listed) = node.genesis.schedule.validators(head) else { return None };
    (!listed.contains(&identity.address)).then(|| {
        format!(
            "its address {} is none of the {} that the genesis names as validators: it makes no block unless they have voted it in",
            identity.address,
            listed.len()
        )
    })
}
