//! The pass over one node: observe, validate, issue, desire, apply, report. It may start from nothing at
//! any time, and what is kept in memory decides at most when something is done, never what.

pub mod absent;
pub mod apply;
mod bring;
pub mod chain;
pub mod database;
pub mod desired;
pub mod ending;
pub mod enode;
pub mod fault;
pub mod foreign;
pub mod genesis;
mod grow;
mod hold;
pub mod identity;
pub mod issue;
mod kept;
pub mod lasting;
pub mod met;
pub mod names;
pub mod observe;
pub mod observed;
pub mod optional;
pub mod placement;
pub mod quoted;
mod replace;
pub mod report;
pub mod rollout;
pub mod rotation;
pub mod secrets;
pub mod sibling;
pub mod teardown;
pub mod trouble;
pub mod unmade;
pub mod unreadable;
pub mod validate;
pub mod volumes;
pub mod voters;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use tokio::time::Instant;

use crate::{
    api::{QuorumNode, QuorumNodeStatus},
    cluster::{Caches, Chains, Facts, Keys, Rollouts, Served, Unsaid, Writer},
    settings::Surroundings,
};
use apply::{Applied, Applier};
use identity::Standing;
use issue::Created;
use observe::Sources;
use observed::Observed;
use rollout::plan::Wait;

/// How often a pod that waits for its turn to be replaced, or to run at all, is looked at.
/// What was replaced is watched meanwhile, and another part of its network may be available before it.
const SOAKS: Duration = Duration::from_secs(60);
const NEXT_TURN: SignedDuration = SignedDuration::from_secs(15);

/// How often a volume that may not grow is tried again.
const NEXT_GROWTH: SignedDuration = SignedDuration::from_mins(1);

/// How often a node is looked at of which something may not be watched, or whose authority another one follows.
const UNSEEN: SignedDuration = SignedDuration::from_mins(1);

/// When a pass is due that an event should bring about.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where a pass is, for errors and their metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading.
    Observe,
    /// Keys and certificates.
    Issue,
    /// Writing children.
    Apply,
    /// Writing status.
    Report,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} failed")
    }
}

/// What a pass works with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// To the API server.
    pub client: &'a kube::Client,
    /// Watched objects.
    pub caches: &'a Caches,
    /// What is watched in all namespaces, this one's included.
    pub everywhere: &'a [Caches],
    /// Known contents of Secrets and ConfigMaps.
    pub facts: &'a Facts,
    /// Keys of those who issue tokens.
    pub keys: &'a Keys,
    /// What was seen to be served; `None` where nobody looks.
    pub served: Option<&'a Served>,
    /// What was seen of chains; `None` where nobody looks.
    pub chains: Option<&'a Chains>,
    /// The way to write.
    pub writer: &'a Writer,
    /// Evictions that were decided about.
    pub rollouts: &'a Rollouts,
    /// What of nodes' statuses waits to be said.
    pub unsaid: &'a Unsaid,
    /// What the cluster around the nodes is like.
    pub surroundings: &'a Surroundings,
}

/// What a pass came to.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The status the node has now.
    pub status: QuorumNodeStatus,
    /// When a pass is due without any event, such as the next certificate's renewal; later than this one.
    pub next: Option<Timestamp>,
    /// Requests that changed something.
    pub writes: usize,
    /// Certificates that were seen to be served, and whether they are those of the Secrets.
    pub served: BTreeMap<names::Purpose, bool>,
}

