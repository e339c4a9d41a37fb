//! `quorum-guard init copy`: puts this executable where another image can run it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tracing::info;

use super::only::Only;

/// Copies this executable, so that a container of another image can run it from a shared volume.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to make, mode 0555; its directory must be there
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// The one pod that may start
    #[command(flatten)]
    pub only: Only,
}

/// Copies what runs.
pub fn run(args: &Args) -> Result<()> {
    args.only.check()?;
    copy(Path::new("/proc/self/exe"), &args.to)
}

/// There is never half an executable under the name.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let place = || format!("--to {}", to.display());
    if to.is_dir() {
        bail!("--to {}: that is a directory; name the file to make in it", to.display());
    }
    if !super::parent(to).is_dir() {
        bail!("--to {}: its directory is not there; mount a volume at it", to.display());
    }
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new);
    let mut source = File::open(from).with_context(|| from.display().to_string())?;
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(0o500).open(&new).with_context(place)?;
    let bytes = io::copy(&mut source, &mut target).with_context(place)?;
    target.set_permissions(Permissions::from_mode(0o555)).with_context(place)?;
    target.sync_all().with_context(place)?;
    // An executable that is open for writing cannot be run.
    drop(target);
    fs::rename(&new, to).with_context(place)?;
    info!(to = %to.display(), bytes, "copied this executable");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_the_same_executable_and_a_repeat_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("quorum-guard");
        for _ in 0..2 {
            run(&Args { to: to.clone(), only: Only::default() }).unwrap();
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o555);
            assert!(fs::read(&to).unwrap() == fs::read("/proc/self/exe").unwrap(), "the bytes differ");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_directory_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(&Args { to: dir.path().to_owned(), only: Only::default() }).unwrap_err().to_string();
        assert!(error.contains("--to") && error.contains("name the file"), "{error}");
        let error =
            run(&Args { to: "/nowhere/quorum-guard".into(), only: Only::default() }).unwrap_err().to_string();
        assert!(error.contains("mount a volume"), "{error}");
    }
}
