//! What keeps the passes going: events in, one pass per node at a time, back-off where one fails.

mod backoff;
mod everywhere;
mod leader;
mod lease;
mod related;
mod replica;
#[cfg(test)]
mod tests;
mod trouble;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _, channel::mpsc};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, Resource as _, ResourceExt as _,
    runtime::{
        Config as ControllerConfig,
        controller::{self, Action},
        events::{Event, EventType},
        reflector::ObjectRef,
    },
};

use crate::{
    api::QuorumNode,
    cluster::{
        Caches, Facts, Fence, Writer,
        caches::{DEBOUNCE, Events, Guarded, Woken},
        guard::Unreadable,
    },
    node::{self, Stage, Tools, ending, report, teardown, unreadable},
    serve::{Health, Metrics},
    settings::Surroundings,
};
use backoff::Backoff;
use everywhere::Everywhere;
pub use replica::run;

/// A pass that takes longer is given up and tried again.
const PASS_LIMIT: Duration = Duration::from_secs(90);

/// How often a pass is made without any event: the net under everything that could be missed.
const SWEEP: Duration = Duration::from_secs(600);

/// After so many failures in a row, some fifteen seconds, the node's status says so.
const TOLD_AFTER: u32 = 4;

/// A permission that is back must be noticed soon.
const FORBIDDEN_AT_MOST: Duration = Duration::from_secs(60);

/// The runtime asks for `std::error::Error`, which `anyhow::Error` is not.
#[derive(Debug)]
pub struct Failure(anyhow::Error);

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
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Failure {}

/// What every pass of one scope shares.
struct Context {
    client: Client,
    caches: Caches,
    everywhere: Arc<Everywhere>,
    facts: Facts,
    writer: Writer,
    surroundings: Surroundings,
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
    let (wake, woken) = mpsc::unbounded();
    let pump = pump(Arc::clone(&context), events, fence.clone(), wake.clone());
    let passes = async {
        context.health.missing("the watch caches are still filling");
        tokio::select! {
            () = context.everywhere.filled(&context.caches) => {}
            () = stop.clone() => return,
        }
        context.health.ready();
        tokio::select! {
            held = fence.held() => if !held { return },
            () = stop.clone() => return,
        }
        wake_all(&context, &wake);
        let config = ControllerConfig::default().concurrency(context.concurrency).debounce(DEBOUNCE);
        let queue = woken.map(Ok::<_, std::convert::Infallible>).take_until(stop.clone());
        controller::applier(
            |node, context| reconcile(node, context).boxed(),
            error_policy,
            Arc::clone(&context),
            context.caches.nodes.clone(),
            queue,
            config,
        )
        .for_each(|outcome| {
            if let Err(controller::Error::ObjectNotFound(node)) = outcome {
                let namespace = node.namespace.unwrap_or_default();
                context.metrics.forget(&namespace, &node.name);
                context.backoff.forget(&namespace, &node.name);
                tracing::debug!(namespace, name = node.name, "node is gone");
            }
            futures::future::ready(())
        })
        .await;
    };
    tokio::select! {
        () = pump => tracing::error!("a watch ended"),
        () = passes => {}
    }
}

fn wake_all(context: &Context, wake: &mpsc::UnboundedSender<ObjectRef<Guarded>>) {
    for node in context.caches.nodes.state() {
        let _ = wake.unbounded_send(ObjectRef::from_obj(&*node));
    }
}

/// Turns events into nodes to look at. Everything the watches report is logged.
async fn pump(
    context: Arc<Context>,
    mut events: Events,
    fence: Fence,
    wake: mpsc::UnboundedSender<ObjectRef<Guarded>>,
) {
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
            Ok(Woken::Node(node)) => drop(wake.unbounded_send(node)),
            Ok(woken) => {
                for node in related::nodes(&woken, &context.caches.nodes.state()) {
                    let _ = wake.unbounded_send(node);
                }
            }
            Err(error) => {
                context.metrics.watch_errors.inc();
                tracing::warn!(%error, "watch trouble");
                if context.caches.forbidden.hear(&error, tokio::time::Instant::now()) && fence.holds() {
                    wake_all(&context, &wake);
                }
            }
        }
    }
}

async fn reconcile(node: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Failure> {
    let valid = match &node.0 {
        Ok(valid) => Arc::new(valid.clone()),
        Err(unreadable) => return stall(&node, unreadable, &context).await,
    };
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let started = std::time::Instant::now();
    let tools = Tools {
        client: &context.client,
        caches: &context.caches,
        everywhere: &context.everywhere.caches,
        facts: &context.facts,
        writer: &context.writer,
        surroundings: &context.surroundings,
    };
    let now = (context.clock)();
    if valid.metadata.deletion_timestamp.is_some() {
        return end(tools, &valid, now).await;
    }
    let passed = tokio::time::timeout(PASS_LIMIT, node::pass(tools, Arc::clone(&valid), now))
        .await
        .map_err(|_| Failure(anyhow::anyhow!("no end after {} s", PASS_LIMIT.as_secs())))
        .and_then(|passed| passed.map_err(Failure));
    context.metrics.passed(started.elapsed(), passed.as_ref().err().map(Failure::stage));
    if let Err(failure) = &passed {
        tell(&context, &valid, failure, now).await;
    }
    let passed = passed?;
    context.backoff.forget(&namespace, &name);
    context.metrics.node(&namespace, &name, &passed.status);
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
    Ok(Action::requeue(next_pass(passed.next, now)))
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
async fn stall(node: &Guarded, unreadable: &Unreadable, context: &Context) -> Result<Action, Failure> {
    if let Some(status) = unreadable::status(unreadable, (context.clock)()) {
        let note = unreadable::message(unreadable);
        publish(context, &node.object_ref(&()), EventType::Warning, unreadable::REASON, &note).await;
        let written = context.writer.status(&unreadable.metadata, &status).await;
        written.context(Stage::Report).map_err(Failure)?;
    }
    Ok(Action::await_change())
}

/// A step towards the end of a node that is being deleted.
async fn end(tools: Tools<'_>, node: &Arc<QuorumNode>, now: Timestamp) -> Result<Action, Failure> {
    if !ending::waits(&node.metadata) {
        return Ok(Action::await_change());
    }
    let step = tokio::time::timeout(PASS_LIMIT, teardown::step(tools, node, now)).await;
    let waits = step.map_err(anyhow::Error::from).flatten().context(Stage::Apply).map_err(Failure)?;
    Ok(match waits {
        Some(()) => Action::requeue(teardown::LOOK_AGAIN),
        None => Action::await_change(),
    })
}

/// At the next renewal, or at the next sweep. A renewal whose time has passed was decided about already.
fn next_pass(renewal: Option<Timestamp>, now: Timestamp) -> Duration {
    let until = renewal.map(|at| at.duration_since(now).as_secs()).filter(|seconds| *seconds > 0);
    until.map_or(SWEEP, |seconds| Duration::from_secs(seconds.unsigned_abs()).min(SWEEP))
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
        tracing::warn!(error = format!("{error:#}"), reason, "event not published");
    }
}

fn error_policy(node: Arc<Guarded>, failure: &Failure, context: Arc<Context>) -> Action {
    let (namespace, name) = (node.namespace().unwrap_or_default(), node.name_any());
    let delay = context.backoff.next(&namespace, &name);
    let delay = if trouble::is_forbidden(&failure.0) { delay.min(FORBIDDEN_AT_MOST) } else { delay };
    tracing::warn!(namespace, name, stage = failure.stage(), %failure, ?delay, "pass failed");
    Action::requeue(delay)
}
