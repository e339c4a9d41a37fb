//! `quorum-guard init`: what must be done in a pod before its main process starts, without a shell.

pub mod client;
pub mod copy;
pub mod database;
mod database_directory;
pub mod external_database;
pub mod links;
pub mod nodekey;
pub mod only;
pub mod report;
pub mod throwaway;
pub mod wait;

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

/// Makes what was renamed or created in a directory survive a power cut.
fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).with_context(|| format!("sync {}", dir.display()))
}

/// The directory that holds this path.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}
