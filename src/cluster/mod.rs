//! Access to the Kubernetes cluster: watches, reads, writes and network probes.

pub mod chain_heads;
pub mod client;
pub mod drift;
pub mod jwks;
pub mod rollouts;
pub mod secret_facts;
pub mod tls_probe;
pub mod watch;
pub mod write;

pub use chain_heads::ChainHeads;
pub use client::throttle::Throttle;
pub use jwks::IssuerKeys;
pub use rollouts::Rollouts;
pub use secret_facts::SecretFacts;
pub use tls_probe::served_certificates::ServedCertificates;
pub use watch::{
    caches::Caches,
    forbidden::Forbidden,
    optional_kinds::{Known, Optional},
    staleness::Staleness,
};
pub use write::{Evicted, Writer};
pub use write::{
    fence::Fence, pending_writes::PendingWrites, pvc_resize::Resized, status_debounce::StatusDebounce,
};
