//! Watch caches of one scope (one namespace or all), and the triggers from their events.

use std::{pin::Pin, sync::Arc};

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
    Api, Client, Resource,
    api::ObjectMeta,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    cached_object::CachedObject,
    optional_kinds::{Asked, Optional, optional},
    relist::Relist,
    stream::{everything, watch},
    triggers::{SeenNodes, woken_by, woken_by_claim, woken_by_host, woken_by_node},
    trim,
    undecodable::UndecodableObjects,
};
pub use super::{cached_object::seen, triggers::Trigger};
use crate::cluster::watch::undecodable;
use crate::{
    api::QuorumNode,
    cluster::{Forbidden, PendingWrites, Staleness, write::Seen},
    model::{
        decode::{Decoded, FromWhole},
        names,
        optional_kinds::{asks_cert_manager, asks_monitoring},
        third_party::{Certificate, PodMonitor},
    },
};

/// A QuorumNode as it arrives, decodable or not.
pub type DecodedNode = Decoded<QuorumNode>;

/// Cache of one kind that reads and stores only metadata.
pub type Metadata<K> = Store<PartialObjectMeta<K>>;

/// Cache of one kind that the operator writes. Stores metadata and comparable content.
pub type Contents<K> = Store<CachedObject<PartialObjectMeta<K>>>;

/// Scope of watches: one namespace or all.
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

/// All caches that a reconcile reads, filled by watches.
#[derive(Clone)]
pub struct Caches {
    /// QuorumNodes.
    pub nodes: Store<DecodedNode>,
    /// StatefulSets, trimmed.
    pub workloads: Store<CachedObject<StatefulSet>>,
    /// Pods of nodes, trimmed.
    pub pods: Store<Pod>,
    /// Volume claims of nodes, trimmed.
    pub claims: Store<PersistentVolumeClaim>,
    /// Services, trimmed.
    pub services: Store<CachedObject<Service>>,
    /// Metadata of Secrets.
    pub secrets: Metadata<Secret>,
    /// ConfigMaps.
    pub config_maps: Contents<ConfigMap>,
    /// Network policies.
    pub policies: Contents<NetworkPolicy>,
    /// Disruption budgets.
    pub budgets: Contents<PodDisruptionBudget>,
    /// ServiceAccounts.
    pub accounts: Contents<ServiceAccount>,
    /// Hosts (Kubernetes nodes), trimmed.
    pub hosts: Store<Node>,
    /// Certificates of cert-manager, if it is installed.
    pub certificates: Optional<CachedObject<Certificate>>,
    /// PodMonitors of the Prometheus operator, if it is installed.
    pub monitors: Optional<CachedObject<PodMonitor>>,
    /// Watches that the API server forbids.
    pub forbidden: Forbidden,
    /// Writes of this process that the caches do not show yet.
    pub pending_writes: Arc<PendingWrites>,
}

/// Triggers from all watches.
pub type Events = Pin<Box<dyn Stream<Item = Result<Trigger, watcher::Error>> + Send>>;

