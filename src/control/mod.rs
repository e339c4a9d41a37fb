//! What keeps the passes going: events in, one pass per node at a time, back-off where one fails.

mod ask;
mod backoff;
mod chain;
mod everywhere;
mod leader;
mod lease;
mod look;
mod related;
mod replica;
mod scopes;
#[cfg(test)]
mod tests;
mod trouble;
mod turns;

use std::{
    fmt,
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

use crate::{
    api::QuorumNode,
    cluster::{
        Caches, Chains, Facts, Fence, Keys, Rollouts, Served, Unsaid, Writer,
        caches::{Events, Guarded, Scope, Woken},
        figures::Ask,
        guard::Unreadable,
        keys::fetch::Fetch,
        pressure::PATIENT,
        served::Dial,
    },
    node::{self, Stage, Tools, ending, report, teardown, unreadable},
    serve::{Health, Metrics},
    settings::Surroundings,
};
use backoff::Backoff;
use everywhere::Everywhere;
pub use replica::run;
use turns::{News, SETTLES, Turns, Which};

/// A pass that takes longer is given up and tried again.
const PASS_LIMIT: Duration = Duration::from_secs(90);

/// How often a pass is made without any event: the net under everything that could be missed.
const SWEEP: Duration = Duration::from_secs(600);

/// After so many failures in a row, some fifteen seconds, the node's status says so.
const TOLD_AFTER: u32 = 4;

/// A permission that is back must be noticed soon.
const FORBIDDEN_AT_MOST: Duration = Duration::from_secs(60);

/// A pass that failed.
#[derive(Debug)]
struct Failure(anyhow::Error);

impl Failure {
    fn stage(&self) -> &'static str {
        match self.0.downcast_ref::<Stage>() {
            Some(Stage::Observe) => "observe",
            Some(Stage::Issue) => "issue",
            Some(Stage::Apply) => "apply",
            Some(Stage::Report) => "report",
            None => "timeout",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&trouble::words(&self.0))
    }
}

/// What every pass of one scope shares.
struct Context {
    client: Client,
    scope: Scope,
    caches: Caches,
    everywhere: Arc<Everywhere>,
    facts: Facts,
    rollouts: Arc<Rollouts>,
    unsaid: Unsaid,
    writer: Writer,
    surroundings: Surroundings,
    keys: Keys,
    fetch: Fetch,
    served: Served,
    dial: Dial,
    chains: Chains,
    ask: Ask,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    backoff: Backoff,
    concurrency: u16,
    clock: Clock,
}

/// What time it is.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Caches stay warm whether leading or not; passes are made while leading.
async fn work(
    context: Arc<Context>,
    events: Events,
    mut fence: Fence,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let (wake, mut woken) = mpsc::unbounded();
    let pump = pump(Arc::clone(&context), events, fence.clone(), wake.clone());
    let (fill, filled) = watch::channel(false);
    let passes = async {
        tokio::select! {
            () = context.everywhere.filled(&context.caches) => {}
            () = stop.clone() => return,
        }
        fill.send_replace(true);
        tokio::select! {
            held = fence.held() => if !held { return },
            () = stop.clone() => return,
        }
        // every node is looked at, whatever has happened before
        while woken.try_recv().is_ok() {}
        for node in related::nodes(&Woken::All, &context.caches.nodes.state()) {
            let _ = wake.unbounded_send(Wake::Look(node));
        }
        tokio::select! {
            () = pass_by_pass(&context, woken, stop.clone()) => {}
            () = look::look(&context, &wake) => {}
            () = chain::watch(&context, &wake) => {}
            () = ask::ask(&context, &wake) => {}
        }
    };
    tokio::select! {
        () = pump => tracing::error!("a watch ended"),
        () = passes => {}
        () = scopes::tell(&context, filled) => {}
    }
}

