//! For whom calls are asked.

use std::sync::Arc;

use super::super::budget::Charge;
use super::super::connection::Connection;
use super::super::entry::Ledger;
use super::super::identity::Known;
use super::super::rules::Rules;
use super::super::ws::subscriptions::Subscriptions;

/// Who asks, and by which rules.
pub struct Asker {
    /// Over which connection.
    pub connection: Arc<Connection>,
    /// By which what is asked was judged.
    pub rules: Arc<Rules>,
    /// Who it is.
    pub known: Known,
    /// Where it is put down.
    pub ledger: Ledger,
    /// Of a WebSocket.
    pub subscriptions: Option<Subscriptions>,
    /// For the calls, as long as they are there.
    pub charge: Charge,
}
