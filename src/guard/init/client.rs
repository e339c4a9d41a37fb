//! `quorum-guard init client`: prepares the data directory for geth and hands the node key to the client.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tracing::info;

use super::{links, nodekey, single_pod::Only, temporary_key, wait};
use crate::{
    guard::{dial::Dns, flags::HttpsUrl},
    protocol::node_key::Expected,
};

/// Prepares the client's data directory: links to the lists of peers, and a temporary node key. Checks the node key
/// and copies it into memory, and waits until the transaction manager, if there is one, answers.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The only pod that may start
    #[command(flatten)]
    pub only: Only,

    /// The client's data directory. It is created with mode 0750 if it does not exist
    #[arg(long, value_name = "DIR")]
    pub datadir: PathBuf,

    /// Directory where static-nodes.json and permissioned-nodes.json are mounted. The data directory gets symbolic
    /// links to them, so that a change arrives without a restart
    #[arg(long, value_name = "DIR")]
    pub peers: PathBuf,

    /// File for a random node key for `geth init`, which otherwise creates one in the data directory. The node
    /// never uses this key. Put the file in memory, not on the claim
    #[arg(long, value_name = "FILE")]
    pub throwaway_key: PathBuf,

    /// The mounted node key
    #[arg(long, value_name = "FILE", requires_all = ["expect_key", "node_key_to"])]
    pub node_key: Option<PathBuf>,

    /// Identity that the node key must have: a public key of 128 hexadecimal digits, or an address. With another
    /// key this command fails, and the client does not start
    #[arg(long, value_name = "IDENTITY", requires = "node_key")]
    pub expect_key: Option<Expected>,

    /// File for the checked node key, mode 0400. Put it in memory: it lasts as long as the pod, even if the Secret
    /// changes
    #[arg(long, value_name = "FILE", requires = "node_key")]
    pub node_key_to: Option<PathBuf>,

    /// Wait until a GET of this https URL is answered with 200. geth exits at start if its transaction manager does
    /// not answer
    #[arg(long, value_name = "URL", requires_all = ["wait_ca", "wait_cert", "wait_key"])]
    pub wait_url: Option<HttpsUrl>,

    /// CAs of the transaction manager's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "wait_url")]
    pub wait_ca: Option<PathBuf>,

    /// The client's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "wait_url")]
    pub wait_cert: Option<PathBuf>,

    /// The client's private key, PEM
    #[arg(long, value_name = "FILE", requires = "wait_url")]
    pub wait_key: Option<PathBuf>,

    /// Seconds to wait before this command fails. The kubelet then runs it again
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub wait_timeout_seconds: u64,
}

/// Runs all steps. Can be repeated.
pub async fn run(args: Args) -> Result<()> {
    // checked first: a pod or key that must not run leaves no files
    args.only.check()?;
    let key = match (&args.node_key, &args.expect_key) {
        (Some(file), Some(expected)) => Some(nodekey::check(file, expected)?),
        _ => None,
    };
    refuse_identities(&args.datadir)?;
    make(&args.datadir)?;
    for name in ["static-nodes.json", "permissioned-nodes.json"] {
        links::link(&args.peers, &args.datadir, name)?;
    }
    temporary_key::write(&args.throwaway_key)?;
    info!(file = %args.throwaway_key.display(), "wrote a temporary node key, for geth init only");
    if let (Some(key), Some(to)) = (&key, &args.node_key_to) {
        nodekey::write(key, to)?;
        info!(file = %to.display(), address = key.address, "the node key has the expected identity");
    }

    if let (Some(url), Some(ca), Some(cert), Some(key)) =
        (args.wait_url, args.wait_ca, args.wait_cert, args.wait_key)
    {
        let timeout = Duration::from_secs(args.wait_timeout_seconds);
        wait::run(&Dns::default(), &url, &wait::Files { ca, cert, key }, wait::Pace::within(timeout)).await?;
    }
    info!("the data directory is ready");
    Ok(())
}

/// geth looks for a node key in both places, the root first, and uses it as its identity if `--nodekey` is missing or
/// misspelt.
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
    // the umask may have removed the group's permissions
    fs::set_permissions(datadir, Permissions::from_mode(0o750)).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::{super::single_pod, *};

    const KEY: &str = "b0057716d5917badaf911b193b12b910811c1497b5bada8d7711f758981c3773";
    const OTHER: &str = "0x2222222222222222222222222222222222222222";

    fn address() -> Expected {
        crate::protocol::node_key::read(KEY.as_bytes()).unwrap().address.parse().unwrap()
    }

    /// Arguments with a node key and a transaction manager that never answers.
    fn with_key(root: &Path, expected: Expected) -> Args {
        fs::write(root.join("secret"), format!("{KEY}\n")).unwrap();
        Args {
            node_key: Some(root.join("secret")),
            expect_key: Some(expected),
            node_key_to: Some(root.join("checked")),
            wait_url: Some("https://127.0.0.1:1/upcheck".parse().unwrap()),
            wait_ca: Some(root.join("ca")),
            wait_cert: Some(root.join("cert")),
            wait_key: Some(root.join("key")),
            ..args(root)
        }
    }

    #[tokio::test]
    async fn another_pod_and_another_key_are_refused_before_anything_is_done_or_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let other_pod =
            Args { only: single_pod::tests::told("alice-client-1"), ..with_key(root.path(), address()) };
        let other_key = with_key(root.path(), OTHER.parse().unwrap());
        for (args, says) in [(other_pod, "it does not start"), (other_key, OTHER)] {
            let error = format!("{:#}", run(args).await.unwrap_err());
            assert!(error.contains(says) && !error.contains("127.0.0.1") && !error.contains(KEY), "{error}");
            for left in ["claim", "nodekey", "checked"] {
                assert!(!root.path().join(left).exists(), "{left}");
            }
        }
    }

    #[tokio::test]
    async fn the_expected_key_is_handed_on_and_a_change_of_the_secret_does_not_reach_it() {
        let root = tempfile::tempdir().unwrap();
        run(Args { wait_url: None, ..with_key(root.path(), address()) }).await.unwrap();
        let again = with_key(root.path(), address());
        fs::write(root.path().join("secret"), "1".repeat(64)).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("checked")).unwrap(), KEY);
        let error = format!("{:#}", run(again).await.unwrap_err());
        assert!(error.contains(&address().to_string()), "{error}");
        assert_eq!(
            fs::read_to_string(root.path().join("checked")).unwrap(),
            KEY,
            "the next start is rejected"
        );
    }

    fn args(root: &Path) -> Args {
        let peers = root.join("peers");
        fs::create_dir_all(&peers).unwrap();
        for name in ["static-nodes.json", "permissioned-nodes.json"] {
            fs::write(peers.join(name), format!("[\"{name}\"]")).unwrap();
        }
        Args {
            only: single_pod::tests::told("alice-client-0"),
            node_key: None,
            expect_key: None,
            node_key_to: None,
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
            let mut dns: Vec<_> =
                fs::read_dir(&datadir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            dns.sort();
            assert_eq!(dns, ["permissioned-nodes.json", "static-nodes.json"]);
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
