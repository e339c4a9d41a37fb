//! Reconcile of one node: observe, validate, issue, render, apply, report. It may start without any memory at any time:
//! state in memory affects only when something is done, not what.

pub mod apply;
pub mod decide;
pub mod delete;
pub mod desired;
pub mod issue;
pub mod observe;
pub mod observed;
pub mod requeue;
pub mod status;
mod status_write;
pub mod validate;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use crate::model::irreplaceable;
use crate::model::names;
use crate::node::apply::{finalizer, replace_pods};
use crate::{
    api::{QuorumNode, QuorumNodeStatus},
    cluster::{
        Caches, ChainHeads, IssuerKeys, Rollouts, SecretFacts, ServedCertificates, StatusDebounce, Writer,
    },
    settings::RenderConfig,
};
use apply::{Applied, Applier};
use issue::Created;
use observe::Sources;
use observed::Observed;
use status_write::StatusWrite;

/// Delay of a requeue that an event should make unnecessary. Events can be lost.
const REQUEUE_SOON: Duration = Duration::from_secs(1);

/// Stage of a reconcile, for errors and their metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading.
    Observe,
    /// Keys and certificates.
    Issue,
    /// Writing owned objects.
    Apply,
    /// Writing status.
    Report,
    /// Any stage: the deadline of the reconcile expired.
    Timeout,
}

impl Stage {
    /// Value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Issue => "issue",
            Self::Apply => "apply",
            Self::Report => "report",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out"),
            stage => write!(f, "{stage:?} failed"),
        }
    }
}

/// Dependencies of a reconcile.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Client for the API server.
    pub client: &'a kube::Client,
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
    /// Writer for the cluster.
    pub writer: &'a Writer,
    /// Evictions of all nodes, and the canary.
    pub rollouts: &'a Rollouts,
    /// Waits of status updates.
    pub status_debounce: &'a StatusDebounce,
    /// Settings of the operator that affect rendering.
    pub render_config: &'a RenderConfig,
}

/// Result of a reconcile.
#[derive(Clone, Debug)]
pub struct Reconciled {
    /// The status the node has now.
    pub status: QuorumNodeStatus,
    /// Time of the next reconcile without an event, such as the next renewal of a certificate; later than now.
    pub next: Option<Timestamp>,
    /// Requests that changed something.
    pub writes: usize,
    /// Whether the served certificates are those of the Secrets, by purpose, as far as they were probed.
    pub served: BTreeMap<names::Purpose, bool>,
}

/// Reconciles a node at the time `now`.
///
/// # Errors
/// Fails if the cluster cannot be read or written. Faults of the spec are no errors; the status reports them.
pub async fn reconcile(
    context: Context<'_>,
    node: Arc<QuorumNode>,
    now: Timestamp,
) -> anyhow::Result<Reconciled> {
    let sources = Sources {
        client: context.client,
        caches: context.caches,
        everywhere: context.everywhere,
        facts: context.facts,
        keys: context.keys,
        served: context.served,
        chains: context.chains,
        domain: &context.render_config.domain,
    };
    // the finalizer comes before anything that a deletion has to clean up
    let mut held = 0;
    if !irreplaceable::has_finalizer(&node.metadata) {
        context.writer.add_finalizer(&node).await.context(Stage::Apply)?;
        held = 1;
    }
    // observe, validate
    let mut observed = observe::observe(sources, node, now).await.context(Stage::Observe)?;
    let mut applier = applier(context, &observed);
    let mut validated = validate::validate(&observed);
    // issue: keys and CAs, created once; what was created is validated with the rest
    let created = match &validated {
        Ok(node) => issue::create(&mut applier, node, &mut observed, now).await.context(Stage::Issue)?,
        Err(_) => Created::Nothing,
    };
    if created == Created::Known {
        validated = validate::validate(&observed);
    }
    let may_hold = validated.is_ok() && !applier.frozen;
    finalizer::add_finalizer(context, &mut applier, &observed, may_hold).await.context(Stage::Issue)?;
    // desire, apply; a node that stalls gets its certificates renewed and nothing else
    match &validated {
        Ok(_) if created == Created::Theirs => {}
        Ok(node) => {
            let done = converge(context, &mut applier, (node, &mut observed), now).await;
            if done.is_err() && observed.node.status.is_none() {
                // tools that wait for the node would take an empty status for settled
                let status = status::status(&observed, &validated, &applier.applied, now);
                let told = context.writer.status(&observed.node.metadata, &status).await;
                tracing::debug!(told = told.is_ok(), "first status of a failing reconcile");
            }
            done?;
        }
        Err(_) => {
            applier.frozen = true;
            issue::keep(&mut applier, &observed, now).await.context(Stage::Issue)?;
            applier.keys(&observed).await.context(Stage::Apply)?;
            applier.changed_by_others(&validate::names_of(&observed));
        }
    }
    // report
    let applied = applier.applied;
    let status = status::status(&observed, &validated, &applied, now);
    let told = status_write::write(context, &observed.node, &status, applied.writes > 0)
        .await
        .context(Stage::Report)?;
    let writes = held + applied.writes + usize::from(told == StatusWrite::Done);
    let debounced = match told {
        StatusWrite::Debounced(wait) => Some(wait),
        StatusWrite::Done | StatusWrite::Unchanged => None,
    };
    let next = requeue::next(&observed, &validated, &applied, debounced, now);
    Ok(Reconciled { status, next, writes, served: status::seen_served(&observed) })
}

fn applier<'a>(context: Context<'a>, observed: &Observed) -> Applier<'a> {
    Applier {
        client: context.client,
        caches: context.caches,
        facts: context.facts,
        writer: context.writer,
        frozen: observed.node.spec.paused,
        waits: false,
        established: status::is_established(&observed.node),
        applied: Applied::default(),
        unwritten: None,
    }
}

/// Writes the objects that differ, and adds the server's responses to `observed`.
async fn converge(
    context: Context<'_>,
    applier: &mut Applier<'_>,
    (node, observed): (&validate::Validated, &mut Observed),
    now: Timestamp,
) -> anyhow::Result<()> {
    applier.waits = desired::certificates::is_waited_for(node, observed);
    let issued = issue::issue(applier, node, observed, now).await.context(Stage::Issue)?;
    let Some(issued) = issued else { return Ok(()) };
    applier.strip(node, &issued).await.context(Stage::Apply)?;
    if !applier.frozen {
        finalizer::own(context, applier, node).await.context(Stage::Issue)?;
    }
    let live = desired::Live::of(observed, node, now);
    let desired = desired::desired(node, &issued, context.render_config, &live);
    applier.all(node, &desired).await.context(Stage::Apply)?;
    match applier.frozen {
        true => applier.keys(observed).await.context(Stage::Apply)?,
        false => applier.policy(node, observed, &desired).await.context(Stage::Apply)?,
    }
    let peers = applier.applied.services.iter().find(|one| one.name_any() == node.names.peer_service());
    observed.peer_address = peers.and_then(observe::address).or(observed.peer_address.take());
    if applier.waits {
        return Ok(());
    }
    applier.volumes(node, observed, &desired).await.context(Stage::Apply)?;
    // the workloads in `observed` may be older than those that were found to be as rendered
    observed.workloads = observe::workloads(context.caches, &node.names);
    replace_pods::replace(context, applier, (node, observed), now).await
}
