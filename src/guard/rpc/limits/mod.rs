//! Limits of a caller's rate, concurrent calls, bodies, deadlines, filters and memory.

pub mod caller_state;
pub mod concurrency;
pub mod deadlines;
pub mod fairness;
pub mod filters;
pub mod memory_budget;
pub mod request_body;
