//! Replaces outdated pods of a node, one at a time, when the rollout rules of its network allow it.

use anyhow::Context as _;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Applier;
use crate::node::apply::rollout_limits;
use crate::node::decide::chain_turn;
use crate::{
    cluster::{
        Evicted,
        rollouts::{Decision, Replaced},
    },
    model::{fault, names::Component},
    node::{
        Context, Stage,
        decide::rollout::{
            self,
            plan::{self, Health, Limits, Named, Part, Wait},
        },
        observe,
        observed::Observed,
        validate::Validated,
    },
};

/// Evicts an outdated pod of the node, or records what its replacement waits for.
///
/// # Errors
/// Fails if the server rejects a request for a reason other than a disruption budget.
pub(crate) async fn replace(
    context: Context<'_>,
    applier: &mut Applier<'_>,
    (node, observed): (&Validated, &Observed),
    now: Timestamp,
) -> anyhow::Result<()> {
    let due = rollout::outdated(observed, node, &applier.applied);
    if due.is_empty() {
        applier.applied.proves = rollout_limits::prove(context, (node, observed), &applier.applied, now);
        return Ok(());
    }
    match decide(context, (node, observed), &due, now) {
        Ok(None) => {}
        Ok(Some((part, pod))) => {
            let ended = context.writer.evict(&node.names.namespace, &node.names.pod(part), &pod).await;
            match &ended {
                Ok(Evicted::Done) => {}
                Ok(Evicted::Refused | Evicted::MultipleDisruptionBudgets) => context.rollouts.revoke(&pod),
                // a conflict means another pod of this name, or a concurrent write
                Ok(Evicted::Gone) | Err(_) => context.rollouts.doubt(&pod),
            }
            match ended.context(Stage::Apply)? {
                Evicted::Done => applier.applied.writes += 1,
                Evicted::MultipleDisruptionBudgets => {
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

/// The part to replace now, and the uid of its pod; or what the first outdated part waits for.
fn decide(
    context: Context<'_>,
    (node, observed): (&Validated, &Observed),
    due: &[Component],
    now: Timestamp,
) -> Result<Option<(Component, String)>, Wait> {
    let mut decision = context.rollouts.decide(Instant::now());
    // read the caches again: they may have changed since this reconcile began
    let mut network = observe::network::parts(context.caches, (node, observed), due);
    for part in &mut network {
        if decision.is_granted(&part.pod) && matches!(part.health, Health::Serves(_)) {
            let why = "its pod is being replaced".to_owned();
            part.health = Health::Away(plan::Absence { why, since: None });
            part.is_waiting &= part.named.node == node.names.node && decision.is_doubted(&part.pod);
        }
        part.is_waiting &= part.named.node == node.names.node || !decision.is_late(&part.pod);
    }
    let rollouts = observed.network_members.iter().map(|network_member| network_member.rollout);
    let limits = Limits {
        validators: rollout::tolerated(node),
        ..Limits::strictest(rollouts.chain([node.spec.rollout]))
    };
    let mut waits = None;
    for part in network.iter().filter(|part| part.is_waiting && part.named.node == node.names.node) {
        let is_missed = !part.is_idle(&network, now);
        let may_go = may_go(part, (node, observed), &network, (limits, now));
        let chain = match is_missed {
            true => chain_turn::holds_back(observed, node, part.named.component).map_or(Ok(()), Err),
            false => Ok(()),
        };
        let fleet = |decision: &mut Decision<'_>| match is_missed {
            true => rollout_limits::may_go(context, decision, node, now),
            false => Ok(()),
        };
        match may_go.and(chain).and_then(|()| fleet(&mut decision)) {
            Ok(()) => {
                let (component, pod) = (part.named.component, part.pod.clone());
                let (namespace, name) = rollout_limits::which(&node.names);
                let replaced = Replaced { namespace, node: name, component, min_ready: limits.min_ready };
                decision.try_on(rollout_limits::which(&node.names));
                decision.grant(&pod, is_missed.then_some(replaced));
                return Ok(Some((component, pod)));
            }
            Err(wait) => waits = waits.or(Some(wait)),
        }
    }
    if let Some(Wait::Queued(first)) = &waits
        && let Some(first) = network.iter().find(|part| part.named == *first)
    {
        decision.waits_for(&first.pod);
    }
    if let Some(waits) = &waits {
        rollout_limits::give_up(&mut decision, node, waits, now);
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
