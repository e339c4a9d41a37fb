//! The cluster, as the operator reads and writes it.

pub mod caches;
pub mod connect;
pub mod contests;
pub mod dial;
pub mod drift;
pub mod facts;
pub mod fence;
pub mod fields;
pub mod forbidden;
pub mod guard;
pub mod heard;
pub mod judged;
pub mod keys;
mod listed;
mod metadata;
pub mod optional;
pub mod pressure;
pub mod served;
mod trim;
pub mod unsaid;
mod volumes;
mod wakes;
mod watch;
pub mod write;

pub use caches::Caches;
pub use facts::Facts;
pub use fence::Fence;
pub use forbidden::Forbidden;
pub use heard::Heard;
pub use keys::Keys;
pub use optional::{Known, Optional};
pub use pressure::Pressure;
pub use served::Served;
pub use unsaid::Unsaid;
pub use volumes::Resized;
pub use write::Writer;
