//! What the rendered objects must be like, whatever they are rendered from.

mod additions;
mod arguments;
mod certificates;
mod daily;
#[cfg(feature = "guard")]
mod guard;
mod names;
mod organisations;
mod ownership;
mod placement;
mod pods;
mod policies;
mod reach;
mod restricted;
mod rpc;
mod sample;
mod services;
mod tessera;
mod users;
mod workloads;
mod world;

/// The certificates of a node that has all of them.
pub(super) fn member_certificates()
-> std::collections::BTreeMap<super::super::names::Purpose, super::super::secrets::tls::LeafFacts> {
    sample::issued(&sample::alone(&sample::everything())).certificates
}
