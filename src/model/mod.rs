//! Names, types and rules shared by the stages of a reconcile and the watches. Pure, except for `secrets::generate`.

pub mod chain;
pub mod decode;
pub mod enode;
pub mod fault;
pub mod genesis;
pub mod identity;
pub mod irreplaceable;
pub mod lookup;
pub mod names;
pub mod network_member;
pub mod optional_kinds;
pub mod peering;
pub mod redact;
pub mod secrets;
pub mod third_party;
