//! JSON-RPC for named callers: what is asked, and what of it is passed on.

pub mod json;
pub mod message;
