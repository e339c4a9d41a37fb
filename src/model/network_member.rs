//! State of another node of the same network. It is also read from an object that does not decode, since that node may
//! still run. Pure.

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
    model::decode::Decoded,
};

/// Another node of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkMember {
    /// Its name.
    pub name: String,
    /// Owner reference to it, for objects that the network shares.
    pub owner: OwnerReference,
    /// Its role; `None` where its spec does not decode that far.
    pub role: Option<Role>,
    /// Number of the chain's validators that its spec states.
    pub validators: Option<i32>,
    /// Addresses of the chain's validators that its spec states.
    pub validator_addresses: Vec<String>,
    /// Its address on the chain, once pinned.
    pub address: Option<String>,
    /// Whether it has a transaction manager.
    pub has_manager: bool,
    /// Since when its transaction manager has served; `None` where it does not serve.
    pub manager_since: Option<Timestamp>,
    /// Its public key, 128 hexadecimal characters, once pinned.
    pub public_key: Option<String>,
    /// IP address where its peers reach it.
    pub peer_address: Option<String>,
    /// The CAs of the network that its status reports as in use.
    pub authorities: Option<AuthoritiesInUse>,
    /// Whether it has no certificate yet, so that peers cannot reject one.
    pub is_new: bool,
    /// Whether it reports that another node has its identity.
    pub is_held: bool,
    /// Whether it reports `Stalled`.
    pub is_stalled: bool,
    /// Whether its pods are not replaced: it is paused, or does not decode.
    pub is_paused: bool,
    /// Its settings for rollouts of the network.
    pub rollout: Rollout,
}

impl From<&Decoded<QuorumNode>> for NetworkMember {
    fn from(node: &Decoded<QuorumNode>) -> Self {
        let status = match &node.0 {
            Ok(read) => read.status.as_ref().map_or_else(Cow::default, Cow::Borrowed),
            Err(undecodable) => Cow::Owned(readable::<QuorumNodeStatus>(&undecodable.status)),
        };
        let (is_paused, rollout) = match &node.0 {
            Ok(QuorumNode { spec, .. }) => (spec.paused, spec.rollout),
            Err(undecodable) => {
                (true, Rollout::deserialize(&undecodable.spec["rollout"]).unwrap_or_default())
            }
        };
        let (role, has_manager) = match &node.0 {
            Ok(QuorumNode { spec, .. }) => (Some(spec.role), spec.transaction_manager.is_some()),
            Err(undecodable) => {
                let spec = &undecodable.spec;
                (Role::deserialize(&spec["role"]).ok(), !spec["transactionManager"].is_null())
            }
        };
        let (validators, validator_addresses) = match &node.0 {
            Ok(QuorumNode { spec, .. }) => {
                (spec.consensus.validators, spec.consensus.validator_addresses.clone())
            }
            Err(undecodable) => {
                let consensus = &undecodable.spec["consensus"];
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

impl NetworkMember {
    /// Whether it is known to be a validator.
    #[must_use]
    pub fn is_validator(&self) -> bool {
        self.role == Some(Role::Validator) && !self.is_held
    }

    /// Whether it is a validator, or its role is unknown.
    #[must_use]
    pub fn may_be_validator(&self) -> bool {
        (self.role.is_none() || self.role == Some(Role::Validator)) && !self.is_held
    }

    /// Whether its reconciles replace outdated pods.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.is_paused && !self.is_stalled
    }

    /// Whether it will get a key or an address that it does not have yet.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !self.is_stalled && (self.public_key.is_none() || self.peer_address.is_none())
    }
}

/// The network of a node; `None` where its spec does not decode that far.
#[must_use]
pub fn network(node: &Decoded<QuorumNode>) -> Option<&str> {
    match &node.0 {
        Ok(read) => Some(&read.spec.network),
        Err(undecodable) => undecodable.spec["network"].as_str(),
    }
}

/// Since when a node has reported that its transaction manager serves.
fn manager_since(status: &QuorumNodeStatus) -> Option<Timestamp> {
    let is_up = |it: &&Condition| it.type_ == "TransactionManagerAvailable" && it.status == "True";
    status.conditions.iter().find(is_up).map(|it| it.last_transition_time.0)
}

/// The fields of an object that decode, one by one; defaults for the others.
fn readable<T: DeserializeOwned + Default>(object: &Value) -> T {
    let fields = object.as_object().into_iter().flatten();
    let decodes = |(name, value): &(&String, &Value)| T::deserialize(&json!({*name: value})).is_ok();
    let fields: Map<_, _> =
        fields.filter(decodes).map(|(name, value)| (name.clone(), value.clone())).collect();
    T::deserialize(Value::Object(fields)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::specs;

    fn guarded(object: &Value) -> Decoded<QuorumNode> {
        Decoded::deserialize(object).expect("guarded")
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

    /// A newer version of the CRD may admit unknown values; running clients must not lose their peer because of that.
    #[test]
    fn a_node_that_cannot_be_read_is_the_sibling_that_it_was() {
        for held in [false, true] {
            let mut node = carol();
            if !held {
                node["status"]["conditions"] = json!([]);
            }
            let known = NetworkMember::from(&guarded(&node));
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
                // its pods are not replaced meanwhile
                let known = NetworkMember { is_paused: true, ..known.clone() };
                assert_eq!(
                    (NetworkMember::from(&guarded), network(&guarded)),
                    (known, Some("acme")),
                    "{place}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_read_of_it_is_not_made_up() {
        let mut node = carol();
        node["spec"] = json!({"network": 5, "role": "Oracle", "consensus": {"validators": "many"}});
        node["status"]["identity"] = json!("ab");
        let guarded = guarded(&node);
        let seen = NetworkMember::from(&guarded);
        assert_eq!(network(&guarded), None);
        assert_eq!(
            (seen.role, seen.validators, seen.public_key, seen.has_manager),
            (None, None, None, false)
        );
        assert_eq!(seen.peer_address.as_deref(), Some("10.96.0.9"));
        assert_eq!(seen.owner.uid, "uid-carol");
    }
}
