//! Looks which certificates are served, a few ports at a time, while this replica leads.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream};
use kube::runtime::reflector::ObjectRef;

use super::{Context, Wake};
use crate::cluster::served;

/// From one look at all to the next, and up to a tenth longer.
const EVERY: Duration = Duration::from_secs(300);

/// How many ports are looked at at the same time.
const AT_ONCE: usize = 8;

/// Never ends. Where no policy lets the operator in it does nothing.
pub(super) async fn look(context: &Context, wake: &UnboundedSender<Wake>) {
    if context.surroundings.operator.is_none() {
        return std::future::pending().await;
    }
    let jitter = RandomState::new();
    for round in 0_u64.. {
        let ports = served::ports(&context.caches);
        context.served.keep(&ports);
        let mut looks = stream::iter(ports)
            .map(|port| async { (port.clone(), (context.dial)(port).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((port, presented)) = looks.next().await {
            let node = ObjectRef::new(&port.node).within(&port.namespace);
            if context.served.saw(port, presented) {
                let _ = wake.unbounded_send(Wake::Look(node));
            }
        }
        tokio::time::sleep(EVERY + EVERY.mul_f64((jitter.hash_one(round) % 1000) as f64 / 10_000.0)).await;
    }
}
