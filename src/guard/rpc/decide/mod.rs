//! Decisions about a call: who calls, what the body says, and whether the call is authorized. Pure.

pub mod authorize;
pub mod identity;
pub mod json;
pub mod message;
pub mod rejection;
pub mod rules;
pub mod side_effects;
