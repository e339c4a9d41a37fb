//! Validates a node's spec against the cluster. Returns a validated node, or all faults at once.

mod fields;
mod genesis;
mod key;
mod peers;
mod pod_metadata;
mod provided_certificates;
mod references;
mod rpc;

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::{Resource as _, ResourceExt as _};

pub use key::{is_expected, node_key_at};
pub use peers::Peers;
pub use rpc::Callers;

use super::{
    decide::{
        absent_nodes::{self, Roll},
        chain_validators::{self, ChainValidators},
        database,
    },
    observed::{Observed, ObservedManager},
};
use crate::{
    api::{
        QuorumNode, QuorumNodeSpec,
        node::Role,
        transaction_manager::{ExternalDatabase, ManagedDatabase, TransactionManager},
    },
    model::{
        fault::{Fault, Reason},
        genesis::GenesisFacts,
        identity,
        lookup::Found,
        names::Names,
        secrets::keys::NodeIdentity,
    },
    node::decide::identity::{IdentityDecision, standing},
    protocol::database::SystemIdentifier,
};

/// A node whose spec and references are valid. Later stages neither parse nor check them again.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Names of its objects.
    pub names: Names,
    /// The cluster's domain.
    pub domain: String,
    /// Owner reference for its children.
    pub owner: OwnerReference,
    /// The spec.
    pub spec: QuorumNodeSpec,
    /// The genesis.
    pub genesis: GenesisFacts,
    /// `--networkid`.
    pub network_id: i64,
    /// The node's identity; `None` where its key has not been generated yet.
    pub identity: Option<NodeIdentity>,
    /// Whether it may run with this identity.
    pub standing: IdentityDecision,
    /// Secret and key in its data that hold the node key.
    pub node_key: (String, String),
    /// The transaction manager.
    pub manager: Option<Manager>,
    /// Keys and CAs of the callers of JSON-RPC.
    pub callers: Callers,
    /// Peers of its client.
    pub peers: Peers,
    /// Number of the network's validators: [`ChainValidators::count`], or else the validators with a node here. `None`
    /// where no validator is here.
    pub validators: Option<i32>,
    /// Number of validators with a node here, including absent ones.
    pub validators_here: i32,
    /// The chain's validators.
    pub chain_validators: ChainValidators,
    /// Names of the network's validators, including those that are being deleted or were deleted in the last five
    /// minutes.
    pub roll: Roll,
    /// All nodes of the network that are not being deleted, including this one: the owners of shared objects.
    pub network_owners: Vec<OwnerReference>,
}

impl Validated {
    /// Whether the spec lists callers of JSON-RPC.
    #[must_use]
    pub fn has_callers(&self) -> bool {
        !self.spec.rpc.callers.is_empty()
    }
}

/// A transaction manager whose references are valid.
#[derive(Clone, Debug)]
pub struct Manager {
    /// Its spec.
    pub spec: TransactionManager,
    /// Its public key, base64.
    pub public_key: String,
    /// Its database.
    pub database: Database,
    /// The only database that may be used; `None` where any may.
    pub expected: Option<SystemIdentifier>,
    /// Digests or versions of other objects that it reads at start, by the field that names each.
    pub references: BTreeMap<String, String>,
    /// URLs of its peers outside the network.
    pub outside: Vec<String>,
    /// The other nodes of its network that have a manager, and since when that has served.
    pub network_members: BTreeMap<String, Option<Timestamp>>,
}

/// A database.
#[derive(Clone, Debug)]
pub enum Database {
    /// Run by the operator.
    Managed(ManagedDatabase),
    /// Run elsewhere; with the version of its password's Secret, if it has one.
    External(ExternalDatabase, Option<String>),
}

/// Validates a node.
///
/// # Errors
/// All faults: first those of the spec's fields, then those of referenced objects.
pub fn validate(observed: &Observed) -> Result<Validated, Vec<Fault>> {
    let node = &observed.node;
    let spec = &node.spec;
    let mut faults = Vec::new();

    fields::check(spec, &mut faults);
    pod_metadata::check(spec, &mut faults);
    let genesis = genesis::check(observed, &mut faults);
    let identity = key::identity(observed, &mut faults);
    let manager = spec
        .transaction_manager
        .as_ref()
        .zip(observed.manager.as_ref())
        .and_then(|(spec, seen)| manager(spec, seen, observed, &mut faults));
    if let Some(fault) = database::major_change(observed) {
        faults.push(fault);
        faults.extend(database::pin(observed).faults);
    }
    let callers = rpc::check(observed, &mut faults);
    for (field, bundle) in &observed.bundles {
        reference(bundle, field, &mut faults);
    }
    let mut authorities = vec![(&observed.network_authority, names_of(observed).network_authority())];
    if spec.transaction_manager.is_some() {
        authorities.push((&observed.node_authority, names_of(observed).node_authority()));
    }
    let generations = authorities.into_iter().flat_map(|(ca_generations, name)| {
        ca_generations.0.iter().map(move |one| (&one.authority, Names::generation(&name, one.number)))
    });
    for (authority, name) in generations {
        if let Found::Invalid(why) = authority {
            faults.push(Fault::new(
                Reason::CertificateAuthorityInvalid,
                "metadata.namespace",
                format!("Secret {name}"),
                format!("{why}; restore the Secret from a backup, or delete the Secret so that the operator generates a new CA"),
            ));
        }
    }

    let (Some(genesis), true) = (genesis, faults.is_empty()) else { return Err(faults) };
    let names = names_of(observed);
    let roll = roll(observed);
    let chain_validators = chain_validators::chain_validators(observed, &genesis.schedule);
    let here = count(roll.present() + roll.left().max(chain_validators.missing.len()));
    let validated = Validated {
        domain: observed.domain.clone(),
        network_id: spec.genesis.network_id.unwrap_or(genesis.chain_id as i64),
        node_key: node_key_at(&names, spec),
        owner: owner(node),
        spec: spec.clone(),
        genesis,
        peers: peers::of(observed, identity.as_ref()),
        identity,
        standing: standing(observed),
        manager,
        callers,
        validators: (here > 0).then(|| chain_validators.count.unwrap_or(here)),
        validators_here: here,
        chain_validators,
        roll,
        network_owners: network_owners(observed),
        names,
    };
    // the requirements on these follow from the validated node
    let mut faults = provided_certificates::check(&validated, observed);
    faults.extend(rpc::too_large(&validated));
    if faults.is_empty() { Ok(validated) } else { Err(faults) }
}

