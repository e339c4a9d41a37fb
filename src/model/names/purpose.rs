//! Purposes of certificates, and the Secrets and ports that belong to each.

use super::{CLIENT_TO_MANAGER, Component, MANAGER_TO_MANAGER, METRICS, Names, POSTGRES, RPC};
use crate::api::tls::{Issuer, Tls};

/// The purpose of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Server certificate for metrics scrapers.
    Metrics,
    /// Server certificate for callers of JSON-RPC.
    Rpc,
    /// Client certificate of the client for its transaction manager.
    Client,
    /// Server certificate of the transaction manager for its client.
    Manager,
    /// Server and client certificate of the transaction manager for other managers.
    ManagerPeers,
    /// Client certificate of the probe sidecar for its transaction manager.
    Probe,
    /// Client certificate of the transaction manager for its managed database.
    DatabaseClient,
    /// Server certificate of the managed database.
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

    /// The value in names, status and metrics.
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

    /// The component and port that serve the certificate; `None` for client certificates.
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

/// The Secret that holds a certificate: the operator's, cert-manager's, or the one that the spec names.
#[must_use]
pub fn secret_name(names: &Names, tls: &Tls, purpose: Purpose) -> String {
    let is_outward = matches!(purpose, Purpose::Metrics | Purpose::Rpc | Purpose::ManagerPeers);
    if tls.issuer == Issuer::CertManager && is_outward {
        return names.requested(purpose);
    }
    let named = tls.provided.as_ref().and_then(|provided| match purpose {
        Purpose::Metrics => Some(&provided.metrics),
        Purpose::Rpc => provided.rpc.as_ref(),
        Purpose::ManagerPeers => provided.tm_peers.as_ref(),
        _ => None,
    });
    named.map_or_else(|| names.certificate(purpose), |secret| secret.name.clone())
}
