//! JSON-RPC for named callers: who asks, what is asked, and what of it is passed on.

pub mod identity;
pub mod json;
pub mod message;
