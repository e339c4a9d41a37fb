//! Observe stage: all reads of a reconcile, from caches, and from Secrets and ConfigMaps that are not known yet.

pub(super) mod callers;
mod certificates;
mod claims;
mod database;
mod events;
mod irreplaceable;
pub(super) mod network;
mod pods;
mod requests;
mod surplus;
mod volumes;

use super::{
    decide::{
        absent_nodes::{AbsentNodes, Roll},
        chain_validators,
    },
    observed::{CaGenerations, Generation, Host, Neighbour, Observed, ObservedManager, Taint, Workload},
    validate,
};
use crate::{
    api::{QuorumNode, parts::ConfigMapKey, transaction_manager::TransactionManager},
    cluster::{
        Caches, ChainHeads, IssuerKeys, SecretFacts, ServedCertificates,
        secret_facts::{self, Fact, Question},
        watch::caches::{DecodedNode, find, seen},
        write::timely,
    },
    model::{
        lookup::Found,
        names::{self, Component, Names},
        network_member::{self, NetworkMember},
    },
};
pub(super) use irreplaceable::generations;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{self as core, PersistentVolumeClaim},
};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, Resource as _, ResourceExt as _, api::ObjectMeta, runtime::reflector::ObjectRef};
use tokio::time::Instant;

/// Data sources of a reconcile.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Client for contents that are not known yet.
    pub client: &'a Client,
    /// Watched objects.
    pub caches: &'a Caches,
    /// Caches of all scopes, including this one.
    pub everywhere: &'a [Caches],
    /// Known facts about Secrets and ConfigMaps.
    pub facts: &'a SecretFacts,
    /// Keys of token issuers.
    pub keys: &'a IssuerKeys,
    /// Certificates found by probes; `None` if ports are not probed.
    pub served: Option<&'a ServedCertificates>,
    /// Chain state found by probes; `None` if clients are not probed.
    pub chains: Option<&'a ChainHeads>,
    /// The cluster's domain.
    pub domain: &'a str,
}

impl Sources<'_> {
    async fn secret(&self, namespace: &str, name: &str, question: Question) -> anyhow::Result<Option<Fact>> {
        match self.caches.secret(namespace, name) {
            Some(meta) => self.facts.secret(self.client, &meta, question).await,
            None => Ok(None),
        }
    }

    /// Resource version of a usable Secret.
    fn version(&self, namespace: &str, name: &str, found: Found<()>) -> Found<String> {
        let version = self.caches.secret(namespace, name).and_then(|meta| meta.resource_version);
        match found {
            Found::Present(()) => Found::Present(version.unwrap_or_default()),
            Found::Missing => Found::Missing,
            Found::Invalid(why) => Found::Invalid(why),
        }
    }

    async fn config_map(
        &self,
        namespace: &str,
        of: &ConfigMapKey,
        question: Question,
    ) -> anyhow::Result<Option<Fact>> {
        match find(&self.caches.config_maps, namespace, &of.name) {
            Some(meta) => self.facts.config_map(self.client, &meta, question).await,
            None => Ok(None),
        }
    }
}

