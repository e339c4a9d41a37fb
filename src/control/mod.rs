//! Controller: turns watch events into reconciles, one per node at a time, with backoff after failures.

mod all_scopes;
mod backoff;
mod error_message;
mod failure;
mod leader_election;
mod lease;
mod probe_chains;
mod probe_served_certificates;
mod refresh_issuer_keys;
mod related_nodes;
mod replica;
#[cfg(test)]
mod tests;
mod unwatchable_scopes;
mod work_queue;

use std::{
    pin::pin,
    sync::{Arc, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _, channel::mpsc, stream::FuturesUnordered};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, Resource as _, ResourceExt as _,
    runtime::{
        events::{Event, EventType},
        reflector::ObjectRef,
    },
};
use tokio::{sync::watch, time::Instant};

use crate::model::irreplaceable;
use crate::{
    api::QuorumNode,
    cluster::{
        Caches, ChainHeads, Fence, IssuerKeys, Rollouts, SecretFacts, ServedCertificates, StatusDebounce,
        Writer,
        chain_heads::Ask,
        client::throttle::LOW_PRIORITY,
        jwks::fetch::Fetch,
        tls_probe::served_certificates::Dial,
        watch::caches::{DecodedNode, Events, Scope, Trigger},
    },
    model::{decode::Undecodable, names::NamespacedName},
    node::{
        self, Context, Stage,
        delete::{self},
        status::{self, undecodable},
    },
    serve::{Health, Metrics},
    settings::RenderConfig,
};
use all_scopes::Everywhere;
use backoff::Backoff;
use failure::Failure;
pub use replica::run;
use work_queue::{Change, SETTLES, WorkQueue};

/// Deadline of a reconcile. A slower one is cancelled and retried.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(90);

/// Resync interval: a reconcile without any event catches changes that were missed.
const SWEEP: Duration = Duration::from_secs(600);

/// Number of consecutive failures, some fifteen seconds, after which the node's status reports them.
const TOLD_AFTER: u32 = 4;

/// Longest backoff while a permission is missing, so that its return is noticed soon.
const FORBIDDEN_AT_MOST: Duration = Duration::from_secs(60);

/// Shared state of all reconciles of one scope.
struct ScopeContext {
    client: Client,
    scope: Scope,
    caches: Caches,
    everywhere: Arc<Everywhere>,
    facts: SecretFacts,
    rollouts: Arc<Rollouts>,
    status_debounce: StatusDebounce,
    writer: Writer,
    render_config: RenderConfig,
    keys: IssuerKeys,
    fetch: Fetch,
    served: ServedCertificates,
    dial: Dial,
    chains: ChainHeads,
    ask: Ask,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    backoff: Backoff,
    concurrency: u16,
    clock: Clock,
}

/// Source of the current time.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Runs one scope. Every replica fills its caches; only the leader reconciles.
async fn work(
    context: Arc<ScopeContext>,
    events: Events,
    mut fence: Fence,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let (wake, mut woken) = mpsc::unbounded();
    let pump = pump(Arc::clone(&context), events, fence.clone(), wake.clone());
    let (fill, filled) = watch::channel(false);
    let reconciles = async {
        tokio::select! {
            () = context.everywhere.filled(&context.caches) => {}
            () = stop.clone() => return,
        }
        fill.send_replace(true);
        tokio::select! {
            held = fence.held() => if !held { return },
            () = stop.clone() => return,
        }
        // resync every node, regardless of earlier events
        while woken.try_recv().is_ok() {}
        for node in related_nodes::nodes(&Trigger::All, &context.caches.nodes.state()) {
            let _ = wake.unbounded_send(ReconcileReason::Resync(node));
        }
        tokio::select! {
            () = reconcile_until_settled(&context, woken, stop.clone()) => {}
            () = probe_served_certificates::look(&context, &wake) => {}
            () = probe_chains::watch(&context, &wake) => {}
            () = refresh_issuer_keys::ask(&context, &wake) => {}
        }
    };
    tokio::select! {
        () = pump => tracing::error!("a watch ended"),
        () = reconciles => {}
        () = unwatchable_scopes::tell(&context, filled) => {}
    }
}

