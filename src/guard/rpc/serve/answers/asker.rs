//! The caller that calls are sent for.

use std::sync::Arc;

use super::super::connection::Connection;
use super::super::ws::subscriptions::Subscriptions;
use crate::guard::rpc::{
    audit::audit_scope::Ledger,
    decide::{identity::Known, rules::Rules},
    limits::memory_budget::Charge,
};

/// The caller, and what its calls need.
pub struct Asker {
    /// The connection.
    pub connection: Arc<Connection>,
    /// The rules that the calls were authorized by.
    pub rules: Arc<Rules>,
    /// The caller's identity.
    pub known: Known,
    /// Records the calls.
    pub ledger: Ledger,
    /// Subscriptions of the WebSocket; `None` over HTTP.
    pub subscriptions: Option<Subscriptions>,
    /// Charge of the calls' bytes.
    pub charge: Charge,
}
