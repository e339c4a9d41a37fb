//! What a node goes by of the other nodes of its network, readable or not: one that cannot be read still runs.
//! Pure.

use std::borrow::Cow;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference},
    jiff::Timestamp,
};
use kube::{Resource as _, ResourceExt as _};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::identity;
use crate::{
    api::{
        QuorumNode,
        node::Role,
        rollout::Rollout,
        status::{AuthoritiesInUse, QuorumNodeStatus},
    },
    cluster::guard::Guard,
};

/// Another node of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// It, as one of those who own what the network shares.
    pub owner: OwnerReference,
    /// What it does on the chain; `None` where its spec does not tell.
    pub role: Option<Role>,
    /// How many validators it says the chain has.
    pub validators: Option<i32>,
    /// Which validators it says the chain has, by address.
    pub validator_addresses: Vec<String>,
    /// Its address on the chain, where it is pinned.
    pub address: Option<String>,
    /// Whether it has a transaction manager.
    pub has_manager: bool,
    /// Since when its transaction manager serves, where it does.
    pub manager_since: Option<Timestamp>,
    /// Its public key, 128 hexadecimal characters, where it is pinned.
    pub public_key: Option<String>,
    /// Where its peers find it.
    pub peer_address: Option<String>,
    /// What it says to hold of the network's authorities.
    pub authorities: Option<AuthoritiesInUse>,
    /// Whether it has no certificate yet: it holds nothing that could be refused.
    pub is_new: bool,
    /// Whether it says that another node has its identity.
    pub is_held: bool,
    /// Whether it says that nothing of it moves until a person has acted.
    pub is_stalled: bool,
    /// Whether nothing of it is replaced: it is paused, or cannot be read.
    pub is_paused: bool,
    /// How it wants pods of the network to be replaced.
    pub rollout: Rollout,
}

impl From<&Guard<QuorumNode>> for Sibling {
    fn from(node: &Guard<QuorumNode>) -> Self {
        let status = match &node.0 {
            Ok(read) => read.status.as_ref().map_or_else(Cow::default, Cow::Borrowed),
            Err(unreadable) => Cow::Owned(readable::<QuorumNodeStatus>(&unreadable.status)),
        };
        let (is_paused, rollout) = match &node.0 {
            Ok(QuorumNode { spec, .. }) => (spec.paused, spec.rollout),
            Err(unreadable) => (true, Rollout::deserialize(&unreadable.spec["rollout"]).unwrap_or_default()),
        };
        let (role, has_manager) = match &node.0 {
            Ok(QuorumNode { spec, .. }) => (Some(spec.role), spec.transaction_manager.is_some()),
            Err(unreadable) => {
                let spec = &unreadable.spec;
                (Role::deserialize(&spec["role"]).ok(), !spec["transactionManager"].is_null())
            }
        };
        let (validators, validator_addresses) = match &node.0 {
            Ok(QuorumNode { spec, .. }) => {
                (spec.consensus.validators, spec.consensus.validator_addresses.clone())
            }
            Err(unreadable) => {
                let consensus = &unreadable.spec["consensus"];
                let addresses = Deserialize::deserialize(&consensus["validatorAddresses"]);
                let validators = Option::deserialize(&consensus["validators"]);
                (validators.unwrap_or_default(), addresses.unwrap_or_default())
            }
        };
        Self {
            name: node.name_any(),
            owner: node.owner_ref(&()).unwrap_or_default(),
            role,
            validators,
            validator_addresses,
            address: status.identity.as_ref().map(|identity| identity.address.clone()),
            has_manager,
            manager_since: manager_since(&status),
            public_key: status.identity.as_ref().map(|identity| identity.public_key.clone()),
            peer_address: status.peer_address.clone(),
            authorities: status.network_authorities.clone(),
            is_new: status.certificates.is_empty(),
            is_held: identity::is_held(&status),
            is_stalled: status.conditions.iter().any(|it| it.type_ == "Stalled" && it.status == "True"),
            is_paused,
            rollout,
        }
    }
}

impl Sibling {
    /// Whether it counts as one of those who decide about blocks.
    #[must_use]
    pub fn is_validator(&self) -> bool {
        self.role == Some(Role::Validator) && !self.is_held
    }

