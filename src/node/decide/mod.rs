//! Decisions of a reconcile: placement, rollouts, rotation of CAs, growth of volumes. Pure.

pub mod absent_nodes;
pub mod ca_rotation;
pub mod chain_message;
pub mod chain_turn;
pub mod chain_validators;
pub mod container_failures;
pub mod database;
pub mod identity;
pub mod placement;
pub mod rejected_pods;
pub mod rollout;
pub mod volume_growth;