/// Names of the node's objects.
#[must_use]
pub fn names_of(observed: &Observed) -> Names {
    Names {
        node: observed.node.name_any(),
        namespace: observed.node.namespace().unwrap_or_default(),
        network: observed.node.spec.network.clone(),
    }
}

fn owner(node: &QuorumNode) -> OwnerReference {
    node.controller_owner_ref(&()).unwrap_or_default()
}

fn roll(observed: &Observed) -> Roll {
    let QuorumNode { spec, status, metadata } = &*observed.node;
    let itself = spec.role == Role::Validator && !status.as_ref().is_some_and(identity::is_held);
    absent_nodes::validators(observed, metadata.name.as_deref().filter(|_| itself))
}

fn count(validators: usize) -> i32 {
    i32::try_from(validators).unwrap_or(i32::MAX)
}

/// Owners of the objects that a network shares. None is a controller; the objects are garbage-collected with the last
/// node.
fn network_owners(observed: &Observed) -> Vec<OwnerReference> {
    let others = observed.network_members.iter().map(|network_member| network_member.owner.clone());
    let mut owners: Vec<_> = others.chain(observed.node.owner_ref(&())).collect();
    owners.sort_by(|a, b| a.name.cmp(&b.name));
    owners
}

/// Adds a fault where a referenced object is missing or invalid.
fn reference<T>(found: &Found<T>, field: &str, faults: &mut Vec<Fault>) {
    let (reason, value, remedy) = match found {
        Found::Missing => (
            Reason::ReferenceMissing,
            "missing",
            "create the object that the field names, in the node's namespace".to_owned(),
        ),
        Found::Invalid(why) => (Reason::ReferenceInvalid, "invalid", why.clone()),
        Found::Present(_) => return,
    };
    faults.push(Fault::new(reason, field, value, remedy));
}

fn manager(
    spec: &TransactionManager,
    seen: &ObservedManager,
    observed: &Observed,
    faults: &mut Vec<Fault>,
) -> Option<Manager> {
    let field = "spec.transactionManager";
    reference(&seen.keys, &format!("{field}.keys.secretRef"), faults);
    if let Some(password) = &seen.key_password {
        reference(password, &format!("{field}.keys.passwordRef"), faults);
    }
    if let Some(password) = &seen.database_password {
        reference(password, &format!("{field}.database.external.passwordRef"), faults);
    }
    if let Some(certificate) = &seen.database_certificate {
        reference(certificate, &format!("{field}.database.external.clientCertificateRef"), faults);
    }
    let keys = seen.keys.usable()?;
    if keys.locked != spec.keys.password_ref.is_some() {
        let remedy = if keys.locked {
            "the private key is encrypted: set passwordRef to the Secret with the key's password"
        } else {
            "the private key is not encrypted: remove passwordRef"
        };
        faults.push(Fault::new(
            Reason::ReferenceInvalid,
            format!("{field}.keys.passwordRef"),
            format!("Secret {}", spec.keys.secret_ref.name),
            remedy,
        ));
    }
    let database = match (&spec.database.managed, &spec.database.external) {
        (Some(managed), _) => Database::Managed(managed.clone()),
        (None, Some(external)) => {
            let version = seen.database_password.as_ref().and_then(Found::usable).cloned();
            Database::External(external.clone(), version)
        }
        // already reported as a fault of the field
        (None, None) => return None,
    };
    Some(Manager {
        public_key: keys.public_key.clone(),
        database,
        expected: database::pin(observed).expected,
        references: references::read_once(seen, observed),
        outside: outside(spec),
        network_members: observed
            .network_members
            .iter()
            .filter(|network_member| network_member.has_manager)
            .map(|network_member| (network_member.name.clone(), network_member.manager_since))
            .collect(),
        spec: spec.clone(),
    })
}

fn outside(spec: &TransactionManager) -> Vec<String> {
    let urls = spec.peers.iter().map(|peer| format!("{}/", peer.url.trim_end_matches('/')));
    let mut urls: Vec<_> = urls.collect();
    urls.sort();
    urls.dedup();
    urls
}

#[cfg(test)]
mod tests;
