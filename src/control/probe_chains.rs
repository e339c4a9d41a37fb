//! Probes clients for the state of their chains and for missing peers, a few at a time, while this replica leads. A
//! node is resynced if the assessment of its network or of its peers has changed, never because of a block.

use std::collections::BTreeSet;

use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream};
use kube::runtime::reflector::ObjectRef;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{ReconcileReason, ScopeContext};
use crate::{
    cluster::chain_heads::{self, Place},
    model::chain::{Now, SOON},
};

/// Number of concurrent probes.
const AT_ONCE: usize = 16;

/// Longest time that reconciles wait until every client was probed once.
const FIRST_ROUND: std::time::Duration = std::time::Duration::from_secs(60);

/// Runs forever. Does nothing if no network policy admits the operator.
pub(super) async fn watch(context: &ScopeContext, wake: &UnboundedSender<ReconcileReason>) {
    if context.render_config.operator.is_none() {
        return std::future::pending().await;
    }
    let began = Instant::now();
    let now = || Now { steady: began.elapsed(), wall: (context.clock)() };
    let mut ticks = interval(SOON);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = BTreeSet::new();
    loop {
        ticks.tick().await;
        let places = chain_heads::places(&context.caches);
        let due = context.chains.due(&places, now());
        // the expected certificate is known after a reconcile has read the Secret
        let held = |place: Place| Some((chain_heads::held(&context.caches, &context.facts, &place)?, place));
        let known: Vec<_> = due.iter().cloned().filter_map(held).collect();
        let is_whole = known.len() == due.len();
        let mut asked = stream::iter(known)
            .map(|(held, place)| async { (held, place.clone(), (context.ask)(place).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((held, place, answer)) = asked.next().await {
            context.chains.answered(&place, &held, answer, now());
            if began.elapsed() >= FIRST_ROUND {
                context.chains.probed();
            }
        }
        if is_whole || began.elapsed() >= FIRST_ROUND {
            context.chains.probed();
        }
        judge(context, &places, now(), wake);
        let nodes: BTreeSet<_> =
            places.iter().map(|place| (place.namespace.clone(), place.node.clone())).collect();
        for (namespace, node) in shown.difference(&nodes) {
            context.metrics.chain_head(namespace, node, None);
        }
        shown = nodes;
    }
}

fn judge(context: &ScopeContext, places: &[Place], now: Now, wake: &UnboundedSender<ReconcileReason>) {
    let schedules = chain_heads::schedules(&context.caches, &context.facts);
    let networks: BTreeSet<_> =
        places.iter().map(|place| (place.namespace.clone(), place.network.clone())).collect();
    let is_news = |network: &&(String, String)| {
        // without the schedule of its own genesis, an idle chain would count as stalled
        let schedule = schedules.get(*network);
        schedule.is_some_and(|schedule| context.chains.judge(&network.0, &network.1, schedule, now))
    };
    let news: BTreeSet<_> = networks.iter().filter(is_news).collect();
    for place in places {
        context.metrics.chain_head(&place.namespace, &place.node, context.chains.head(place, now));
        let meets = context.chains.meets(place, now);
        if meets || news.contains(&(place.namespace.clone(), place.network.clone())) {
            let node = ObjectRef::new(&place.node).within(&place.namespace);
            let _ = wake.unbounded_send(ReconcileReason::Resync(node));
        }
    }
}
