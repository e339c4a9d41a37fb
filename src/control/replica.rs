//! One replica of the operator, from its start to its end.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt as _, future};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, Resource as _};
use tower::util::option_layer;

use super::{Clock, Context, backoff::Backoff, everywhere::Everywhere, leader::Stand, work};
use crate::{
    api::QuorumNode,
    cluster::{
        self, Caches, Chains, Facts, Fence, Keys, Pressure, Rollouts, Served, Unsaid, Writer,
        caches::Scope,
        fence::REQUEST,
        figures::Ask,
        keys::fetch::{self, Fetch},
        served::Dial,
    },
    serve::{self, Counted, Health, Metrics},
    settings::{Settings, Surroundings},
};

/// How long the passes that have begun may take to end once the replica is told to: less than a pod's grace.
const GRACE: Duration = Duration::from_secs(20);

/// What a replica works with.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) client: Client,
    /// For the lease alone: a server that refuses everything else must not cost it.
    pub(super) lease: Client,
    /// Its name in the lease and in events.
    pub(super) identity: String,
    /// Where the lease is.
    pub(super) namespace: String,
    pub(super) surroundings: Surroundings,
    /// The way to read what an issuer of tokens publishes.
    pub(super) fetch: Fetch,
    /// The way to look which certificate a port serves.
    pub(super) dial: Dial,
    /// The way to ask a client what its chain does.
    pub(super) ask: Ask,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) concurrency: u16,
    pub(super) max_rollouts: u16,
    pub(super) clock: Clock,
}

/// Runs until told to stop, or until the lease is lost.
///
/// # Errors
/// Where the cluster cannot be reached at start, a setting is wrong, or the lease is lost.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new());
    let counted = Counted(Arc::clone(&metrics));
    let replica = Replica {
        surroundings: settings.surroundings()?,
        fetch: Arc::new(|url, authorities| fetch::issuer(url, authorities).boxed()),
        dial: Arc::new(|port| cluster::dial::presented(port).boxed()),
        ask: Arc::new(|place| cluster::dial::chain::ask(place.address).boxed()),
        client: client(Some(Pressure::default()), &counted).await?,
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
    /// Stands for the lead and works while it has it, until told to stop, or until the lead is lost.
    ///
    /// # Errors
    /// Where the lead is lost.
    pub(super) async fn stand(
        &self,
        scopes: &[Scope],
        stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let (end, fence) = Fence::new();
        let stand = Stand::new(self, end);
        let loops = future::join_all(self.loops(scopes, &fence, stop.clone()));
        let late = async {
            stop.clone().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            _ = loops => {}
            lost = stand.keep() => return lost,
            // what has been sent may still arrive: the lease ends by itself
            () = late => anyhow::bail!("a pass did not end in {} s", GRACE.as_secs()),
        }
        stand.release().await;
        Ok(())
    }

    /// What is done for each scope, for as long as the fence lets it.
    pub(super) fn loops<S: Future<Output = ()> + Clone + Send + Sync + 'static>(
        &self,
        scopes: &[Scope],
        fence: &Fence,
        stop: S,
    ) -> Vec<impl Future<Output = ()> + Send + use<S>> {
        let watch = |scope: &Scope| (scope.clone(), Caches::watch(&self.client, scope, &self.metrics.heard));
        let watched: Vec<_> = scopes.iter().map(watch).collect();
        let everywhere =
            Arc::new(Everywhere::new(watched.iter().map(|(_, (caches, _))| caches.clone()).collect()));
        let rollouts = Arc::new(Rollouts::new(self.max_rollouts));
        let loops = watched.into_iter().map(|(scope, (caches, events))| {
            let echoes = Arc::clone(&caches.echoes);
            let context = Arc::new(Context {
                client: self.client.clone(),
                scope,
                caches,
                everywhere: Arc::clone(&everywhere),
                facts: Facts::default(),
                rollouts: Arc::clone(&rollouts),
                unsaid: Unsaid::default(),
                writer: Writer::new(self.client.clone(), fence.clone(), &self.identity, echoes),
                surroundings: self.surroundings.clone(),
                keys: Keys::default(),
                fetch: Arc::clone(&self.fetch),
                served: Served::default(),
                dial: Arc::clone(&self.dial),
                chains: Chains::default(),
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

/// A client that gives up in time and repeats nothing by itself: back-off is per node, and a refusal must be
/// seen to be reported.
async fn client(pressure: Option<Pressure>, counted: &Counted) -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context("no kubeconfig, and not inside a cluster")?;
    config.connect_timeout = Some(REQUEST);
    // a connection that nobody holds at the other end, in the middle of a list; a watch is never so silent
    config.read_timeout = Some(Duration::from_secs(95));
    // what waits is not sent yet, and not counted
    let builder = cluster::connect::client(config)?;
    Ok(builder.with_layer(counted).with_layer(&option_layer(pressure)).build())
}

/// Not an error: the definitions may be installed after the operator.
async fn wait_for_definition(client: &Client, health: &Health, stop: impl Future<Output = ()> + Unpin) {
    let mut stop = stop;
    loop {
        match client.list_api_group_resources(&QuorumNode::api_version(&())).await {
            Ok(list) if list.resources.iter().any(|resource| resource.kind == "QuorumNode") => return,
            Ok(_) => health.missing("the QuorumNode definition is not installed"),
            Err(error) => {
                tracing::info!(%error, "waiting for the QuorumNode definition");
                health
                    .missing("the QuorumNode definition is not installed, or the API server does not answer");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => {}
            () = &mut stop => return,
        }
    }
}
