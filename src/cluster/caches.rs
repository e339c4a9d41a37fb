//! Watch caches of one scope (a namespace, or all), and what their events wake.

use std::{collections::HashMap, pin::Pin, time::Duration};

use futures::{
    Stream, StreamExt as _,
    channel::mpsc::{self, UnboundedSender},
    future, stream,
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::ObjectMeta,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;

use super::{
    Forbidden,
    guard::{self, Guard, Unread},
    trim,
    wakes::{changes, hashed, woken_by, woken_by_claim},
    watch::{everything, watch},
};
use crate::{api::QuorumNode, node::names};

/// A node as it arrives, readable or not.
pub type Guarded = Guard<QuorumNode>;

/// Objects of one kind of which only metadata is kept.
pub type Metadata<K> = Store<PartialObjectMeta<K>>;

/// What is watched: one namespace, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// All namespaces.
    All,
}

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match self {
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
            Self::All => Api::all(client.clone()),
        }
    }
}

/// Everything a pass reads, kept by watches.
#[derive(Clone)]
pub struct Caches {
    /// Our own kind.
    pub nodes: Store<Guarded>,
    /// Workloads, trimmed.
    pub workloads: Store<StatefulSet>,
    /// Pods of nodes, trimmed.
    pub pods: Store<Pod>,
    /// Volume claims of nodes, trimmed.
    pub claims: Store<PersistentVolumeClaim>,
    /// Services, trimmed.
    pub services: Store<Service>,
    /// Metadata of Secrets.
    pub secrets: Metadata<Secret>,
    /// Metadata of ConfigMaps.
    pub config_maps: Metadata<ConfigMap>,
    /// Metadata of network policies.
    pub policies: Metadata<NetworkPolicy>,
    /// Metadata of disruption budgets.
    pub budgets: Metadata<PodDisruptionBudget>,
    /// Metadata of accounts.
    pub accounts: Metadata<ServiceAccount>,
    /// Hosts, trimmed.
    pub hosts: Store<Node>,
    /// What may not be watched, and is not seen.
    pub forbidden: Forbidden,
}

/// Something happened to an object.
#[derive(Clone, Debug)]
pub enum Woken {
    /// A node's own object: its spec, annotations or finalizers.
    Node(ObjectRef<Guarded>),
    /// Something that every node of a network looks at: a sibling's key or address, or what they share.
    Network {
        /// Where the network is.
        namespace: String,
        /// Its name.
        network: String,
        /// The identity of the node that has changed; others may claim it elsewhere.
        identity: Option<String>,
    },
    /// An object that carries a node's label.
    Child {
        /// Where it is.
        namespace: String,
        /// The node it belongs to.
        node: String,
    },
    /// A Secret or ConfigMap that a spec may name.
    Reference {
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A host.
    Host,
    /// An object that does not decode, or does again, or is gone.
    Unreadable {
        /// Its kind.
        kind: String,
        /// Where it is.
        namespace: String,
        /// Its name.
        name: String,
        /// Whether it cannot be read from now on.
        begins: bool,
    },
}

/// Events of all watches, as they come.
pub type Events = Pin<Box<dyn Stream<Item = Result<Woken, watcher::Error>> + Send>>;

impl Caches {
    /// Starts the watches of a scope. The caches fill as `Events` is polled.
    #[must_use]
    pub fn watch(client: &Client, scope: &Scope) -> (Self, Events) {
        let (notices, noticed) = mpsc::unbounded();
        let (nodes, node_events) = nodes(scope.api(client), &notices);
        let (workloads, on_workloads) = typed(scope.api(client), everything(), &notices, trim::workload);
        let ours = everything().labels(names::NODE);
        let (pods, on_pods) = typed(scope.api(client), ours, &notices, trim::pod);
        let claims = known(scope.api(client), everything().labels(names::NODE), &notices, trim::claim);
        let (claims, on_claims) = reflected(claims, woken_by_claim);
        let (services, on_services) = typed(scope.api(client), everything(), &notices, trim::service);
        let (secrets, on_secrets) = metadata(scope.api::<PartialObjectMeta<Secret>>(client));
        let (config_maps, on_config_maps) = metadata(scope.api::<PartialObjectMeta<ConfigMap>>(client));
        let (policies, on_policies) = metadata(scope.api::<PartialObjectMeta<NetworkPolicy>>(client));
        let (budgets, on_budgets) = metadata(scope.api::<PartialObjectMeta<PodDisruptionBudget>>(client));
        let (accounts, on_accounts) = metadata(scope.api::<PartialObjectMeta<ServiceAccount>>(client));
        let (hosts, on_hosts) = hosts(Api::all(client.clone()), &notices);
        let events = stream::select_all([
            node_events,
            on_workloads,
            on_pods,
            on_claims,
            on_services,
            on_secrets,
            on_config_maps,
            on_policies,
            on_budgets,
            on_accounts,
            on_hosts,
            noticed.map(Ok).boxed(),
        ]);
        let caches = Self {
            nodes,
            workloads,
            pods,
            claims,
            services,
            secrets,
            config_maps,
            policies,
            budgets,
            accounts,
            hosts,
            forbidden: Forbidden::default(),
        };
        (caches, Box::pin(events))
    }

