//! Life cycle of one operator replica.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt as _, future};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource as _};
use tower::util::option_layer;

use super::{
    Clock, ScopeContext, all_scopes::Everywhere, backoff::Backoff, leader_election::LeaderElector, work,
};
use crate::{
    api::QuorumNode,
    cluster::{
        self, Caches, ChainHeads, Fence, IssuerKeys, Rollouts, SecretFacts, ServedCertificates,
        StatusDebounce, Throttle, Writer,
        chain_heads::Ask,
        jwks::fetch::{self, Fetch},
        tls_probe::served_certificates::Dial,
        watch::caches::Scope,
        write::fence::REQUEST,
    },
    serve::{self, Counted, Health, Metrics},
    settings::{RenderConfig, Settings},
};

/// How long running reconciles may take to end after a stop signal. Shorter than the pod's termination grace period.
const GRACE: Duration = Duration::from_secs(20);

/// Dependencies of a replica.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) client: Client,
    /// Client for the lease only: an API server that rejects all other requests must not cost the lease.
    pub(super) lease: Client,
    /// Its name in the lease and in events.
    pub(super) identity: String,
    /// Namespace of the lease.
    pub(super) namespace: String,
    pub(super) render_config: RenderConfig,
    /// Reads what a token issuer publishes.
    pub(super) fetch: Fetch,
    /// Probes which certificate a port serves.
    pub(super) dial: Dial,
    /// Probes a client for the state of its chain.
    pub(super) ask: Ask,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) concurrency: u16,
    pub(super) max_rollouts: u16,
    pub(super) clock: Clock,
}

/// Runs until a stop signal, or until the lease is lost.
///
/// # Errors
/// Fails if the cluster cannot be reached at start, a setting is invalid, or the lease is lost.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new());
    let counted = Counted(Arc::clone(&metrics));
    let replica = Replica {
        render_config: settings.render_config()?,
        fetch: Arc::new(|url, authorities| fetch::issuer(url, authorities).boxed()),
        dial: Arc::new(|port| cluster::tls_probe::presented(port).boxed()),
        ask: Arc::new(|place| cluster::tls_probe::chain_metrics::ask(place.address).boxed()),
        client: client(Some(Throttle::default()), &counted).await?,
        lease: client(None, &counted).await?,
        identity: settings.identity(),
        namespace: settings.namespace,
        metrics,
        health: Arc::new(Health::default()),
        concurrency: settings.concurrency,
        max_rollouts: settings.max_rollouts,
        clock: Arc::new(Timestamp::now),
    };
    let (metrics, health) = (Arc::clone(&replica.metrics), Arc::clone(&replica.health));
    let server = tokio::spawn(serve::serve(settings.listen, metrics, health));
    let stop = serve::stopped().shared();
    wait_for_definition(&replica.client, &replica.health, stop.clone()).await;
    let scopes: Vec<Scope> = match settings.watch_namespaces.as_slice() {
        [] => vec![Scope::All],
        named => named.iter().cloned().map(Scope::Namespace).collect(),
    };
    tokio::select! {
        outcome = replica.stand(&scopes, stop) => outcome,
        ended = server => ended.context("server task")?.context("server of metrics and probes"),
    }
}

impl Replica {
    /// Takes part in the leader election, and works while it leads, until `stop` or until the lease is lost.
    ///
    /// # Errors
    /// Fails if the lease is lost, or if a reconcile does not end in time after `stop`.
    pub(super) async fn stand(
        &self,
        scopes: &[Scope],
        stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let (end, fence) = Fence::new();
        let stand = LeaderElector::new(self, end);
        let loops = future::join_all(self.loops(scopes, &fence, stop.clone()));
        let late = async {
            stop.clone().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            _ = loops => {}
            lost = stand.keep() => return lost,
            // requests may still be in flight, so the lease is not released, but expires
            () = late => anyhow::bail!("a reconcile did not end within {} s", GRACE.as_secs()),
        }
        stand.release().await;
        Ok(())
    }

    /// The loop of each scope. It works while the fence allows it.
    pub(super) fn loops<S: Future<Output = ()> + Clone + Send + Sync + 'static>(
        &self,
        scopes: &[Scope],
        fence: &Fence,
        stop: S,
    ) -> Vec<impl Future<Output = ()> + Send + use<S>> {
        let watch =
            |scope: &Scope| (scope.clone(), Caches::watch(&self.client, scope, &self.metrics.staleness));
        let watched: Vec<_> = scopes.iter().map(watch).collect();
        let everywhere =
            Arc::new(Everywhere::new(watched.iter().map(|(_, (caches, _))| caches.clone()).collect()));
        let rollouts = Arc::new(Rollouts::new(self.max_rollouts));
        let loops = watched.into_iter().map(|(scope, (caches, events))| {
            let pending_writes = Arc::clone(&caches.pending_writes);
            let context = Arc::new(ScopeContext {
                client: self.client.clone(),
                scope,
                caches,
                everywhere: Arc::clone(&everywhere),
                facts: SecretFacts::default(),
                rollouts: Arc::clone(&rollouts),
                status_debounce: StatusDebounce::default(),
                writer: Writer::new(self.client.clone(), fence.clone(), &self.identity, pending_writes),
                render_config: self.render_config.clone(),
                keys: IssuerKeys::default(),
                fetch: Arc::clone(&self.fetch),
                served: ServedCertificates::default(),
                dial: Arc::clone(&self.dial),
                chains: ChainHeads::default(),
                ask: Arc::clone(&self.ask),
                metrics: Arc::clone(&self.metrics),
                health: Arc::clone(&self.health),
                backoff: Backoff::default(),
                concurrency: self.concurrency,
                clock: Arc::clone(&self.clock),
            });
            work(context, events, fence.clone(), stop.clone())
        });
        loops.collect()
    }
}

/// Client with timeouts and without retries: backoff is per node, and a rejection must be seen to be reported.
async fn client(pressure: Option<Throttle>, counted: &Counted) -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context("no kubeconfig, and not inside a cluster")?;
    config.connect_timeout = Some(REQUEST);
    // for a dead connection in the middle of a list; a live watch is never silent for that long
    config.read_timeout = Some(Duration::from_secs(95));
    // requests that wait in the throttle are not sent yet, so they are not counted
    let builder = cluster::client::connect::client(config)?;
    Ok(builder.with_layer(counted).with_layer(&option_layer(pressure)).build())
}

/// Waits for the CRD. It may be installed after the operator, so its absence is no error.
async fn wait_for_definition(client: &Client, health: &Health, stop: impl Future<Output = ()> + Unpin) {
    let mut stop = stop;
    loop {
        match client.list_api_group_resources(&QuorumNode::api_version(&())).await {
            Ok(list) if list.resources.iter().any(|resource| resource.kind == "QuorumNode") => return,
            Ok(_) => health.missing("the QuorumNode CRD is not installed"),
            Err(error) => {
                tracing::info!(%error, "waiting for the QuorumNode CRD");
                health.missing("the QuorumNode CRD is not installed, or the API server does not answer");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = &mut stop => return,
        }
    }
}
