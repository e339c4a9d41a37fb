//! Inputs that unit tests and the suite on a real cluster share: what a rule refuses, it must refuse in both.

pub mod bounds;
pub mod kstatus;
pub mod refusals;
#[cfg(test)]
pub mod server;
pub mod settled;
pub mod specs;
