//! Replaces outdated pods of a node, one at a time, when the rule of its network lets it.

mod fleet;

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Stage, Tools,
    apply::Applier,
    chain, fault,
    names::Component,
    observe,
    observed::Observed,
    rollout::{
        self,
        plan::{self, Health, Limits, Named, Part, Wait},
    },
    validate::Validated,
};
use crate::cluster::{
    Evicted,
    rollouts::{Decision, Replaced},
};

/// Ends a pod of the node that is outdated, or notes what that waits for.
///
/// # Errors
/// Where the server refuses for another reason than a disruption budget.
pub(super) async fn replace(
    tools: Tools<'_>,
    applier: &mut Applier<'_>,
    (node, observed): (&Validated, &Observed),
    now: Timestamp,
) -> anyhow::Result<()> {
    let due = rollout::outdated(observed, node, &applier.applied);
    if due.is_empty() {
        applier.applied.proves = fleet::prove(tools, (node, observed), &applier.applied, now);
        return Ok(());
    }
    match decide(tools, (node, observed), &due, now) {
        Ok(None) => {}
        Ok(Some((part, pod))) => {
            let ended = tools.writer.evict(&node.names.namespace, &node.names.pod(part), &pod).await;
            match &ended {
                Ok(Evicted::Done) => {}
                Ok(Evicted::Refused | Evicted::TwoBudgets) => tools.rollouts.revoke(&pod),
                // a conflict is another pod of this name, or a write that came between
                Ok(Evicted::Gone) | Err(_) => tools.rollouts.doubt(&pod),
            }
            match ended.context(Stage::Apply)? {
                Evicted::Done => applier.applied.writes += 1,
                Evicted::TwoBudgets => {
                    applier.applied.refused.push(fault::two_budgets(&node.names.pod(part)))
                }
                Evicted::Refused => {
                    let named = Named { node: node.names.node.clone(), component: part };
                    applier.applied.rollout = Some(Wait::Budget(named));
                }
                Evicted::Gone => {}
            }
        }
        Err(wait) => applier.applied.rollout = Some(wait),
    }
    Ok(())
}

/// The part to replace now, and its pod; or what the first one waits for.
fn decide(
    tools: Tools<'_>,
    (node, observed): (&Validated, &Observed),
    due: &[Component],
    now: Timestamp,
) -> Result<Option<(Component, String)>, Wait> {
    let mut decision = tools.rollouts.decide(Instant::now());
    // what the caches show now, not what they showed when this pass began
    let mut network = observe::network::parts(tools.caches, (node, observed), due);
    for part in &mut network {
        if decision.is_granted(&part.pod) && matches!(part.health, Health::Serves(_)) {
            let why = "its pod is being replaced".to_owned();
            part.health = Health::Away(plan::Absence { why, since: None });
            part.is_waiting &= part.named.node == node.names.node && decision.is_doubted(&part.pod);
        }
        part.is_waiting &= part.named.node == node.names.node || !decision.is_late(&part.pod);
    }
    let rollouts = observed.siblings.iter().map(|sibling| sibling.rollout);
    let limits = Limits {
        validators: rollout::spared(node),
        ..Limits::strictest(rollouts.chain([node.spec.rollout]))
    };
    let mut waits = None;
    for part in network.iter().filter(|part| part.is_waiting && part.named.node == node.names.node) {
        let is_missed = !part.is_idle(&network, now);
        let may_go = may_go(part, (node, observed), &network, (limits, now));
        let chain = match is_missed {
            true => chain::holds_back(observed, node, part.named.component).map_or(Ok(()), Err),
            false => Ok(()),
        };
        let fleet = |decision: &mut Decision<'_>| match is_missed {
            true => fleet::may_go(tools, decision, node, now),
            false => Ok(()),
        };
        match may_go.and(chain).and_then(|()| fleet(&mut decision)) {
            Ok(()) => {
                let (component, pod) = (part.named.component, part.pod.clone());
                let (namespace, name) = fleet::which(&node.names);
                let replaced = Replaced { namespace, node: name, component, min_ready: limits.min_ready };
                decision.try_on(fleet::which(&node.names));
                decision.grant(&pod, is_missed.then_some(replaced));
                return Ok(Some((component, pod)));
            }
            Err(wait) => waits = waits.or(Some(wait)),
        }
    }
    if let Some(Wait::Turn(first)) = &waits
        && let Some(first) = network.iter().find(|part| part.named == *first)
    {
        decision.waits_for(&first.pod);
    }
    if let Some(waits) = &waits {
        fleet::give_up(&mut decision, node, waits, now);
    }
    waits.map_or(Ok(None), Err)
}

fn may_go(
    part: &Part,
    (node, observed): (&Validated, &Observed),
    network: &[Part],
    (limits, now): (Limits, Timestamp),
) -> Result<(), Wait> {
    if part.is_validator
        && matches!(part.health, Health::Serves(_))
        && let Some(missing) = rollout::missing_validator(observed, node, network)
    {
        return Err(missing);
    }
    plan::may_go(part, network, limits, now)
}