/// Reconciles the nodes that are triggered or due, until `stop`. Waits for running reconciles before it returns.
async fn reconcile_until_settled(
    context: &Arc<ScopeContext>,
    mut woken: mpsc::UnboundedReceiver<ReconcileReason>,
    stop: impl Future<Output = ()>,
) {
    let mut turns = WorkQueue::new(context.concurrency);
    let queue = context.metrics.queue();
    let mut running = FuturesUnordered::new();
    let mut stop = pin!(stop);
    loop {
        while let Some((which, patient)) = turns.next(Instant::now(), |which| failures(context, which)) {
            running.push(turn(Arc::clone(context), which, patient));
        }
        *queue.lock().unwrap_or_else(PoisonError::into_inner) = turns.queue();
        let due = turns.until();
        tokio::select! {
            Some((which, again)) = running.next() => {
                turns.ended(which, Instant::now(), again);
            }
            woken = woken.next() => {
                let now = Instant::now();
                match woken {
                    Some(ReconcileReason::Changed(node, news)) => turns.wake(which(node), now, news),
                    Some(ReconcileReason::Resync(node)) => turns.look_at(which(node), now + SETTLES),
                    None => break,
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = &mut stop => break,
        }
    }
    while running.next().await.is_some() {}
}

/// Why a node is reconciled.
enum ReconcileReason {
    /// An event concerns it.
    Changed(ObjectRef<DecodedNode>, Change),
    /// It is due without an event.
    Resync(ObjectRef<DecodedNode>),
}

fn which(node: ObjectRef<DecodedNode>) -> NamespacedName {
    (node.namespace.unwrap_or_default(), node.name)
}

/// Consecutive failures of a node. If this replica has counted none, 1 if the node's status reports failures.
fn failures(context: &ScopeContext, (namespace, name): &NamespacedName) -> u32 {
    let counted = context.backoff.failures(namespace, name);
    let node = || context.caches.nodes.get(&ObjectRef::new(name).within(namespace));
    if counted > 0 {
        counted
    } else {
        u32::from(node().is_some_and(|node| node.0.as_ref().is_ok_and(status::is_told_to_fail)))
    }
}

/// Reconciles a node, and returns the time until the next reconcile.
async fn turn(
    context: Arc<ScopeContext>,
    which: NamespacedName,
    patient: bool,
) -> (NamespacedName, Option<Duration>) {
    let (namespace, name) = &which;
    let Some(node) = context.caches.nodes.get(&ObjectRef::new(name).within(namespace)) else {
        context.metrics.forget(namespace, name);
        context.backoff.forget(namespace, name);
        context.status_debounce.said(&which);
        tracing::debug!(namespace, name, "node is gone");
        return (which, None);
    };
    let running = reconcile(node, Arc::clone(&context)).boxed();
    let passed = if patient { LOW_PRIORITY.scope((), running).await } else { running.await };
    let again = match passed {
        Ok(again) => {
            context.backoff.forget(namespace, name);
            again
        }
        Err(failure) => Some(retry(&context, &which, &failure)),
    };
    (which, again)
}

/// Turns watch events into nodes to reconcile. Logs everything that the watches report.
async fn pump(
    context: Arc<ScopeContext>,
    mut events: Events,
    fence: Fence,
    wake: mpsc::UnboundedSender<ReconcileReason>,
) {
    while let Some(event) = events.next().await {
        match event {
            Ok(Trigger::Undecodable { kind, namespace, name, begins }) => {
                context.metrics.undecodable(&kind, begins);
                match begins {
                    // never log its content
                    true => tracing::warn!(kind, namespace, name, "object does not decode"),
                    false => tracing::info!(kind, namespace, name, "object decodes again, or is gone"),
                }
            }
            // a standby does not reconcile; it resyncs every node when it becomes the leader
            Ok(_) if !fence.holds() => {}
            Ok(woken) => {
                let news = related_nodes::news(&woken);
                for node in related_nodes::nodes(&woken, &context.caches.nodes.state()) {
                    let _ = wake.unbounded_send(match news {
                        Some(news) => ReconcileReason::Changed(node, news),
                        None => ReconcileReason::Resync(node),
                    });
                }
            }
            Err(error) => {
                context.metrics.watch_errors.inc();
                tracing::warn!(%error, "watch error");
            }
        }
    }
}

async fn reconcile(node: Arc<DecodedNode>, context: Arc<ScopeContext>) -> Result<Option<Duration>, Failure> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let started = Instant::now();
    let node_context = Context {
        client: &context.client,
        caches: &context.caches,
        everywhere: &context.everywhere.caches,
        facts: &context.facts,
        rollouts: &context.rollouts,
        status_debounce: &context.status_debounce,
        keys: &context.keys,
        served: context.render_config.operator.is_some().then_some(&context.served),
        chains: context.render_config.operator.is_some().then_some(&context.chains),
        writer: &context.writer,
        render_config: &context.render_config,
    };
    let now = (context.clock)();
    if node.meta().deletion_timestamp.is_some() {
        return end(node_context, &node, now).await;
    }
    let valid = match &node.0 {
        Ok(valid) => Arc::new(valid.clone()),
        Err(undecodable) => return stall(&node, undecodable, &context).await,
    };
    let passed =
        tokio::time::timeout(RECONCILE_TIMEOUT, node::reconcile(node_context, Arc::clone(&valid), now))
            .await
            .map_err(|_| {
                Failure(
                    anyhow::anyhow!("the deadline is {} s", RECONCILE_TIMEOUT.as_secs())
                        .context(Stage::Timeout),
                )
            })
            .and_then(|passed| passed.map_err(Failure));
    context.metrics.passed(started.elapsed(), passed.as_ref().err().map(Failure::stage));
    if let Err(failure) = &passed {
        tell(&context, &valid, failure, now).await;
    }
    let passed = passed?;
    context.metrics.node(&namespace, &name, &passed.status);
    context.metrics.served(&namespace, &name, &passed.served);
    context.metrics.writes.inc_by(passed.writes as u64);
    for condition in status::milestones(valid.status.as_ref(), &passed.status) {
        let kind = if condition.type_ == "Ready" && condition.status == "True" {
            EventType::Normal
        } else {
            EventType::Warning
        };
        publish(&context, &node.object_ref(&()), kind, &condition.reason, &condition.message).await;
    }
    tracing::debug!(namespace, name, writes = passed.writes, "reconciled");
    Ok(Some(next_reconcile(passed.next, (context.clock)())))
}

/// Reports in the node's status that its reconciles fail: a missing permission at once, other failures only if they
/// persist.
async fn tell(context: &ScopeContext, node: &QuorumNode, failure: &Failure, now: Timestamp) {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let forbidden = error_message::is_forbidden(&failure.0);
    if !forbidden && context.backoff.failures(&namespace, &name) < TOLD_AFTER {
        return;
    }
    let status = status::failed(node, forbidden, &error_message::words(&failure.0), now);
    if node.status.as_ref() != Some(&status)
        && let Err(error) = context.writer.status(&node.metadata, &status).await
    {
        tracing::debug!(namespace, name, error = %error_message::words(&error), "status not written");
    }
}

/// Reports in the status that a node does not decode. No further reconcile is due until the node changes.
async fn stall(
    node: &DecodedNode,
    undecodable: &Undecodable,
    context: &ScopeContext,
) -> Result<Option<Duration>, Failure> {
    if let Some(status) = undecodable::status(undecodable, (context.clock)()) {
        let note = undecodable::message(undecodable);
        publish(context, &node.object_ref(&()), EventType::Warning, undecodable::REASON, &note).await;
        let written = context.writer.status(&undecodable.metadata, &status).await;
        written.context(Stage::Report).map_err(Failure)?;
    }
    Ok(None)
}

/// Takes a step in the deletion of a node, whether it decodes or not.
async fn end(context: Context<'_>, node: &DecodedNode, now: Timestamp) -> Result<Option<Duration>, Failure> {
    if !irreplaceable::has_finalizer(node.meta()) {
        return Ok(None);
    }
    let step = tokio::time::timeout(RECONCILE_TIMEOUT, delete::step(context, node, now)).await;
    step.map_err(anyhow::Error::from).flatten().context(Stage::Apply).map_err(Failure)
}

/// Time until the next reconcile: until `due`, at most the resync interval, and zero if `due` came during the
/// reconcile.
fn next_reconcile(due: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
    until.map_or(SWEEP, |until| until.min(SWEEP))
}

/// Publishes an event. A failure to publish does not fail the reconcile.
async fn publish(
    context: &ScopeContext,
    about: &k8s_openapi::api::core::v1::ObjectReference,
    type_: EventType,
    reason: &str,
    note: &str,
) {
    let event = Event {
        type_,
        reason: reason.into(),
        action: "Reconcile".into(),
        // the server allows 1 kB
        note: Some(note.chars().take(1000).collect()),
        secondary: None,
    };
    if let Err(error) = context.writer.publish(&event, about).await {
        tracing::warn!(error = error_message::words(&error), reason, "event not published");
    }
}

/// Counts a failed reconcile, and returns the time until it is retried.
fn retry(context: &ScopeContext, (namespace, name): &NamespacedName, failure: &Failure) -> Duration {
    let delay = context.backoff.next(namespace, name);
    let delay = if error_message::is_forbidden(&failure.0) { delay.min(FORBIDDEN_AT_MOST) } else { delay };
    tracing::warn!(namespace, name, stage = failure.stage(), %failure, ?delay, "reconcile failed");
    delay
}
