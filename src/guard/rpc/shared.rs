//! What all connections have in common.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::watch;

use super::counts::Counts;
use super::intake::Memory;
use super::rules::Rules;
use super::upstream::Upstream;

/// What all connections have in common.
pub struct Shared {
    /// The policy that is gone by now.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// What is counted, and where records go.
    pub counts: Arc<Counts>,
    /// What bodies may hold together.
    pub memory: Memory,
    /// The client's HTTP listener.
    pub http: Arc<Upstream>,
    /// Where the client's WebSocket listener is.
    pub ws: std::net::SocketAddr,
    /// True when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    /// When the process began.
    pub since: Instant,
}

impl Shared {
    /// The policy that is gone by now.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }
}

/// A connection that counts while this is there.
pub struct Place(Arc<Shared>);

impl Place {
    /// One more, if there may be one more.
    #[must_use]
    pub fn take(shared: &Arc<Shared>) -> Option<Self> {
        let most = shared.rules.borrow().policy.limits.connections;
        let connections = &shared.counts.connections;
        let more = |there: u64| (there < most.into()).then(|| there + 1);
        match connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Some(Self(shared.clone())),
            Err(_) => {
                shared.counts.turned_away.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

impl Place {
    /// What all connections have in common.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.counts.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
