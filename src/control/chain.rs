//! Asks clients what their chains do and which peers they lack, a few at a time, while this replica leads. A node is woken where
//! there is something else to say of its network or of its peers, and never by a block.

use std::collections::BTreeSet;

use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream};
use kube::runtime::reflector::ObjectRef;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Context, Wake};
use crate::{
    cluster::figures::{self, Place},
    node::chain::{Now, SOON},
};

/// How many clients are asked at the same time.
const AT_ONCE: usize = 16;

/// Passes wait for no longer until every client was asked once.
const FIRST_ROUND: std::time::Duration = std::time::Duration::from_secs(60);

/// Never ends. Where no policy lets the operator in it does nothing.
pub(super) async fn watch(context: &Context, wake: &UnboundedSender<Wake>) {
    if context.surroundings.operator.is_none() {
        return std::future::pending().await;
    }
    let began = Instant::now();
    let now = || Now { steady: began.elapsed(), wall: (context.clock)() };
    let mut ticks = interval(SOON);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = BTreeSet::new();
    loop {
        ticks.tick().await;
        let places = figures::places(&context.caches);
        let due = context.chains.due(&places, now());
        // whom to believe is known when a pass has read the certificate
        let held = |place: Place| Some((figures::held(&context.caches, &context.facts, &place)?, place));
        let known: Vec<_> = due.iter().cloned().filter_map(held).collect();
        let is_whole = known.len() == due.len();
        let mut asked = stream::iter(known)
            .map(|(held, place)| async { (held, place.clone(), (context.ask)(place).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((held, place, answer)) = asked.next().await {
            context.chains.answered(&place, &held, answer, now());
            if began.elapsed() >= FIRST_ROUND {
                context.chains.looked();
            }
        }
        if is_whole || began.elapsed() >= FIRST_ROUND {
            context.chains.looked();
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

fn judge(context: &Context, places: &[Place], now: Now, wake: &UnboundedSender<Wake>) {
    let schedules = figures::schedules(&context.caches, &context.facts);
    let networks: BTreeSet<_> =
        places.iter().map(|place| (place.namespace.clone(), place.network.clone())).collect();
    let is_news = |network: &&(String, String)| {
        // by another genesis than its own an idle chain would stand still
        let schedule = schedules.get(*network);
        schedule.is_some_and(|schedule| context.chains.judge(&network.0, &network.1, schedule, now))
    };
    let news: BTreeSet<_> = networks.iter().filter(is_news).collect();
    for place in places {
        context.metrics.chain_head(&place.namespace, &place.node, context.chains.head(place, now));
        let meets = context.chains.meets(place, now);
        if meets || news.contains(&(place.namespace.clone(), place.network.clone())) {
            let node = ObjectRef::new(&place.node).within(&place.namespace);
            let _ = wake.unbounded_send(Wake::Look(node));
        }
    }
}
