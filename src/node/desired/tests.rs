//! Tests of properties that all rendered objects must have.

mod additions;
mod arguments;
mod certificates;
#[cfg(feature = "guard")]
mod guard;
mod names;
mod network_policies;
mod organisations;
mod ownership;
mod placement;
mod pod_options;
mod pods;
mod policy_evaluator;
mod restricted;
mod rpc;
mod sample;
mod services;
mod tessera;
mod users;
mod workloads;
mod world;

/// The certificates of a node with all of them.
pub(super) fn member_certificates()
-> std::collections::BTreeMap<crate::model::names::Purpose, crate::model::secrets::tls::LeafFacts> {
    sample::issued(&sample::alone(&sample::everything())).certificates
}