    /// Waits until every watch has delivered its first list.
    pub async fn filled(&self) {
        // a writer that is gone ends the process elsewhere
        let _ = future::join_all([
            Box::pin(self.nodes.wait_until_ready()) as Pin<Box<dyn Future<Output = _> + Send>>,
            Box::pin(self.workloads.wait_until_ready()),
            Box::pin(self.pods.wait_until_ready()),
            Box::pin(self.claims.wait_until_ready()),
            Box::pin(self.services.wait_until_ready()),
            Box::pin(self.secrets.wait_until_ready()),
            Box::pin(self.config_maps.wait_until_ready()),
            Box::pin(self.policies.wait_until_ready()),
            Box::pin(self.budgets.wait_until_ready()),
            Box::pin(self.accounts.wait_until_ready()),
            Box::pin(self.hosts.wait_until_ready()),
        ])
        .await;
    }
}

/// Metadata of one object of a store.
#[must_use]
pub fn find<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<ObjectMeta>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace)).map(|object| object.meta().clone())
}

type Kept<K> = (Store<K>, stream::BoxStream<'static, Result<Woken, watcher::Error>>);

/// A kind that can be watched.
trait Watched:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// Events of a kind of which some objects may not decode. Which those are goes into `notices`.
fn guarded<K: Watched>(
    api: Api<Guard<K>>,
    config: watcher::Config,
    notices: &UnboundedSender<Woken>,
) -> impl Stream<Item = Result<watcher::Event<Guard<K>>, watcher::Error>> + use<K> {
    let (mut unread, notices) = (Unread::default(), notices.clone());
    watch(api, config).inspect(move |event| {
        for ((namespace, name), begins) in
            event.as_ref().map_or_else(|_| vec![], |event| unread.changes(event))
        {
            let kind = K::kind(&()).into_owned();
            // a receiver that is gone takes this stream with it
            let _ = notices.unbounded_send(Woken::Unreadable { kind, namespace, name, begins });
        }
    })
}

/// What is known of a kind of which some objects may not decode, trimmed.
fn known<K: Watched + Default, F: Fn(&mut K) + Send + 'static>(
    api: Api<Guard<K>>,
    config: watcher::Config,
    notices: &UnboundedSender<Woken>,
    trim: F,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K, F> {
    guarded(api, config, notices).map(move |event| {
        event.map(|event| {
            guard::map(event, |object| {
                let mut object = object.known();
                trim(&mut object);
                object
            })
        })
    })
}

fn typed<K: Watched + Default>(
    api: Api<Guard<K>>,
    config: watcher::Config,
    notices: &UnboundedSender<Woken>,
    trim: fn(&mut K),
) -> Kept<K> {
    let known = known(api, config, notices, move |object| {
        trim::keep_our_fields(object.meta_mut());
        trim(object);
    });
    reflected(known, woken_by)
}

fn metadata<K>(api: Api<PartialObjectMeta<K>>) -> Kept<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    reflected(watch(api, everything()).modify(|object| trim::keep_our_fields(object.meta_mut())), woken_by)
}

fn reflected<K: Watched>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    woken: fn(&ObjectMeta) -> Woken,
) -> Kept<K> {
    let (reader, writer) = reflector::store();
    let events = events
        .reflect(writer)
        .touched_objects()
        .map(move |touched| touched.map(|object| woken(object.meta())))
        .boxed();
    (reader, events)
}

fn nodes(api: Api<Guarded>, notices: &UnboundedSender<Woken>) -> Kept<Guarded> {
    let (reader, writer) = reflector::store();
    let mut seen: HashMap<ObjectRef<Guarded>, (u64, u64)> = HashMap::new();
    let events = guarded(api, everything(), notices)
        .modify(|node| node.meta_mut().managed_fields = None)
        .reflect(writer)
        .touched_objects()
        .map(move |touched| match touched {
            Ok(node) => stream::iter(changes(&mut seen, &node)).map(Ok).left_stream(),
            Err(error) => stream::once(future::ready(Err(error))).right_stream(),
        })
        .flatten()
        .boxed();
    (reader, events)
}

fn hosts(api: Api<Guard<Node>>, notices: &UnboundedSender<Woken>) -> Kept<Node> {
    let (reader, writer) = reflector::store();
    let mut seen = HashMap::new();
    let events = known(api, everything(), notices, trim::host)
        .reflect(writer)
        .touched_objects()
        // a kubelet reports every few minutes, mostly nothing new
        .filter_map(move |touched| {
            future::ready(match touched {
                Ok(host) => {
                    let facts = hashed(&serde_json::to_string(&host).unwrap_or_default());
                    (seen.insert(host.name_any(), facts) != Some(facts)).then_some(Ok(Woken::Host))
                }
                Err(error) => Some(Err(error)),
            })
        })
        .boxed();
    (reader, events)
}

/// How long a burst of events may take to settle before a pass begins.
pub const DEBOUNCE: Duration = Duration::from_millis(100);
