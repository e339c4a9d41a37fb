//! Watches: streams of events, the caches that they fill, and which nodes an event concerns.

pub mod cached_object;
pub mod caches;
pub mod forbidden;
pub mod full_object;
pub mod optional_kinds;
pub mod relist;
pub mod staleness;
pub mod stream;
pub mod triggers;
pub mod trim;
pub mod undecodable;
