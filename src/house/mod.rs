//! How the house is kept: what pure files may not hold, and what the dependencies may be.

mod dependencies;
#[cfg(all(feature = "operator", feature = "guard"))]
mod operations;
mod purity;
