//! Checks the node key against the expected identity and writes it to memory for the lifetime of the pod.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::protocol::node_key::{self, Expected};

/// A checked key. Does not implement `Debug`, so that no log shows it.
pub struct Checked {
    digits: Vec<u8>,
    /// The address that belongs to the key.
    pub address: String,
}

/// Reads a node key as geth does and checks that it has the expected identity.
///
/// # Errors
/// If the file cannot be read as a key, or has another identity. The error names public identities only.
pub fn check(path: &Path, expected: &Expected) -> Result<Checked> {
    let place = || format!("--node-key {}", path.display());
    let mut text = fs::read(path).with_context(place)?;
    let found = node_key::read(&text).map_err(|why| anyhow!("{}: the key {why}", place()))?;
    if !expected.is(&found) {
        let found = match expected {
            Expected::Address(_) => found.address,
            Expected::PublicKey(_) => found.public_key,
        };
        bail!(
            "{}: the Secret holds the key of {found}, and this node is {expected}: the client does not start under \
             another identity. Put the original key back into the Secret; for another identity make a new QuorumNode",
            place()
        );
    }
    text.truncate(64);
    Ok(Checked { digits: text, address: found.address })
}

/// Writes a checked key, readable by its owner only. Renames a temporary file, so that `to` never holds a partial key.
///
/// # Errors
/// If the file cannot be written.
pub fn write(key: &Checked, to: &Path) -> Result<()> {
    let place = || format!("--node-key-to {}", to.display());
    if !super::parent(to).is_dir() {
        bail!("{}: its directory does not exist; mount a volume in memory at it", place());
    }
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o400).open(&new).with_context(place)?;
    file.write_all(&key.digits).with_context(place)?;
    fs::rename(&new, to).with_context(place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "b0057716d5917badaf911b193b12b910811c1497b5bada8d7711f758981c3773";
    const OTHER: &str = "45a915e4d060149eb4365960e6a7a45f334393093061116b197e3240065ff2d8";

    fn address(key: &str) -> String {
        node_key::read(key.as_bytes()).unwrap().address
    }

    #[test]
    fn a_checked_key_is_kept_as_geth_reads_it_for_its_owner_alone_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("secret"), dir.path().join("nodekey"));
        fs::write(&from, format!("{KEY}\r\n")).unwrap();
        for _ in 0..2 {
            write(&check(&from, &address(KEY).parse().unwrap()).unwrap(), &to).unwrap();
            assert_eq!(fs::read_to_string(&to).unwrap(), KEY);
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o400);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn another_key_is_refused_by_public_identities_alone() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("secret");
        fs::write(&from, OTHER).unwrap();
        let public = |key: &str| node_key::read(key.as_bytes()).unwrap().public_key;
        for (expected, found) in [(address(KEY), address(OTHER)), (public(KEY), public(OTHER))] {
            let error = check(&from, &expected.parse().unwrap()).err().unwrap();
            let error = format!("{error:#}");
            assert!(error.contains(&expected) && error.contains(&found), "{error}");
            assert!(!error.contains(OTHER) && !error.contains(KEY), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_place_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("secret");
        for text in ["5ecre7", "", &"0".repeat(64)] {
            fs::write(&from, text).unwrap();
            let error = format!("{:#}", check(&from, &address(KEY).parse().unwrap()).err().unwrap());
            assert!(error.contains(from.to_str().unwrap()), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        let error =
            format!("{:#}", check(&dir.path().join("no"), &address(KEY).parse().unwrap()).err().unwrap());
        assert!(error.contains("--node-key"), "{error}");
    }
}