    /// Whether it counts as one of those who decide about blocks, or that is not known.
    #[must_use]
    pub fn may_be_validator(&self) -> bool {
        (self.role.is_none() || self.role == Some(Role::Validator)) && !self.is_held
    }

    /// Whether its reconciles replace what is outdated.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.is_paused && !self.is_stalled
    }

    /// Whether a key or an address that it has not got yet is on its way.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.is_stalled && (self.public_key.is_none() || self.peer_address.is_none())
    }
}

/// The network that a node is of, where its spec tells.
#[must_use]
pub fn network(node: &Guard<QuorumNode>) -> Option<&str> {
    match &node.0 {
        Ok(read) => Some(&read.spec.network),
        Err(unreadable) => unreadable.spec["network"].as_str(),
    }
}

/// Since when a node says that its transaction manager serves.
fn manager_since(status: &QuorumNodeStatus) -> Option<Timestamp> {
    let is_up = |it: &&Condition| it.type_ == "TransactionManagerAvailable" && it.status == "True";
    status.conditions.iter().find(is_up).map(|it| it.last_transition_time.0)
}

/// As much of an object as decodes, field by field.
fn readable<T: DeserializeOwned + Default>(object: &Value) -> T {
    let fields = object.as_object().into_iter().flatten();
    let decodes = |(name, value): &(&String, &Value)| T::deserialize(&json!({*name: value})).is_ok();
    let kept: Map<_, _> = fields.filter(decodes).map(|(name, value)| (name.clone(), value.clone())).collect();
    T::deserialize(Value::Object(kept)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::specs;

    fn guarded(object: &Value) -> Guard<QuorumNode> {
        Guard::deserialize(object).expect("guarded")
    }

    fn carol() -> Value {
        let mut node = specs::smallest("carol");
        node["metadata"]["uid"] = json!("uid-carol");
        node["spec"]["role"] = json!("Validator");
        node["spec"]["consensus"]["validators"] = json!(7);
        node["spec"]["rollout"] = json!({"maxUnavailable": 3, "minReadySeconds": 90});
        node["status"] = json!({
            "identity": {"publicKey": "ab", "address": "0x1", "secretName": "s"}, "peerAddress": "10.96.0.9",
            "networkAuthorities": {"trusted": ["a", "b"], "presented": ["a"]},
            "certificates": [{"purpose": "metrics", "notAfter": "2027-01-01T00:00:00Z"}],
            "conditions": [{"type": "IdentityReady", "status": "False", "reason": "DuplicateIdentity",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        node
    }

    /// Whatever a newer server lets in, a client that runs is not cut off by it.
    #[test]
    fn a_node_that_cannot_be_read_is_the_sibling_that_it_was() {
        for held in [false, true] {
            let mut node = carol();
            if !held {
                node["status"]["conditions"] = json!([]);
            }
            let known = Sibling::from(&guarded(&node));
            assert!(known.goes_on());
            assert_eq!((known.validators, known.is_held, known.is_new), (Some(7), held, false));
            assert_eq!(known.is_validator(), !held);
            for (place, value) in [
                ("/spec/client", json!(1)),
                ("/spec/genesis", json!("none")),
                ("/spec/peering", json!("none")),
                ("/status/hosts", json!("a host")),
                ("/status/genesis", json!({"chainId": "a name"})),
            ] {
                let mut poison = node.clone();
                let (parent, field) = place.rsplit_once('/').expect("a field");
                poison.pointer_mut(parent).expect("a part")[field] = value;
                let guarded = guarded(&poison);
                assert!(guarded.0.is_err(), "{place}");
                // nothing of it is replaced meanwhile
                let known = Sibling { is_paused: true, ..known.clone() };
                assert_eq!((Sibling::from(&guarded), network(&guarded)), (known, Some("acme")), "{place}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_of_it_is_not_made_up() {
        let mut node = carol();
        node["spec"] = json!({"network": 5, "role": "Oracle", "consensus": {"validators": "many"}});
        node["status"]["identity"] = json!("ab");
        let guarded = guarded(&node);
        let seen = Sibling::from(&guarded);
        assert_eq!(network(&guarded), None);
        assert_eq!(
            (seen.role, seen.validators, seen.public_key, seen.has_manager),
            (None, None, None, false)
        );
        assert_eq!(seen.peer_address.as_deref(), Some("10.96.0.9"));
        assert_eq!(seen.owner.uid, "uid-carol");
    }
}
