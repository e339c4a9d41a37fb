//! Shared helpers: kubectl, a network of two nodes, pods that open connections, recorded events.

pub mod kubectl;
pub mod network;
pub mod pod_record;
pub mod pods;
pub mod private_payloads;