/// One pass. Time is an argument.
///
/// # Errors
/// Where the cluster cannot be read or written; faults of the spec are no errors, they are in the status.
pub async fn pass(tools: Tools<'_>, node: Arc<QuorumNode>, now: Timestamp) -> anyhow::Result<Passed> {
    let sources = Sources {
        client: tools.client,
        caches: tools.caches,
        everywhere: tools.everywhere,
        facts: tools.facts,
        keys: tools.keys,
        served: tools.served,
        chains: tools.chains,
        domain: &tools.surroundings.domain,
    };
    let mut held = 0;
    if !ending::waits(&node.metadata) {
        tools.writer.hold(&node).await.context(Stage::Apply)?;
        held = 1;
    }
    let mut observed = observe::observe(sources, node, now).await.context(Stage::Observe)?;
    let mut applier = applier(tools, &observed);
    let mut validated = validate::validate(&observed);
    let created = match &validated {
        Ok(node) => issue::create(&mut applier, node, &mut observed, now).await.context(Stage::Issue)?,
        Err(_) => Created::Nothing,
    };
    if created == Created::Known {
        validated = validate::validate(&observed);
    }
    let may_hold = validated.is_ok() && !applier.frozen;
    hold::hold(tools, &mut applier, &observed, may_hold).await.context(Stage::Issue)?;
    match &validated {
        Ok(_) if created == Created::Theirs => {}
        Ok(node) => {
            let done = converge(tools, &mut applier, (node, &mut observed), now).await;
            if done.is_err() && observed.node.status.is_none() {
                // whoever waits by machine would take a node that says nothing for settled
                let status = report::status(&observed, &validated, &applier.applied, now);
                let told = tools.writer.status(&observed.node.metadata, &status).await;
                tracing::debug!(told = told.is_ok(), "first word of a pass that fails");
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
    let applied = applier.applied;
    let status = report::status(&observed, &validated, &applied, now);
    let told = tell(tools, &observed.node, &status, applied.writes > 0).await.context(Stage::Report)?;
    let writes = held + applied.writes + usize::from(told == Told::Now);
    let renewal = match &validated {
        Ok(node) => report::next_renewal(node, &observed, now),
        Err(_) => kept::next(&observed, now),
    };
    let turn = validated.as_ref().is_ok_and(|node| {
        // what others do is no event of this node
        let waits = matches!(node.standing, Standing::Waits(_) | Standing::Held(_));
        waits || rollout::is_pending(&observed, node)
    });
    // until then nothing else may go either
    let turn = turn.then(|| match &applied.rollout {
        Some(Wait::Soaks(_, available)) => (*available).min(now + SOAKS),
        _ => now + NEXT_TURN,
    });
    let after = |wait: Duration| now.checked_add(wait).ok();
    let contest = applied.contested.iter().map(|contest| contest.again).min().and_then(after);
    let rotates = validated.as_ref().is_ok_and(|node| rotation::is_watched(node, &observed, now));
    let unseen = (rotates || !observed.unseen.is_empty()).then(|| now + UNSEEN);
    let growth = (!applied.ungrown.is_empty()).then(|| now + NEXT_GROWTH);
    let changed = applied.changed.then_some(LOOK_AGAIN).and_then(after);
    let alarm = validated.as_ref().ok().and_then(|node| report::next_alarm(node, &observed, now));
    let words = if let Told::Later(words) = told { after(words) } else { None };
    let leaving = absent::next(&observed);
    let meeting = validated.as_ref().ok().and_then(|node| desired::next_meeting(&observed, node, now));
    let missing = unmade::next(&observed, now);
    let pending = placement::next(&observed, now);
    let dues =
        [renewal, turn, unseen, contest, growth, changed, alarm, words, leaving, meeting, missing, pending];
    let next = dues.into_iter().flatten().chain(applied.proves).min();
    Ok(Passed { status, next, writes, served: report::seen_served(&observed) })
}

/// Whether a status was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Now,
    /// It will be, if there is nothing else to say by then.
    Later(Duration),
    Nothing,
}

/// Writes the status if it differs. What differs in words alone waits: for the next pass, which what this one has
/// `written` brings about, or for a few seconds.
async fn tell(
    tools: Tools<'_>,
    node: &QuorumNode,
    status: &QuorumNodeStatus,
    written: bool,
) -> anyhow::Result<Told> {
    let which = (node.namespace().unwrap_or_default(), node.name_any());
    let words = match &node.status {
        Some(before) if before == status => {
            tools.unsaid.said(&which);
            return Ok(Told::Nothing);
        }
        before => before.as_ref().is_some_and(|before| report::are_words(before, status)),
    };
    let wait = if words { tools.unsaid.wait(which.clone(), Instant::now()) } else { None };
    match wait {
        // the echo of a write can be lost
        None if words && written => Ok(Told::Later(LOOK_AGAIN)),
        Some(wait) => Ok(Told::Later(wait.max(LOOK_AGAIN))),
        None => {
            tools.writer.status(&node.metadata, status).await?;
            tools.unsaid.said(&which);
            Ok(Told::Now)
        }
    }
}

fn applier<'a>(tools: Tools<'a>, observed: &Observed) -> Applier<'a> {
    Applier {
        client: tools.client,
        caches: tools.caches,
        facts: tools.facts,
        writer: tools.writer,
        frozen: observed.node.spec.paused,
        waits: false,
        established: report::is_established(&observed.node),
        applied: Applied::default(),
        unwritten: None,
    }
}

/// Writes what differs. What the server answers to it is seen.
async fn converge(
    tools: Tools<'_>,
    applier: &mut Applier<'_>,
    (node, observed): (&validate::Validated, &mut Observed),
    now: Timestamp,
) -> anyhow::Result<()> {
    applier.waits = desired::certificates::is_waited_for(node, observed);
    let issued = issue::issue(applier, node, observed, now).await.context(Stage::Issue)?;
    let Some(issued) = issued else { return Ok(()) };
    applier.strip(node, &issued).await.context(Stage::Apply)?;
    if !applier.frozen {
        hold::own(tools, applier, node).await.context(Stage::Issue)?;
    }
    let client = observed.workloads.get(&names::Component::Client);
    let live = desired::Live {
        client_exists: client.is_some() || volumes::client_runs_alone(observed),
        client_stopped: client.is_some_and(|client| client.stopped),
        client_guarded: observed.pods.get(&names::Component::Client).is_some_and(|pod| pod.guarded),
        permitted: client.and_then(|client| client.permitted.clone()).or_else(|| observed.permitted.clone()),
        managers: observed.managers.clone(),
        joining: desired::Joining::of(observed, now),
        leaving: desired::Leaving { now, waits: rollout::is_validator_away(observed, node) },
        sizes: observed
            .workloads
            .iter()
            .filter_map(|(part, workload)| Some((node.names.workload(*part), workload.size.clone()?)))
            .collect(),
        lost_peer_address: match observed.peer_address {
            Some(_) => None,
            None => observed.node.status.as_ref().and_then(|status| status.peer_address.clone()),
        },
    };
    let desired = desired::desired(node, &issued, tools.surroundings, &live);
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
    // what was seen at the start may be older than what was found to be as it is wanted
    observed.workloads = observe::workloads(tools.caches, &node.names);
    replace::replace(tools, applier, (node, observed), now).await
}
