//! Formats that the operator and `quorum-guard` exchange. Pure.

#[cfg(any(feature = "operator", feature = "guard"))]
pub mod chain_metrics;
pub mod database;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod node_key;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod peer_connections;
pub mod policy;
