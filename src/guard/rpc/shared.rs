//! What all connections have in common.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::budget::Budget;
use super::counts::Counts;
use super::rules::Rules;
use super::upstream::Upstream;

/// What all connections have in common.
pub struct Shared {
    /// The policy that is gone by now.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// What is counted, and where records go.
    pub counts: Arc<Counts>,
    /// Bytes in flight.
    pub budget: Arc<Budget>,
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
