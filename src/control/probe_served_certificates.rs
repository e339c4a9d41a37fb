//! Probes which certificates ports serve, a few at a time, while this replica leads.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use futures::{StreamExt as _, channel::mpsc::UnboundedSender, stream};
use kube::runtime::reflector::ObjectRef;

use super::{ReconcileReason, ScopeContext};
use crate::cluster::tls_probe::served_certificates;

/// Interval between probes of all ports. A random part of up to a tenth is added.
const EVERY: Duration = Duration::from_secs(300);

/// Number of concurrent probes.
const AT_ONCE: usize = 8;

/// Runs forever. Does nothing if no network policy admits the operator.
pub(super) async fn look(context: &ScopeContext, wake: &UnboundedSender<ReconcileReason>) {
    if context.render_config.operator.is_none() {
        return std::future::pending().await;
    }
    let jitter = RandomState::new();
    for round in 0_u64.. {
        let ports = served_certificates::ports(&context.caches);
        context.served.keep(&ports);
        let mut looks = stream::iter(ports)
            .map(|port| async { (port.clone(), (context.dial)(port).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((port, presented)) = looks.next().await {
            let node = ObjectRef::new(&port.node).within(&port.namespace);
            if context.served.saw(port, presented) {
                let _ = wake.unbounded_send(ReconcileReason::Resync(node));
            }
        }
        tokio::time::sleep(EVERY + EVERY.mul_f64((jitter.hash_one(round) % 1000) as f64 / 10_000.0)).await;
    }
}
