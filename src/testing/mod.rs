//! Test inputs that the unit tests and the suite on a real cluster share, and a fake API server for unit tests.

pub mod bounds;
pub mod kstatus;
pub mod refusals;
#[cfg(test)]
pub mod server;
pub mod settled;
pub mod specs;