/// Reads everything that the reconcile decides from.
///
/// # Errors
/// Fails if something cannot be read. A missing object is no error.
pub async fn observe(
    sources: Sources<'_>,
    node: Arc<QuorumNode>,
    now: Timestamp,
) -> anyhow::Result<Observed> {
    let names = Names {
        node: node.name_any(),
        namespace: node.namespace().context("a QuorumNode without namespace")?,
        network: node.spec.network.clone(),
    };
    let namespace = names.namespace.clone();
    let genesis = &node.spec.genesis.config_map_ref;
    let (key_secret, key) = validate::node_key_at(&names, &node.spec);
    let node_key =
        secret_facts::node_key(sources.secret(&namespace, &key_secret, Question::NodeKey(key)).await?);
    let network_members = network_members(sources.caches, &names);
    let pods = pods::pods(sources.caches, &names);
    let workloads = workloads(sources.caches, &names);
    Ok(Observed {
        domain: sources.domain.to_owned(),
        chain_data_exists: match node_key {
            Found::Missing => Some(claim_exists(sources.client, &names).await?),
            _ => None,
        },
        genesis: secret_facts::genesis(
            sources.config_map(&namespace, genesis, Question::Genesis(genesis.key.clone())).await?,
        ),
        node_key,
        manager: match &node.spec.transaction_manager {
            Some(manager) => Some(observe_manager(sources, &namespace, manager).await?),
            None => None,
        },
        bundles: bundles(sources, &namespace, &node).await?,
        callers: callers::callers(sources, &names, &node).await?,
        network_authority: ca_generations(sources, &namespace, &names.network_authority()).await?,
        node_authority: ca_generations(sources, &namespace, &names.node_authority()).await?,
        certificates: certificates::certificates(sources, &names, &node.spec.tls).await?,
        made_for: certificates::made_for(sources.caches, &names),
        served: sources.served.map(|served| certificates::presented(served, &names, &pods)),
        chain: sources.chains.map(|chains| chains.view(&namespace, &names.network)),
        met: sources.chains.map(|chains| chains.met(&namespace, &names.node)).unwrap_or_default(),
        written: certificates::written(sources.caches, &names, &node.spec.tls),
        requests: requests::requests(sources.caches, &node, &names),
        monitor: requests::monitor(sources.caches, &node, &names),
        neighbours: neighbours(sources.caches, &network_members, &names),
        network_members,
        claims: claims::claims(sources, &node, &names),
        peer_address: peer_address(sources.caches, &names),
        volumes: volumes::volumes(sources, &names, (&pods, now)).await?,
        admitted_peers: find(&sources.caches.config_maps, &namespace, &names.peers())
            .and_then(|meta| meta.annotations?.remove(names::PERMITTED)),
        managers: managers(sources.caches, &names),
        absent: absent(sources.caches, &names, now),
        rejected_pods: events::rejected_pods(sources.client, &node, (&workloads, &pods), now).await,
        workloads,
        pods,
        hosts: hosts(sources.caches),
        irreplaceable_secrets: irreplaceable::irreplaceable_secrets(sources.caches, &names, &node),
        surplus: surplus::surplus(sources.caches, &names),
        unwatchable: sources.caches.forbidden.now(),
        node,
    })
}

/// Generations of a CA. The first may be missing after it has ended.
async fn ca_generations(
    sources: Sources<'_>,
    namespace: &str,
    authority: &str,
) -> anyhow::Result<CaGenerations> {
    let mut generations = Vec::new();
    for number in 1.. {
        let Some(meta) = sources.caches.secret(namespace, &Names::generation(authority, number)) else {
            if number == 1 { continue } else { break }
        };
        let fact = sources.facts.secret(sources.client, &meta, Question::Authority).await?;
        let rotate = meta.annotations.is_some_and(|annotations| annotations.contains_key(names::ROTATE));
        generations.push(Generation { number, authority: secret_facts::authority(fact), rotate });
    }
    generations.retain(|generation| generation.authority != Found::Missing);
    Ok(CaGenerations(generations))
}

/// Whether the client's volume claim exists. Read live, and only if a key would have to be generated.
async fn claim_exists(client: &Client, names: &Names) -> anyhow::Result<bool> {
    let name = names.claim(Component::Client);
    let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &names.namespace);
    let claim = timely(api.get_metadata_opt(&name)).await?;
    Ok(claim.with_context(|| format!("PersistentVolumeClaim {name}"))?.is_some())
}

