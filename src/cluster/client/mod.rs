//! Client for the API server, with throttling while the server rejects requests.

pub mod connect;
pub mod throttle;
