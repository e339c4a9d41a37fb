//! Watch caches of one scope (a namespace, or all), and what their events wake.

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
    Echoes, Forbidden, Heard,
    guard::{self, FromWhole, Guard, Unread},
    judged::Judged,
    listed::Listed,
    optional::{Asked, Optional, optional},
    trim,
    wakes::{SeenNodes, woken_by, woken_by_claim, woken_by_host, woken_by_node},
    watch::{everything, watch},
    write::Seen,
};
use crate::{
    api::QuorumNode,
    node::{
        foreign::{Certificate, PodMonitor},
        names,
        optional::{asks_cert_manager, asks_monitoring},
    },
};

pub use super::{judged::seen, wakes::Woken};

/// A node as it arrives, readable or not.
pub type Guarded = Guard<QuorumNode>;

/// Objects of one kind of which only metadata is kept, and only metadata is read.
pub type Metadata<K> = Store<PartialObjectMeta<K>>;

/// Objects of one kind that the operator writes, of which metadata is kept, and what their content is.
pub type Contents<K> = Store<Judged<PartialObjectMeta<K>>>;

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
    pub workloads: Store<Judged<StatefulSet>>,
    /// Pods of nodes, trimmed.
    pub pods: Store<Pod>,
    /// Volume claims of nodes, trimmed.
    pub claims: Store<PersistentVolumeClaim>,
    /// Services, trimmed.
    pub services: Store<Judged<Service>>,
    /// Metadata of Secrets.
    pub secrets: Metadata<Secret>,
    /// ConfigMaps.
    pub config_maps: Contents<ConfigMap>,
    /// Network policies.
    pub policies: Contents<NetworkPolicy>,
    /// Disruption budgets.
    pub budgets: Contents<PodDisruptionBudget>,
    /// Accounts.
    pub accounts: Contents<ServiceAccount>,
    /// Hosts, trimmed.
    pub hosts: Store<Node>,
    /// Certificates of cert-manager, where it is there.
    pub certificates: Optional<Judged<Certificate>>,
    /// PodMonitors of the Prometheus operator, where it is there.
    pub monitors: Optional<Judged<PodMonitor>>,
    /// What may not be watched, and is not seen.
    pub forbidden: Forbidden,
    /// What this process has written and they do not show yet.
    pub echoes: Arc<Echoes>,
}

/// Events of all watches, as they come.
pub type Events = Pin<Box<dyn Stream<Item = Result<Woken, watcher::Error>> + Send>>;

impl Caches {
    /// Starts the watches of a scope. The caches fill as `Events` is polled.
    #[must_use]
    pub fn watch(client: &Client, scope: &Scope, heard: &Heard) -> (Self, Events) {
        let (tell, noticed) = mpsc::unbounded();
        let echoes = Arc::<Echoes>::default();
        let notices = Notices {
            tell,
            forbidden: Forbidden::default(),
            heard: heard.clone(),
            echoes: Arc::clone(&echoes),
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
            optional(client, asked, &notices, |it: &mut Judged<_>| trim::certificate(&mut it.object));
        let asked = Asked { api: scope.api(client), nodes: nodes.clone(), asks: asks_monitoring };
        let (monitors, on_monitors) =
            optional(client, asked, &notices, |it: &mut Judged<_>| trim::monitor(&mut it.object));
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
            echoes,
        };
        (caches, Box::pin(events))
    }