/// Passes over whoever is woken or due, until told to stop; those that have begun end first.
async fn pass_by_pass(
    context: &Arc<Context>,
    mut woken: mpsc::UnboundedReceiver<Wake>,
    stop: impl Future<Output = ()>,
) {
    let mut turns = Turns::new(context.concurrency);
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
                    Some(Wake::News(node, news)) => turns.wake(which(node), now, news),
                    Some(Wake::Look(node)) => turns.look_at(which(node), now + SETTLES),
                    None => break,
                }
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = &mut stop => break,
        }
    }
    while running.next().await.is_some() {}
}

/// Why a node is to have a pass.
enum Wake {
    /// Something has happened to it.
    News(ObjectRef<Guarded>, News),
    /// Something may have.
    Look(ObjectRef<Guarded>),
}

fn which(node: ObjectRef<Guarded>) -> Which {
    (node.namespace.unwrap_or_default(), node.name)
}

/// How often a node has failed in a row, as far as this replica, or the node's status, knows.
fn failures(context: &Context, (namespace, name): &Which) -> u32 {
    let counted = context.backoff.failures(namespace, name);
    let node = || context.caches.nodes.get(&ObjectRef::new(name).within(namespace));
    if counted > 0 {
        counted
    } else {
        u32::from(node().is_some_and(|node| node.0.as_ref().is_ok_and(report::is_told_to_fail)))
    }
}

/// A pass over a node, and after how long another one is due.
async fn turn(context: Arc<Context>, which: Which, patient: bool) -> (Which, Option<Duration>) {
    let (namespace, name) = &which;
    let Some(node) = context.caches.nodes.get(&ObjectRef::new(name).within(namespace)) else {
        context.metrics.forget(namespace, name);
        context.backoff.forget(namespace, name);
        context.unsaid.said(&which);
        tracing::debug!(namespace, name, "node is gone");
        return (which, None);
    };
    let pass = reconcile(node, Arc::clone(&context)).boxed();
    let passed = if patient { PATIENT.scope((), pass).await } else { pass.await };
    let again = match passed {
        Ok(again) => {
            context.backoff.forget(namespace, name);
            again
        }
        Err(failure) => Some(retry(&context, &which, &failure)),
    };
    (which, again)
}

/// Turns events into nodes to look at. Everything the watches report is logged.
async fn pump(context: Arc<Context>, mut events: Events, fence: Fence, wake: mpsc::UnboundedSender<Wake>) {
    while let Some(event) = events.next().await {
        match event {
            Ok(Woken::Unreadable { kind, namespace, name, begins }) => {
                context.metrics.unreadable(&kind, begins);
                match begins {
                    // never what is in it
                    true => tracing::warn!(kind, namespace, name, "object cannot be read"),
                    false => tracing::info!(kind, namespace, name, "object can be read again, or is gone"),
                }
            }
            // a standby makes no pass, and looks at every node when its turn comes
            Ok(_) if !fence.holds() => {}
            Ok(woken) => {
                let news = related::news(&woken);
                for node in related::nodes(&woken, &context.caches.nodes.state()) {
                    let _ = wake.unbounded_send(match news {
                        Some(news) => Wake::News(node, news),
                        None => Wake::Look(node),
                    });
                }
            }
            Err(error) => {
                context.metrics.watch_errors.inc();
                tracing::warn!(%error, "watch trouble");
            }
        }
    }
}

