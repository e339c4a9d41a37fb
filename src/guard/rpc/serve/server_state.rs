//! State shared by all connections.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::upstream::Upstream;
use crate::guard::rpc::{decide::rules::Rules, limits::memory_budget::Budget, metrics::Metrics};

/// State shared by all connections.
pub struct ServerState {
    /// The current policy.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Counters and the audit log.
    pub counts: Arc<Metrics>,
    /// Budget of bytes in flight.
    pub budget: Arc<Budget>,
    /// The client's HTTP listener.
    pub http: Arc<Upstream>,
    /// Address of the client's WebSocket listener.
    pub ws: std::net::SocketAddr,
    /// Becomes true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    /// Start of the process.
    pub since: Instant,
}

impl ServerState {
    /// Returns the current policy.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }
}
