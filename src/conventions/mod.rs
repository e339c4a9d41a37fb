//! Tests of project conventions: purity of files, direction of imports, licences of dependencies, documented metrics.

mod dependencies;
mod direction;
#[cfg(all(feature = "operator", feature = "guard"))]
mod operations;
mod purity;