async fn observe_manager(
    sources: Sources<'_>,
    namespace: &str,
    manager: &TransactionManager,
) -> anyhow::Result<ObservedManager> {
    let pair = &manager.keys.secret_ref;
    let question = Question::ManagerKey(pair.private_key.clone(), pair.public_key.clone());
    let keys = secret_facts::manager_key(sources.secret(namespace, &pair.name, question).await?);
    let key_password = match &manager.keys.password_ref {
        Some(at) => {
            let fact = sources.secret(namespace, &at.name, Question::Password(at.key.clone())).await?;
            Some(secret_facts::usable(fact))
        }
        None => None,
    };
    let external = manager.database.external.as_ref();
    let database_password = match external.and_then(|external| external.password_ref.as_ref()) {
        Some(at) => {
            let fact = sources.secret(namespace, &at.name, Question::Password(at.key.clone())).await?;
            Some(sources.version(namespace, &at.name, secret_facts::usable(fact)))
        }
        None => None,
    };
    let database_certificate = match external.and_then(|external| external.client_certificate_ref.as_ref()) {
        Some(at) => {
            let fact = sources.secret(namespace, &at.name, Question::DatabaseCertificate).await?;
            Some(sources.version(namespace, &at.name, secret_facts::usable(fact)))
        }
        None => None,
    };
    Ok(ObservedManager { keys, key_password, database_password, database_certificate })
}

/// Digests of all ConfigMaps with certificates that the spec references.
async fn bundles(
    sources: Sources<'_>,
    namespace: &str,
    node: &QuorumNode,
) -> anyhow::Result<BTreeMap<String, Found<String>>> {
    let mut named = Vec::new();
    for (i, trust) in node.spec.tls.trust.iter().enumerate() {
        named.push((format!("spec.tls.trust[{i}].configMapRef"), &trust.config_map_ref));
    }
    if let Some(authority) = &node.spec.metrics.client_authority {
        named.push(("spec.metrics.clientAuthority".into(), authority));
    }
    let manager = node.spec.transaction_manager.as_ref();
    if let Some(external) = manager.and_then(|manager| manager.database.external.as_ref()) {
        named.push(("spec.transactionManager.database.external.caRef".into(), &external.ca_ref));
    }
    let mut bundles = BTreeMap::new();
    for (field, at) in named {
        let fact = sources.config_map(namespace, at, Question::Bundle(at.key.clone())).await?;
        bundles.insert(field, secret_facts::bundle(fact));
    }
    Ok(bundles)
}

pub(super) fn network_members(caches: &Caches, own: &Names) -> Vec<NetworkMember> {
    others(caches, own, false)
}

fn absent(caches: &Caches, own: &Names, now: Timestamp) -> AbsentNodes {
    let budget = own.validators();
    let live = seen(&caches.budgets, &own.namespace, &budget);
    let live =
        caches.pending_writes.newest(("PodDisruptionBudget", &own.namespace, &budget), live, Instant::now());
    let noted = live.and_then(|live| live.meta.annotations).unwrap_or_default();
    let validators = noted.get(names::VALIDATORS).map(|text| Roll::read(text)).unwrap_or_default();
    let chain_validators =
        noted.get(names::CHAIN_VALIDATORS).map(|text| chain_validators::read(text)).unwrap_or_default();
    AbsentNodes { ending: others(caches, own, true), validators, chain_validators, now }
}

/// Known managers, from the latest state of the manager's workload, or else from its configuration.
fn managers(caches: &Caches, own: &Names) -> Option<String> {
    let (namespace, workload) = (&own.namespace, own.workload(Component::TransactionManager));
    let live = seen(&caches.workloads, namespace, &workload);
    let live = caches.pending_writes.newest(("StatefulSet", namespace, &workload), live, Instant::now());
    let noted = |meta: Option<ObjectMeta>| meta?.annotations?.remove(names::MANAGERS);
    let config = own.manager_config();
    noted(live.map(|live| live.meta))
        .or_else(|| noted(find(&caches.config_maps, namespace, &config)))
        .or_else(|| noted(caches.secret(namespace, &config)))
}

fn others(caches: &Caches, own: &Names, ending: bool) -> Vec<NetworkMember> {
    let is_sibling = |other: &DecodedNode| {
        let meta = other.meta();
        meta.namespace.as_ref() == Some(&own.namespace)
            && network_member::network(other) == Some(&own.network)
            && meta.name.as_ref() != Some(&own.node)
            && meta.deletion_timestamp.is_some() == ending
    };
    let nodes = caches.nodes.state();
    let mut network_members: Vec<_> =
        nodes.iter().filter(|other| is_sibling(other)).map(|other| NetworkMember::from(&**other)).collect();
    network_members.sort_by(|a, b| a.name.cmp(&b.name));
    network_members
}

