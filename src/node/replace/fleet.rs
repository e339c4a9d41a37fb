//! What of the whole fleet a replacement waits for: few pods are on their way at once, and what this operator renders goes to
//! one node first.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    api::node::Role,
    cluster::{
        Caches,
        caches::Guarded,
        rollouts::{Decision, Replaced, Which},
    },
    node::{
        Tools,
        apply::Applied,
        desired::components,
        names::Names,
        observe,
        observed::Observed,
        rollout::{
            self,
            plan::{Health, Limits, Wait},
        },
        sibling::Sibling,
        validate::Validated,
    },
};

/// What is on its way for so long has stopped.
const STOPPED: Duration = Duration::from_secs(300);

/// The node on trial is given up where a part of another node has kept it waiting for so long.
const GIVEN_UP: SignedDuration = SignedDuration::from_mins(5);

/// Decides whether a pod of the node may be replaced as far as others of the fleet are concerned.
///
/// # Errors
/// What it waits for.
pub(super) fn may_go(
    tools: Tools<'_>,
    decision: &mut Decision<'_>,
    node: &Validated,
    now: Timestamp,
) -> Result<(), Wait> {
    let going = decision.on_the_way(|replaced, pod| is_available(tools.everywhere, replaced, pod, now));
    may_try(tools, decision, node)?;
    if going.len() < tools.rollouts.most {
        return Ok(());
    }
    // those that come and go would have every node that waits write its status each time
    let spoken = |(it, since): &(Replaced, Duration)| {
        (*since >= STOPPED).then(|| format!("{}/{}-{}", it.namespace, it.node, it.component.as_str()))
    };
    let mut stopped: Vec<_> = going.iter().filter_map(spoken).collect();
    stopped.sort();
    Err(Wait::Fleet { most: tools.rollouts.most, stopped })
}

/// Until some node runs what this operator renders, and has been available with it, one node alone is changed: a member rather
/// than a validator.
fn may_try(tools: Tools<'_>, decision: &mut Decision<'_>, node: &Validated) -> Result<(), Wait> {
    if decision.is_proved() {
        return Ok(());
    }
    let own = which(&node.names);
    let trial = decision.trial(|trial| goes_on(tools.everywhere, trial));
    if trial.is_none() && decision.was_tried(&own) && !decision.is_trial_late() {
        return Err(Wait::Tried);
    }
    let first = match trial {
        None if node.spec.role == Role::Validator && !decision.is_trial_late() => member(tools.everywhere),
        trial => trial.filter(|trial| *trial != own),
    };
    first.map_or(Ok(()), |(namespace, name)| Err(Wait::Trial(format!("{namespace}/{name}"))))
}

/// Whether a part has another pod than this one that was to end, and that is available. `None`: the pod still serves.
fn is_available(everywhere: &[Caches], replaced: &Replaced, pod: &str, now: Timestamp) -> Option<bool> {
    let Replaced { namespace, node, component, min_ready } = replaced;
    let is_there = |caches: &&Caches| found(caches, &(namespace.clone(), node.clone())).is_some();
    // a node that is gone, and a part that a node no longer has, hold nobody up
    let Some(caches) = everywhere.iter().find(is_there) else { return Some(true) };
    let names = Names { node: node.clone(), namespace: namespace.clone(), network: String::new() };
    let Some(part) = observe::network::part(caches, &names, *component) else { return Some(true) };
    if part.pod == pod && matches!(part.health, Health::Serves(_)) {
        return None;
    }
    Some(part.trouble(Limits { min_ready: *min_ready, ..Limits::strictest([]) }, now).is_none())
}

/// Notes that what this operator renders is proved where every part of the node runs it and is available, or says from when on
/// that is so.
pub(super) fn prove(
    tools: Tools<'_>,
    (node, observed): (&Validated, &Observed),
    applied: &Applied,
    now: Timestamp,
) -> Option<Timestamp> {
    if tools.rollouts.is_proved() {
        return None;
    }
    let min_ready = Limits::strictest([node.spec.rollout]).min_ready;
    let mut available = now;
    for part in components(node) {
        let pod = observed.pods.get(&part).filter(|pod| pod.ready && !pod.terminating)?;
        if !applied.settled.contains(&node.names.workload(part)) || rollout::is_behind(observed, part) {
            return None;
        }
        available =
            available.max(pod.since.and_then(|since| since.checked_add(min_ready).ok()).unwrap_or(now));
    }
    if available > now {
        return Some(available);
    }
    tools.rollouts.prove();
    None
}

/// Lets another node be the first where a part of another one keeps this node from going on.
pub(super) fn give_up(decision: &mut Decision<'_>, node: &Validated, waits: &Wait, now: Timestamp) {
    if let Wait::Away(named, absence) = waits
        && named.node != node.names.node
        && absence.since.is_some_and(|since| now.duration_since(since) >= GIVEN_UP)
    {
        let own = which(&node.names);
        let _ = decision.trial(|trial| *trial != own);
    }
}

pub(super) fn which(names: &Names) -> Which {
    (names.namespace.clone(), names.node.clone())
}

fn found(caches: &Caches, (namespace, name): &Which) -> Option<Arc<Guarded>> {
    let node = caches.nodes.get(&ObjectRef::new(name).within(namespace))?;
    node.meta().deletion_timestamp.is_none().then_some(node)
}

fn goes_on(everywhere: &[Caches], which: &Which) -> bool {
    let mut scopes = everywhere.iter().filter_map(|caches| found(caches, which));
    scopes.any(|node| Sibling::from(&*node).goes_on())
}

/// The first member of the fleet that could be changed first.
fn member(everywhere: &[Caches]) -> Option<Which> {
    let is_member = |node: &&Arc<Guarded>| {
        let seen = Sibling::from(&***node);
        seen.role == Some(Role::Member)
            && seen.goes_on()
            && !seen.is_held
            && node.meta().deletion_timestamp.is_none()
    };
    let nodes = everywhere.iter().flat_map(|caches| caches.nodes.state());
    let which = |node: Arc<Guarded>| (node.namespace().unwrap_or_default(), node.name_any());
    nodes.filter(|node| is_member(&node)).map(which).min()
}