    /// Metadata of a Secret: as the cache shows it, or as this process has written it since.
    #[must_use]
    pub fn secret(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let live = find(&self.secrets, namespace, name).map(Seen::from);
        self.echoes.newest(("Secret", namespace, name), live, Instant::now()).map(|seen| seen.meta)
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
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + FromWhole + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + FromWhole + Send + Sync + 'static
{
}

/// What watches tell beside their events.
#[derive(Clone)]
pub(super) struct Notices {
    tell: UnboundedSender<Woken>,
    pub(super) forbidden: Forbidden,
    heard: Heard,
    echoes: Arc<Echoes>,
}

impl Notices {
    fn tell(&self, woken: Woken) {
        // a receiver that is gone takes all streams with it
        let _ = self.tell.unbounded_send(woken);
    }
}

/// Events of a kind. Whether it may be watched goes into `notices`, and that what was missed may be looked for.
fn heeded<K: Watched + DeserializeOwned>(
    api: Api<K>,
    config: watcher::Config,
    notices: &Notices,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + use<K> {
    let (resource, notices) = (api.resource_url().to_owned(), notices.clone());
    let listening = notices.heard.listen(&resource, &K::kind(&()));
    let mut listing = None;
    watch(api, config).inspect(move |event| {
        if let Ok(event) = event {
            listening.hear();
            notices.echoes.hear(event, &mut listing, Instant::now());
        }
        // what went while nobody watched is in no event
        let listed = matches!(event, Ok(watcher::Event::InitDone));
        if notices.forbidden.hear(&resource, event) || listed {
            notices.tell(Woken::All);
        }
    })
}

/// Events of a kind of which some objects may not decode. Which those are goes into `notices`.
fn guarded<K: Watched>(
    api: Api<Guard<K>>,
    config: watcher::Config,
    notices: &Notices,
) -> impl Stream<Item = Result<watcher::Event<Guard<K>>, watcher::Error>> + use<K> {
    let (mut unread, notices) = (Unread::default(), notices.clone());
    heeded(api, config, &notices).inspect(move |event| {
        for ((namespace, name), begins) in
            event.as_ref().map_or_else(|_| vec![], |event| unread.changes(event))
        {
            let kind = K::kind(&()).into_owned();
            notices.tell(Woken::Unreadable { kind, namespace, name, begins });
        }
    })
}

/// What is known of a kind of which some objects may not decode, trimmed.
pub(super) fn known<K: Watched + Default, F: Fn(&mut K) + Send + 'static>(
    api: Api<Guard<K>>,
    config: watcher::Config,
    notices: &Notices,
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
    notices: &Notices,
    trim: fn(&mut K),
) -> Kept<K> {
    let known = known(api, config, notices, move |object| {
        trim::metadata(object.meta_mut());
        trim(object);
    });
    reflected(known, woken_by)
}

/// A kind that the operator writes: whole objects are read, and of their content what they are compared by is kept.
fn judged<K: Watched + Default + DeserializeOwned>(
    api: Api<Guard<Judged<K>>>,
    notices: &Notices,
    trim: fn(&mut K),
) -> Kept<Judged<K>> {
    let known = known(api, everything(), notices, move |judged: &mut Judged<K>| {
        trim::metadata(judged.meta_mut());
        trim(&mut judged.object);
    });
    reflected(known, woken_by)
}

fn contents<K>(
    api: Api<Guard<Judged<PartialObjectMeta<K>>>>,
    notices: &Notices,
) -> Kept<Judged<PartialObjectMeta<K>>>
where
    K: Resource<DynamicType = ()> + Clone + Default + std::fmt::Debug + Send + Sync + 'static,
{
    judged(api, notices, |object| object.types = None)
}

fn metadata<K>(api: Api<PartialObjectMeta<K>>, notices: &Notices) -> Kept<PartialObjectMeta<K>>
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

fn nodes(api: Api<Guarded>, notices: &Notices) -> Kept<Guarded> {
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

fn hosts(api: Api<Guard<Node>>, notices: &Notices) -> Kept<Node> {
    let (reader, writer) = reflector::store();
    let mut seen = Listed::default();
    let events = known(api, everything(), notices, trim::host)
        .reflect(writer)
        .filter_map(move |event| {
            future::ready(event.map(|event| woken_by_host(&mut seen, &event)).transpose())
        })
        .boxed();
    (reader, events)
}