fn neighbours(caches: &Caches, network_members: &[NetworkMember], own: &Names) -> Vec<Neighbour> {
    let neighbour = |network_member: &NetworkMember| {
        let names = Names { node: network_member.name.clone(), ..own.clone() };
        Neighbour {
            name: network_member.name.clone(),
            role: network_member.role,
            pod: pods::pod(caches, &names, Component::Client),
        }
    };
    network_members.iter().filter(|network_member| !network_member.is_held).map(neighbour).collect()
}

fn peer_address(caches: &Caches, names: &Names) -> Option<String> {
    address(&*caches.services.get(&ObjectRef::new(&names.peer_service()).within(&names.namespace))?)
}

/// Cluster IP of a Service, if it has one.
pub(super) fn address(service: &core::Service) -> Option<String> {
    service.spec.as_ref()?.cluster_ip.clone().filter(|address| address != "None" && !address.is_empty())
}

/// The node's StatefulSets.
pub(super) fn workloads(caches: &Caches, names: &Names) -> BTreeMap<Component, Workload> {
    let of = |component| Some((component, workload(caches, names, component)?));
    Component::ALL.into_iter().filter_map(of).collect()
}

fn workload(caches: &Caches, names: &Names, component: Component) -> Option<Workload> {
    let reference = ObjectRef::new(&names.workload(component)).within(&names.namespace);
    let workload = caches.workloads.get(&reference)?;
    let update_revision = update_revision(&workload);
    let stopped = workload.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0));
    let admitted_peers = workload.annotations().get(names::PERMITTED).cloned();
    let templates = workload.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref());
    let size = templates.and_then(|templates| volumes::size(templates.first()?));
    let genesis = workload.annotations().get(names::GENESIS).cloned();
    let seen = workload.status.as_ref().and_then(|status| status.observed_generation);
    let settled = seen.is_some() && seen == workload.metadata.generation;
    let uid = workload.uid().unwrap_or_default();
    Some(Workload { uid, update_revision, stopped, admitted_peers, size, genesis, settled })
}

/// Revision of new pods. `None` until the controller has processed the current template: its status then describes an
/// earlier template, possibly one that another writer made.
fn update_revision(workload: &StatefulSet) -> Option<String> {
    let status = workload.status.as_ref()?;
    (status.observed_generation >= workload.metadata.generation).then(|| status.update_revision.clone())?
}

fn hosts(caches: &Caches) -> BTreeMap<String, Host> {
    caches.hosts.state().iter().map(|host| (host.name_any(), host_facts(host))).collect()
}

pub(super) fn host_facts(host: &core::Node) -> Host {
    let status = host.status.as_ref();
    let info = status.and_then(|status| status.node_info.as_ref());
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let said = conditions.into_iter().find(|found| found.type_ == "Ready");
    let ready = said.is_some_and(|said| said.status == "True");
    let spec = host.spec.as_ref();
    let cordoned = spec.is_some_and(|spec| spec.unschedulable == Some(true));
    let taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    Host {
        machine_id: info.map(|info| info.machine_id.clone()).unwrap_or_default(),
        boot_id: info.map(|info| info.boot_id.clone()).unwrap_or_default(),
        schedulable: ready && !cordoned,
        cordoned,
        lost: said.is_some() && !ready,
        since: said.and_then(|said| said.last_transition_time.as_ref()).map(|time| time.0),
        taints: taints
            .filter(|taint| taint.effect != "PreferNoSchedule")
            .map(|taint| Taint {
                key: taint.key.clone(),
                value: taint.value.clone().unwrap_or_default(),
                effect: taint.effect.clone(),
            })
            .collect(),
        labels: host.metadata.labels.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
