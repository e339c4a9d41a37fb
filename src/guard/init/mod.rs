//! `quorum-guard init`: prepares a pod before its main process starts, without a shell.

pub mod client;
pub mod copy;
pub mod database;
mod database_directory;
pub mod external_database;
pub mod links;
pub mod nodekey;
pub mod single_pod;
pub mod temporary_key;
pub mod termination_message;
pub mod wait;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

/// Makes renamed and new entries of a directory survive a power failure.
fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("sync {}", dir.display()))
}

/// Returns the directory of this path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}
