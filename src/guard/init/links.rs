//! Replaces a file by a symbolic link atomically.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tracing::{info, warn};

/// Makes `<datadir>/<name>` a link to `<peers>/<name>`.
///
/// geth opens these files by path each time it reads them. The link must therefore point into the mounted directory,
/// where the kubelet swaps versions, and not to one version.
pub fn link(peers: &Path, datadir: &Path, name: &str) -> Result<()> {
    let target =
        std::path::absolute(peers).with_context(|| format!("--peers {}", peers.display()))?.join(name);
    let place = datadir.join(name);
    if !target.exists() {
        warn!(file = %target.display(), "the file does not exist yet; geth runs without this list until it does");
    }
    match fs::symlink_metadata(&place) {
        Ok(found) if found.is_symlink() && fs::read_link(&place).is_ok_and(|to| to == target) => {
            return Ok(());
        }
        Ok(found) if found.is_dir() => {
            bail!("{} is a directory; move it away, a list of peers belongs there", place.display())
        }
        Ok(found) if !found.is_symlink() => move_aside(&place)?,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| place.display().to_string()),
    }
    let new = datadir.join(format!(".{name}.new"));
    if fs::symlink_metadata(&new).is_ok_and(|left| left.is_symlink()) {
        // An earlier run ended between symlink and rename.
        fs::remove_file(&new).with_context(|| new.display().to_string())?;
    }
    symlink(&target, &new).with_context(|| new.display().to_string())?;
    fs::rename(&new, &place).with_context(|| place.display().to_string())?;
    super::sync_dir(datadir)?;
    info!(link = %place.display(), to = %target.display(), "linked");
    Ok(())
}

/// Renames a file so that the link can take its name. Never overwrites an earlier file.
fn move_aside(place: &Path) -> Result<()> {
    let mut aside = suffixed(place, ".replaced");
    let mut count = 1;
    while let Err(error) = fs::hard_link(place, &aside) {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(error).with_context(|| format!("keep {} as {}", place.display(), aside.display()));
        }
        count += 1;
        aside = suffixed(place, &format!(".replaced-{count}"));
    }
    warn!(file = %place.display(), kept_as = %aside.display(), "a regular file was in the link's place; it has another name now");
    Ok(())
}

fn suffixed(place: &Path, suffix: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const NAME: &str = "static-nodes.json";

    fn dirs() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (peers, datadir) = (root.path().join("peers"), root.path().join("data"));
        fs::create_dir(&peers).unwrap();
        fs::create_dir(&datadir).unwrap();
        fs::write(peers.join(NAME), "new").unwrap();
        (root, peers, datadir)
    }

    #[test]
    fn linking_twice_leaves_the_first_link_alone() {
        let (_root, peers, datadir) = dirs();
        link(&peers, &datadir, NAME).unwrap();
        let first = fs::symlink_metadata(datadir.join(NAME)).unwrap().ino();
        link(&peers, &datadir, NAME).unwrap();
        assert_eq!(fs::symlink_metadata(datadir.join(NAME)).unwrap().ino(), first);
        assert_eq!(fs::read_dir(&datadir).unwrap().count(), 1);
    }

    #[test]
    fn regular_files_are_kept_under_names_of_their_own() {
        let (_root, peers, datadir) = dirs();
        for text in ["one", "two"] {
            let _ = fs::remove_file(datadir.join(NAME));
            fs::write(datadir.join(NAME), text).unwrap();
            link(&peers, &datadir, NAME).unwrap();
            assert_eq!(fs::read_to_string(datadir.join(NAME)).unwrap(), "new");
        }
        let kept = |name: &str| fs::read_to_string(datadir.join(name)).unwrap();
        assert_eq!(kept("static-nodes.json.replaced"), "one");
        assert_eq!(kept("static-nodes.json.replaced-2"), "two");
    }

    #[test]
    fn a_link_elsewhere_and_the_rest_of_a_crash_are_replaced() {
        let (_root, peers, datadir) = dirs();
        symlink("/elsewhere", datadir.join(NAME)).unwrap();
        symlink("/left", datadir.join(format!(".{NAME}.new"))).unwrap();
        link(&peers, &datadir, NAME).unwrap();
        assert_eq!(fs::read_link(datadir.join(NAME)).unwrap(), peers.join(NAME));
        assert_eq!(fs::read_dir(&datadir).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_in_the_way_is_named_and_left() {
        let (_root, peers, datadir) = dirs();
        fs::create_dir(datadir.join(NAME)).unwrap();
        let error = link(&peers, &datadir, NAME).unwrap_err().to_string();
        assert!(error.contains("is a directory; move it away"), "{error}");
    }
}