async fn reconcile(node: Arc<Guarded>, context: Arc<Context>) -> Result<Option<Duration>, Failure> {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let started = Instant::now();
    let tools = Tools {
        client: &context.client,
        caches: &context.caches,
        everywhere: &context.everywhere.caches,
        facts: &context.facts,
        rollouts: &context.rollouts,
        unsaid: &context.unsaid,
        keys: &context.keys,
        served: context.surroundings.operator.is_some().then_some(&context.served),
        chains: context.surroundings.operator.is_some().then_some(&context.chains),
        writer: &context.writer,
        surroundings: &context.surroundings,
    };
    let now = (context.clock)();
    if node.meta().deletion_timestamp.is_some() {
        return end(tools, &node, now).await;
    }
    let valid = match &node.0 {
        Ok(valid) => Arc::new(valid.clone()),
        Err(unreadable) => return stall(&node, unreadable, &context).await,
    };
    let passed = tokio::time::timeout(PASS_LIMIT, node::pass(tools, Arc::clone(&valid), now))
        .await
        .map_err(|_| Failure(anyhow::anyhow!("no end after {} s", PASS_LIMIT.as_secs())))
        .and_then(|passed| passed.map_err(Failure));
    context.metrics.passed(started.elapsed(), passed.as_ref().err().map(Failure::stage));
    if let Err(failure) = &passed {
        tell(&context, &valid, failure, now).await;
    }
    let passed = passed?;
    context.metrics.node(&namespace, &name, &passed.status);
    context.metrics.served(&namespace, &name, &passed.served);
    context.metrics.writes.inc_by(passed.writes as u64);
    for condition in report::milestones(valid.status.as_ref(), &passed.status) {
        let kind = if condition.type_ == "Ready" && condition.status == "True" {
            EventType::Normal
        } else {
            EventType::Warning
        };
        publish(&context, &node.object_ref(&()), kind, &condition.reason, &condition.message).await;
    }
    tracing::debug!(namespace, name, writes = passed.writes, "pass");
    Ok(Some(next_pass(passed.next, (context.clock)())))
}

/// Says in the node's status that its passes fail; a failure that has passed already is no news.
async fn tell(context: &Context, node: &QuorumNode, failure: &Failure, now: Timestamp) {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let forbidden = trouble::is_forbidden(&failure.0);
    if !forbidden && context.backoff.failures(&namespace, &name) < TOLD_AFTER {
        return;
    }
    let status = report::failed(node, forbidden, &trouble::words(&failure.0), now);
    if node.status.as_ref() != Some(&status)
        && let Err(error) = context.writer.status(&node.metadata, &status).await
    {
        tracing::debug!(namespace, name, error = %trouble::words(&error), "status not written");
    }
}

/// A node that cannot be read says so, until someone changes it.
async fn stall(
    node: &Guarded,
    unreadable: &Unreadable,
    context: &Context,
) -> Result<Option<Duration>, Failure> {
    if let Some(status) = unreadable::status(unreadable, (context.clock)()) {
        let note = unreadable::message(unreadable);
        publish(context, &node.object_ref(&()), EventType::Warning, unreadable::REASON, &note).await;
        let written = context.writer.status(&unreadable.metadata, &status).await;
        written.context(Stage::Report).map_err(Failure)?;
    }
    Ok(None)
}

/// A step towards the end of a node that is being deleted, whether it can be read or not.
async fn end(tools: Tools<'_>, node: &Guarded, now: Timestamp) -> Result<Option<Duration>, Failure> {
    if !ending::waits(node.meta()) {
        return Ok(None);
    }
    let step = tokio::time::timeout(PASS_LIMIT, teardown::step(tools, node, now)).await;
    step.map_err(anyhow::Error::from).flatten().context(Stage::Apply).map_err(Failure)
}

/// When something is due, to the moment, or at the next sweep; at once where that moment came during the pass.
fn next_pass(due: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = due.map(|due| Duration::try_from(due.duration_since(now)).unwrap_or_default());
    until.map_or(SWEEP, |until| until.min(SWEEP))
}

/// An event that cannot be published fails no pass.
async fn publish(
    context: &Context,
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
        tracing::warn!(error = trouble::words(&error), reason, "event not published");
    }
}

/// After how long a pass that failed is tried again.
fn retry(context: &Context, (namespace, name): &Which, failure: &Failure) -> Duration {
    let delay = context.backoff.next(namespace, name);
    let delay = if trouble::is_forbidden(&failure.0) { delay.min(FORBIDDEN_AT_MOST) } else { delay };
    tracing::warn!(namespace, name, stage = failure.stage(), %failure, ?delay, "pass failed");
    delay
}
