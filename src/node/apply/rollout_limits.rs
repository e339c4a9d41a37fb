//! Rollout limits across all nodes: few pods are replaced at once, and what this operator renders goes to one canary
//! node first.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource as _, ResourceExt as _, runtime::reflector::ObjectRef};

use crate::model::names::NamespacedName;
use crate::{
    api::node::Role,
    cluster::{
        Caches,
        rollouts::{Decision, Replaced},
        watch::caches::DecodedNode,
    },
    model::{names::Names, network_member::NetworkMember},
    node::{
        Context,
        apply::Applied,
        decide::rollout::{
            self,
            plan::{Health, Limits, Wait},
        },
        desired::components,
        observe,
        observed::Observed,
        validate::Validated,
    },
};

/// Time after which a replacement is reported as stuck.
const STOPPED: Duration = Duration::from_secs(300);

/// Time after which a canary is given up that waits for a part of another node.
const GIVEN_UP: SignedDuration = SignedDuration::from_mins(5);

/// Checks the limits across all nodes before a pod of the node is replaced.
///
/// # Errors
/// What the replacement waits for.
pub(crate) fn may_go(
    context: Context<'_>,
    decision: &mut Decision<'_>,
    node: &Validated,
    now: Timestamp,
) -> Result<(), Wait> {
    let going = decision.on_the_way(|replaced, pod| is_available(context.everywhere, replaced, pod, now));
    may_try(context, decision, node)?;
    if going.len() < context.rollouts.most {
        return Ok(());
    }
    // naming every replacement would make each waiting node rewrite its status each time
    let spoken = |(it, since): &(Replaced, Duration)| {
        (*since >= STOPPED).then(|| format!("{}/{}-{}", it.namespace, it.node, it.component.as_str()))
    };
    let mut stopped: Vec<_> = going.iter().filter_map(spoken).collect();
    stopped.sort();
    Err(Wait::RolloutLimit { most: context.rollouts.most, stopped })
}

/// Canary rule: until one node runs what this operator renders, and is available, only one node is changed, preferably
/// a member.
fn may_try(context: Context<'_>, decision: &mut Decision<'_>, node: &Validated) -> Result<(), Wait> {
    if decision.is_proved() {
        return Ok(());
    }
    let own = which(&node.names);
    let trial = decision.trial(|trial| goes_on(context.everywhere, trial));
    if trial.is_none() && decision.was_tried(&own) && !decision.is_trial_late() {
        return Err(Wait::CanaryFailed);
    }
    let first = match trial {
        None if node.spec.role == Role::Validator && !decision.is_trial_late() => member(context.everywhere),
        trial => trial.filter(|trial| *trial != own),
    };
    first.map_or(Ok(()), |(namespace, name)| Err(Wait::Canary(format!("{namespace}/{name}"))))
}

/// Whether a part has a new pod, instead of the evicted one, that is available. `None` while the evicted pod still
/// serves.
fn is_available(everywhere: &[Caches], replaced: &Replaced, pod: &str, now: Timestamp) -> Option<bool> {
    let Replaced { namespace, node, component, min_ready } = replaced;
    let is_there = |caches: &&Caches| found(caches, &(namespace.clone(), node.clone())).is_some();
    // a deleted node, or a part that a node no longer has, delays no other node
    let Some(caches) = everywhere.iter().find(is_there) else { return Some(true) };
    let names = Names { node: node.clone(), namespace: namespace.clone(), network: String::new() };
    let Some(part) = observe::network::part(caches, &names, *component) else { return Some(true) };
    if part.pod == pod && matches!(part.health, Health::Serves(_)) {
        return None;
    }
    Some(part.trouble(Limits { min_ready: *min_ready, ..Limits::strictest([]) }, now).is_none())
}

/// Records that what this operator renders is proved, if every part of the node runs it and is available. Otherwise
/// returns when that will be, if it is known.
pub(crate) fn prove(
    context: Context<'_>,
    (node, observed): (&Validated, &Observed),
    applied: &Applied,
    now: Timestamp,
) -> Option<Timestamp> {
    if context.rollouts.is_proved() {
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
    context.rollouts.prove();
    None
}

/// Gives up this node as canary if it has waited too long for a part of another node.
pub(crate) fn give_up(decision: &mut Decision<'_>, node: &Validated, waits: &Wait, now: Timestamp) {
    if let Wait::Away(named, absence) = waits
        && named.node != node.names.node
        && absence.since.is_some_and(|since| now.duration_since(since) >= GIVEN_UP)
    {
        let own = which(&node.names);
        let _ = decision.trial(|trial| *trial != own);
    }
}

pub(crate) fn which(names: &Names) -> NamespacedName {
    (names.namespace.clone(), names.node.clone())
}

fn found(caches: &Caches, (namespace, name): &NamespacedName) -> Option<Arc<DecodedNode>> {
    let node = caches.nodes.get(&ObjectRef::new(name).within(namespace))?;
    node.meta().deletion_timestamp.is_none().then_some(node)
}

fn goes_on(everywhere: &[Caches], which: &NamespacedName) -> bool {
    let mut scopes = everywhere.iter().filter_map(|caches| found(caches, which));
    scopes.any(|node| NetworkMember::from(&*node).goes_on())
}

/// The first member, of all nodes, that can be the canary.
fn member(everywhere: &[Caches]) -> Option<NamespacedName> {
    let is_member = |node: &&Arc<DecodedNode>| {
        let seen = NetworkMember::from(&***node);
        seen.role == Some(Role::Member)
            && seen.goes_on()
            && !seen.is_held
            && node.meta().deletion_timestamp.is_none()
    };
    let nodes = everywhere.iter().flat_map(|caches| caches.nodes.state());
    let which = |node: Arc<DecodedNode>| (node.namespace().unwrap_or_default(), node.name_any());
    nodes.filter(|node| is_member(&node)).map(which).min()
}
