//! Kubernetes operator for GoQuorum nodes: keeps their security checklist satisfied and reports it in conditions.
//!
//! Every file is either pure (no clock, environment, client or `await`) or does I/O. A module imports only modules
//! above it in this table. The tests in `conventions` check both.
//!
//! | module | what it is | |
//! | --- | --- | --- |
//! | [`protocol`] | formats that the operator and `quorum-guard` exchange | pure |
//! | [`api`] | `QuorumNode`: what users write and read back | pure |
//! | [`model`] | names, types and rules that watches and the stages of a reconcile share | pure |
//! | [`cluster`] | the API server: client, watches, writes, probes of what is served | i/o |
//! | [`settings`] | flags and environment, read once | i/o |
//! | [`node`] | the reconcile of one node, a directory per stage | pure, but for `observe`, `issue`, `apply` and `delete` |
//! | [`serve`] | the operator's probes and metrics | i/o |
//! | [`control`] | leader election, work queue, requeues | i/o |
//! | [`guard`] | `quorum-guard`: `init`, `metrics`, `probe` and `rpc` | i/o, but for `rpc::decide` |
//!
//! [`listen`] binds listeners for IPv4 and IPv6, [`dns`] resolves names, [`logs`] writes the operator's log, and
//! [`core_dumps`] disables core dumps.

#[cfg(feature = "operator")]
pub mod api;
#[cfg(feature = "operator")]
pub mod cluster;
#[cfg(feature = "operator")]
pub mod control;
#[cfg(test)]
mod conventions;
pub mod core_dumps;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod dns;
#[cfg(feature = "guard")]
pub mod guard;
#[cfg(any(feature = "operator", feature = "guard"))]
pub mod listen;
#[cfg(feature = "operator")]
pub mod logs;
#[cfg(feature = "operator")]
pub mod model;
#[cfg(feature = "operator")]
pub mod node;
pub mod protocol;
#[cfg(feature = "operator")]
pub mod serve;
#[cfg(feature = "operator")]
pub mod settings;
#[cfg(all(feature = "operator", any(test, feature = "e2e")))]
pub mod testing;
