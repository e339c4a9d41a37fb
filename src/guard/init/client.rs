//! `quorum-guard init client`: a data directory that geth can start in.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tracing::info;

use super::{links, throwaway, wait};
use crate::guard::flags::HttpsUrl;
use crate::guard::names::Names;

/// Prepares the client's data directory: links to the lists of peers, a node key to throw away, and, with a
/// transaction manager, the wait until that answers.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The client's data directory; made with mode 0750 if it is not there
    #[arg(long, value_name = "DIR")]
    pub datadir: PathBuf,

    /// Where static-nodes.json and permissioned-nodes.json are mounted. The data directory gets symbolic links
    /// to them, so that a change arrives without a restart
    #[arg(long, value_name = "DIR")]
    pub peers: PathBuf,

    /// Where to write a random node key for `geth init`, which makes one in the data directory if it is given
    /// none. The node's identity is never this key. Put it in memory, not on the claim
    #[arg(long, value_name = "FILE")]
    pub throwaway_key: PathBuf,

    /// Wait until a GET of this https address is answered with 200. geth ends at its start if its transaction
    /// manager does not answer
    #[arg(long, value_name = "URL", requires_all = ["wait_ca", "wait_cert", "wait_key"])]
    pub wait_url: Option<HttpsUrl>,

    /// Authorities of the transaction manager, PEM
    #[arg(long, value_name = "FILE", requires = "wait_url")]
    pub wait_ca: Option<PathBuf>,

    /// The client's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "wait_url")]
    pub wait_cert: Option<PathBuf>,

    /// The client's private key, PEM
    #[arg(long, value_name = "FILE", requires = "wait_url")]
    pub wait_key: Option<PathBuf>,

    /// Give up after so many seconds; the kubelet then tries again
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait_timeout_seconds: u64,
}

/// Does all of it; may be repeated.
pub async fn run(args: Args) -> Result<()> {
    refuse_identities(&args.datadir)?;
    make(&args.datadir)?;
    for name in ["static-nodes.json", "permissioned-nodes.json"] {
        links::link(&args.peers, &args.datadir, name)?;
    }
    throwaway::write(&args.throwaway_key)?;
    info!(file = %args.throwaway_key.display(), "wrote a node key for geth init alone");

    if let (Some(url), Some(ca), Some(cert), Some(key)) =
        (args.wait_url, args.wait_ca, args.wait_cert, args.wait_key)
    {
        let timeout = Duration::from_secs(args.wait_timeout_seconds);
        wait::run(&Names::default(), &url, &wait::Files { ca, cert, key }, wait::Pace::within(timeout))
            .await?;
    }
    info!("the data directory is ready");
    Ok(())
}

/// geth looks in both places, the root first, and takes what it finds there for its identity wherever
/// `--nodekey` is missing or misspelt.
fn refuse_identities(datadir: &Path) -> Result<()> {
    for name in ["nodekey", "geth/nodekey"] {
        let file = datadir.join(name);
        if fs::symlink_metadata(&file).is_ok() {
            bail!(
                "--datadir {}: it holds a node key, {}; delete that file (keep a copy if it is the only one). \
                 geth is started with --nodekey and must never find another identity",
                datadir.display(),
                file.display(),
            );
        }
    }
    Ok(())
}

fn make(datadir: &Path) -> Result<()> {
    let place = || format!("--datadir {}", datadir.display());
    if fs::metadata(datadir).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o750).create(datadir).with_context(place)?;
    // The umask may have taken the group's part away.
    fs::set_permissions(datadir, Permissions::from_mode(0o750)).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(root: &Path) -> Args {
        let peers = root.join("peers");
        fs::create_dir_all(&peers).unwrap();
        for name in ["static-nodes.json", "permissioned-nodes.json"] {
            fs::write(peers.join(name), format!("[\"{name}\"]")).unwrap();
        }
        Args {
            datadir: root.join("claim/data"),
            peers,
            throwaway_key: root.join("nodekey"),
            wait_url: None,
            wait_ca: None,
            wait_cert: None,
            wait_key: None,
            wait_timeout_seconds: 1,
        }
    }

    #[tokio::test]
    async fn an_empty_claim_becomes_a_data_directory_and_a_second_run_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            run(args(root.path())).await.unwrap();
            let datadir = root.path().join("claim/data");
            assert_eq!(fs::metadata(&datadir).unwrap().permissions().mode() & 0o7777, 0o750);
            let found = fs::read_to_string(datadir.join("static-nodes.json")).unwrap();
            assert_eq!(found, "[\"static-nodes.json\"]");
            let mut names: Vec<_> =
                fs::read_dir(&datadir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["permissioned-nodes.json", "static-nodes.json"]);
        }
    }

    #[tokio::test]
    async fn an_identity_in_the_claim_is_refused_by_its_path_before_anything_is_written() {
        for name in ["geth/nodekey", "nodekey"] {
            let root = tempfile::tempdir().unwrap();
            let args = args(root.path());
            let file = args.datadir.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "5ecre7").unwrap();
            let error = format!("{:#}", run(args).await.unwrap_err());
            assert!(error.contains(file.to_str().unwrap()) && error.contains("delete"), "{error}");
            assert!(!error.contains("5ecre7"), "{error}");
            assert!(!root.path().join("nodekey").exists());
        }
    }
}
