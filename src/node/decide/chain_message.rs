//! Status, reason and message of the condition `ChainAdvancing`.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use crate::{
    api::node::Role,
    model::{
        chain::{ChainProgress, View},
        genesis::Validators,
    },
    node::{observed::Observed, validate::Validated},
};

/// Status, reason and message of `ChainAdvancing`. The message contains no `; `, which separates remarks in the
/// condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainMessage {
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// Reason of the condition.
    pub reason: String,
    /// Message of the condition.
    pub message: String,
}

impl From<&Condition> for ChainMessage {
    /// Drops the remarks about the node itself, which follow the first `; `.
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

/// Reason for a stalled chain.
const STALLED: &str = "HeadStalled";

/// Type of the condition.
pub const ADVANCING: &str = "ChainAdvancing";

/// Whether the node's chain makes blocks. The previous message stays until new observations replace it.
#[must_use]
pub fn told(observed: &Observed) -> ChainMessage {
    let mut before = observed.node.status.iter().flat_map(|status| &status.conditions);
    let before = before.find(|condition| condition.type_ == ADVANCING).map(ChainMessage::from);
    if let (Some(before), Some(View { probed: false, .. })) = (&before, &observed.chain) {
        return before.clone();
    }
    let stalled = before.as_ref().filter(|before| before.status == "False");
    let last_block = |block: u64| format!("no new block after block {block} since ");
    let (status, reason, message) = match observed.chain.as_ref().map(|view| &view.assessment.course) {
        None => (
            "Unknown",
            "NotObserved",
            "the operator does not probe clients: set the operator's flag --operator-pod-labels".into(),
        ),
        Some(ChainProgress::Unobserved) => {
            ("Unknown", "NotObserved", "no client of the network reports its latest block".into())
        }
        Some(ChainProgress::AtGenesis) => ("Unknown", "AtGenesis", "the chain has made no block yet".into()),
        Some(ChainProgress::Unknown) => match before {
            Some(before) if before.status != "Unknown" => return before,
            _ => (
                "Unknown",
                "NotObserved",
                "the operator has not observed the chain for long enough yet".into(),
            ),
        },
        Some(ChainProgress::Advancing) => ("True", "Advancing", "the chain makes blocks".into()),
        Some(ChainProgress::Stalled { block, since }) => {
            let since = Timestamp::from_second(since.as_second()).unwrap_or(*since).to_string();
            let known =
                stalled.and_then(|before| before.message.strip_prefix(&last_block(*block))?.split_once(": "));
            let since = known.map_or(since.as_str(), |(known, _)| known);
            let remedy = "start the validators that do not run, and check that the validators can connect to each other. Until the chain makes blocks again, the operator replaces only pods that do not serve";
            ("False", STALLED, format!("{}{since}: {remedy}", last_block(*block)))
        }
    };
    ChainMessage { status, reason: reason.into(), message }
}

/// A remark where the node has role Validator but neither the spec nor the genesis lists its address. The other
/// validators may have voted it in, so this is not a fault.
#[must_use]
pub fn unlisted_validator(observed: &Observed, node: &Validated) -> Option<String> {
    let identity = node.identity.as_ref().filter(|_| node.spec.role == Role::Validator)?;
    let head = observed.chain.as_ref().map_or(0, |view| view.head);
    if !node.spec.consensus.validator_addresses.is_empty() {
        let mut stated = node.spec.consensus.validator_addresses.iter();
        let is_stated = stated.any(|address| address.eq_ignore_ascii_case(&identity.address));
        return (!is_stated).then(|| {
            let address = &identity.address;
            format!("this node has role Validator, but its address {address} is not in spec.consensus.validatorAddresses. If the chain has this address as a validator, add the address to spec.consensus.validatorAddresses. Otherwise, this node makes no blocks")
        });
    }
    let Validators::Relist(listed) = node.genesis.schedule.validators(head) else { return None };
    (!listed.contains(&identity.address)).then(|| {
        format!(
            "this node has role Validator, but its address {} is not among the {} validators that the genesis names. This node makes no blocks until these validators vote it in",
            identity.address,
            listed.len()
        )
    })
}