impl Caches {
    /// Starts the watches of a scope. The caches fill as `Events` is polled.
    #[must_use]
    pub fn watch(client: &Client, scope: &Scope, staleness: &Staleness) -> (Self, Events) {
        let (tell, noticed) = mpsc::unbounded();
        let pending_writes = Arc::<PendingWrites>::default();
        let notices = Notices {
            tell,
            forbidden: Forbidden::default(),
            staleness: staleness.clone(),
            pending_writes: Arc::clone(&pending_writes),
        };
        let (nodes, node_events) = nodes(scope.api(client), &notices);
        let (workloads, on_workloads) = judged(scope.api(client), &notices, trim::workload);
        let ours = everything().labels(names::NODE);
        let (pods, on_pods) = typed(scope.api(client), ours, &notices, trim::pod);
        let claims = known(scope.api(client), everything().labels(names::NODE), &notices, trim::claim);
        let (claims, on_claims) = reflected(claims, woken_by_claim);
        let (services, on_services) = judged(scope.api(client), &notices, trim::service);
        let (secrets, on_secrets) = metadata(scope.api::<PartialObjectMeta<Secret>>(client), &notices);
        let (config_maps, on_config_maps) = contents::<ConfigMap>(scope.api(client), &notices);
        let (policies, on_policies) = contents::<NetworkPolicy>(scope.api(client), &notices);
        let (budgets, on_budgets) = contents::<PodDisruptionBudget>(scope.api(client), &notices);
        let (accounts, on_accounts) = contents::<ServiceAccount>(scope.api(client), &notices);
        let (hosts, on_hosts) = hosts(Api::all(client.clone()), &notices);
        let asked = Asked { api: scope.api(client), nodes: nodes.clone(), asks: asks_cert_manager };
        let (certificates, on_certificates) =
            optional(client, asked, &notices, |it: &mut CachedObject<_>| trim::certificate(&mut it.object));
        let asked = Asked { api: scope.api(client), nodes: nodes.clone(), asks: asks_monitoring };
        let (monitors, on_monitors) =
            optional(client, asked, &notices, |it: &mut CachedObject<_>| trim::monitor(&mut it.object));
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
            on_certificates,
            on_monitors,
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
            certificates,
            monitors,
            forbidden: notices.forbidden,
            pending_writes,
        };
        (caches, Box::pin(events))
    }

    /// Metadata of a Secret from the cache, or from a later write of this process.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let live = find(&self.secrets, namespace, name).map(Seen::from);
        self.pending_writes.newest(("Secret", namespace, name), live, Instant::now()).map(|seen| seen.meta)
    }

    /// Waits until every watch has delivered its first list.
    pub async fn filled(&self) {
        // an error means that a watch has ended, which ends the process elsewhere
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

type Deletions<K> = (Store<K>, stream::BoxStream<'static, Result<Trigger, watcher::Error>>);

/// A kind that can be watched.
pub(crate) trait Watched:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + FromWhole + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + FromWhole + Send + Sync + 'static
{
}

/// Side channels of the watches.
#[derive(Clone)]
pub(crate) struct Notices {
    tell: UnboundedSender<Trigger>,
    pub(crate) forbidden: Forbidden,
    staleness: Staleness,
    pending_writes: Arc<PendingWrites>,
}

impl Notices {
    fn tell(&self, woken: Trigger) {
        // fails only if the receiver is gone, and then all streams end
        let _ = self.tell.unbounded_send(woken);
    }
}

/// Events of a kind. Records forbidden watches in `notices`, and triggers a resync whenever changes may have been
/// missed.
fn heeded<K: Watched + DeserializeOwned>(
    api: Api<K>,
    config: watcher::Config,
    notices: &Notices,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K> {
    let (resource, notices) = (api.resource_url().to_owned(), notices.clone());
    let listening = notices.staleness.listen(&resource, &K::kind(&()));
    let mut listing = None;
    watch(api, config).inspect(move |event| {
        if let Ok(event) = event {
            listening.hear();
            notices.pending_writes.hear(event, &mut listing, Instant::now());
        }
        // no event shows an object that was deleted while the watch was down
        let listed = matches!(event, Ok(watcher::Event::InitDone));
        if notices.forbidden.hear(&resource, event) || listed {
            notices.tell(Trigger::All);
        }
    })
}

/// Events of a kind. Reports objects that do not decode to `notices`.
fn guarded<K: Watched>(
    api: Api<Decoded<K>>,
    config: watcher::Config,
    notices: &Notices,
) -> impl Stream<Item = Result<watcher::Event<Decoded<K>>, watcher::Error>> + use<K> {
    let (mut unread, notices) = (UndecodableObjects::default(), notices.clone());
    heeded(api, config, &notices).inspect(move |event| {
        for ((namespace, name), begins) in
            event.as_ref().map_or_else(|_| vec![], |event| unread.changes(event))
        {
            let kind = K::kind(&()).into_owned();
            notices.tell(Trigger::Undecodable { kind, namespace, name, begins });
        }
    })
}

/// Events of a kind with trimmed objects. An object that does not decode has only its metadata.
pub(crate) fn known<K: Watched + Default, F: Fn(&mut K) + Send + 'static>(
    api: Api<Decoded<K>>,
    config: watcher::Config,
    notices: &Notices,
    trim: F,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K, F> {
    guarded(api, config, notices).map(move |event| {
        event.map(|event| {
            undecodable::map(event, |object| {
                let mut object = object.known();
                trim(&mut object);
                object
            })
        })
    })
}

fn typed<K: Watched + Default>(
    api: Api<Decoded<K>>,
    config: watcher::Config,
    notices: &Notices,
    trim: fn(&mut K),
) -> Deletions<K> {
    let known = known(api, config, notices, move |object| {
        trim::metadata(object.meta_mut());
        trim(object);
    });
    reflected(known, woken_by)
}

/// Cache of a kind that the operator writes. Reads whole objects, and stores them trimmed, with their comparable
/// content.
fn judged<K: Watched + Default + DeserializeOwned>(
    api: Api<Decoded<CachedObject<K>>>,
    notices: &Notices,
    trim: fn(&mut K),
) -> Deletions<CachedObject<K>> {
    let known = known(api, everything(), notices, move |judged: &mut CachedObject<K>| {
        trim::metadata(judged.meta_mut());
        trim(&mut judged.object);
    });
    reflected(known, woken_by)
}

fn contents<K>(
    api: Api<Decoded<CachedObject<PartialObjectMeta<K>>>>,
    notices: &Notices,
) -> Deletions<CachedObject<PartialObjectMeta<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Default + std::fmt::Debug + Send + Sync + 'static,
{
    judged(api, notices, |object| object.types = None)
}

fn metadata<K>(api: Api<PartialObjectMeta<K>>, notices: &Notices) -> Deletions<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let events = heeded(api, everything(), notices);
    let trimmed = events.modify(|object| {
        object.types = None;
        trim::metadata(object.meta_mut());
    });
    reflected(trimmed, woken_by)
}

fn reflected<K: Watched>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    woken: fn(&ObjectMeta) -> Trigger,
) -> Deletions<K> {
    let (reader, writer) = reflector::store();
    let events = events
        .reflect(writer)
        .touched_objects()
        .map(move |touched| touched.map(|object| woken(object.meta())))
        .boxed();
    (reader, events)
}

fn nodes(api: Api<DecodedNode>, notices: &Notices) -> Deletions<DecodedNode> {
    let (reader, writer) = reflector::store();
    let mut seen = SeenNodes::default();
    let events = guarded(api, everything(), notices)
        .modify(|node| node.meta_mut().managed_fields = None)
        .reflect(writer)
        .map(move |event| match event {
            Ok(event) => stream::iter(woken_by_node(&mut seen, &event)).map(Ok).left_stream(),
            Err(error) => stream::once(future::ready(Err(error))).right_stream(),
        })
        .flatten()
        .boxed();
    (reader, events)
}

fn hosts(api: Api<Decoded<Node>>, notices: &Notices) -> Deletions<Node> {
    let (reader, writer) = reflector::store();
    let mut seen = Relist::default();
    let events = known(api, everything(), notices, trim::host)
        .reflect(writer)
        .filter_map(move |event| {
            future::ready(event.map(|event| woken_by_host(&mut seen, &event)).transpose())
        })
        .boxed();
    (reader, events)
}
