//! What a certificate is for.

use super::{CLIENT_TO_MANAGER, Component, MANAGER_TO_MANAGER, METRICS, POSTGRES, RPC};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Served to scrapers.
    Metrics,
    /// Served to callers of JSON-RPC.
    Rpc,
    /// The client towards its transaction manager.
    Client,
    /// The transaction manager towards its client.
    Manager,
    /// The transaction manager towards other managers, both ways.
    ManagerPeers,
    /// The probe beside the transaction manager.
    Probe,
    /// The transaction manager towards its managed database.
    DatabaseClient,
    /// The managed database.
    Database,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Metrics,
        Self::Rpc,
        Self::Client,
        Self::Manager,
        Self::ManagerPeers,
        Self::Probe,
        Self::DatabaseClient,
        Self::Database,
    ];

    /// As it stands in names, status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Rpc => "rpc",
            Self::Client => "client",
            Self::Manager => "tm",
            Self::ManagerPeers => "tm-peers",
            Self::Probe => "tm-probe",
            Self::DatabaseClient => "tm-db-client",
            Self::Database => "tm-db",
        }
    }

    /// The component and the port that show the certificate to whoever connects.
    #[must_use]
    pub fn served(self) -> Option<(Component, i32)> {
        match self {
            Self::Metrics => Some((Component::Client, METRICS)),
            Self::Rpc => Some((Component::Client, RPC)),
            Self::Manager => Some((Component::TransactionManager, CLIENT_TO_MANAGER)),
            Self::ManagerPeers => Some((Component::TransactionManager, MANAGER_TO_MANAGER)),
            Self::Database => Some((Component::Database, POSTGRES)),
            Self::Client | Self::Probe | Self::DatabaseClient => None,
        }
    }
}
