//! Spec and cluster, checked against each other: every fault at once, or what the rest builds on.

mod fields;
mod genesis;
mod key;
mod notes;
mod peers;
mod provided;
mod references;
mod rpc;

use std::collections::BTreeMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::{Resource as _, ResourceExt as _};

pub use key::{is_expected, node_key_at};
pub use peers::Peers;
pub use rpc::Callers;

use super::{
    absent::{self, Roll},
    database,
    fault::{Fault, Reason},
    genesis::GenesisFacts,
    identity::{self, Standing},
    names::Names,
    observed::{Found, Observed, ObservedManager},
    secrets::keys::NodeIdentity,
    voters::{self, Voters},
};
use crate::{
    api::{
        QuorumNode, QuorumNodeSpec,
        node::Role,
        transaction_manager::{ExternalDatabase, ManagedDatabase, TransactionManager},
    },
    database::SystemIdentifier,
};

/// A node whose spec and references hold. After this no one parses or trims again.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Names of its objects.
    pub names: Names,
    /// The cluster's domain.
    pub domain: String,
    /// What its children carry.
    pub owner: OwnerReference,
    /// The spec.
    pub spec: QuorumNodeSpec,
    /// The genesis.
    pub genesis: GenesisFacts,
    /// `--networkid`.
    pub network_id: i64,
    /// Who the node is; `None` where a key has to be made first.
    pub identity: Option<NodeIdentity>,
    /// Whether it may run under it.
    pub standing: Standing,
    /// The Secret, and the key inside, that hold the node key.
    pub node_key: (String, String),
    /// The transaction manager.
    pub manager: Option<Manager>,
    /// What callers of JSON-RPC refer to.
    pub callers: Callers,
    /// Peers, here and outside.
    pub peers: Peers,
    /// How many validators the network has, if any is here: as [`Voters::count`] says, or else those here.
    pub validators: Option<i32>,
    /// How many nodes here are validators, with those that are away.
    pub validators_here: i32,
    /// The chain's validators.
    pub voters: Voters,
    /// They, with those that are being deleted or were a moment ago: validators that are away.
    pub roll: Roll,
    /// All nodes of the network, this one included, that are not being deleted: who owns what they share.
    pub network_owners: Vec<OwnerReference>,
}

impl Validated {
    /// Whether JSON-RPC is served at all.
    #[must_use]
    pub fn has_callers(&self) -> bool {
        !self.spec.rpc.callers.is_empty()
    }
}

/// A transaction manager whose references hold.
#[derive(Clone, Debug)]
pub struct Manager {
    /// Its spec.
    pub spec: TransactionManager,
    /// Its public key, base64.
    pub public_key: String,
    /// Its database.
    pub database: Database,
    /// The only database that may be used; none where any will do.
    pub expected: Option<SystemIdentifier>,
    /// Digests or versions of what else is read at start, by the field that names it.
    pub references: BTreeMap<String, String>,
    /// URLs of the managers outside its network that it talks to.
    pub outside: Vec<String>,
    /// The other nodes of its network that have a manager, and since when theirs serves.
    pub siblings: BTreeMap<String, Option<Timestamp>>,
}

/// A database.
#[derive(Clone, Debug)]
pub enum Database {
    /// Run here.
    Managed(ManagedDatabase),
    /// Elsewhere; with the version of the Secret that holds its password, where it has one.
    External(ExternalDatabase, Option<String>),
}

/// Checks everything. The faults of the fields come first, then those of what they refer to.
pub fn validate(observed: &Observed) -> Result<Validated, Vec<Fault>> {
    let node = &observed.node;
    let spec = &node.spec;
    let mut faults = Vec::new();

    fields::check(spec, &mut faults);
    notes::check(spec, &mut faults);
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
    let generations = authorities.into_iter().flat_map(|(lineage, name)| {
        lineage.0.iter().map(move |one| (&one.authority, Names::generation(&name, one.number)))
    });
    for (authority, name) in generations {
        if let Found::Unusable(why) = authority {
            faults.push(Fault::new(
                Reason::AuthorityUnusable,
                "metadata.namespace",
                format!("Secret {name}"),
                format!("{why}; restore the Secret from a backup, or delete it to have a new authority made"),
            ));
        }
    }

    let (Some(genesis), true) = (genesis, faults.is_empty()) else { return Err(faults) };
    let names = names_of(observed);
    let roll = roll(observed);
    let voters = voters::voters(observed, &genesis.schedule);
    let here = count(roll.present() + roll.left().max(voters.missing.len()));
    let validated = Validated {
        domain: observed.domain.clone(),
        network_id: spec.genesis.network_id.unwrap_or(genesis.chain_id as i64),
        node_key: node_key_at(&names, spec),
        owner: owner(node),
        spec: spec.clone(),
        genesis,
        peers: peers::of(observed, identity.as_ref()),
        identity,
        standing: identity::standing(observed),
        manager,
        callers,
        validators: (here > 0).then(|| voters.count.unwrap_or(here)),
        validators_here: here,
        voters,
        roll,
        network_owners: network_owners(observed),
        names,
    };
    // what is asked of them follows from all the rest
    let mut faults = provided::check(&validated, observed);
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
    absent::validators(observed, metadata.name.as_deref().filter(|_| itself))
}

fn count(validators: usize) -> i32 {
    i32::try_from(validators).unwrap_or(i32::MAX)
}

/// Nobody controls what a network shares; it goes when its last node goes.
fn network_owners(observed: &Observed) -> Vec<OwnerReference> {
    let others = observed.siblings.iter().map(|sibling| sibling.owner.clone());
    let mut owners: Vec<_> = others.chain(observed.node.owner_ref(&())).collect();
    owners.sort_by(|a, b| a.name.cmp(&b.name));
    owners
}

/// A fault where a reference leads to nothing usable.
fn reference<T>(found: &Found<T>, field: &str, faults: &mut Vec<Fault>) {
    let (reason, value, way_out) = match found {
        Found::Missing => (
            Reason::ReferenceMissing,
            "not there",
            "create what the field names, in the node's namespace".to_owned(),
        ),
        Found::Unusable(why) => (Reason::ReferenceUnusable, "unusable", why.clone()),
        Found::Is(_) => return,
    };
    faults.push(Fault::new(reason, field, value, way_out));
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
        let way_out = if keys.locked {
            "the private key is locked: name the Secret with its password"
        } else {
            "the private key is not locked: leave the password out"
        };
        faults.push(Fault::new(
            Reason::ReferenceUnusable,
            format!("{field}.keys.passwordRef"),
            format!("Secret {}", spec.keys.secret_ref.name),
            way_out,
        ));
    }
    let database = match (&spec.database.managed, &spec.database.external) {
        (Some(managed), _) => Database::Managed(managed.clone()),
        (None, Some(external)) => {
            let version = seen.database_password.as_ref().and_then(Found::usable).cloned();
            Database::External(external.clone(), version)
        }
        // a fault of the field, told already
        (None, None) => return None,
    };
    Some(Manager {
        public_key: keys.public_key.clone(),
        database,
        expected: database::pin(observed).expected,
        references: references::read_once(seen, observed),
        outside: outside(spec),
        siblings: observed
            .siblings
            .iter()
            .filter(|sibling| sibling.has_manager)
            .map(|sibling| (sibling.name.clone(), sibling.manager_since))
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
