//! Runs `quorum-guard rpc` in front of a client, with a policy and tokens for its callers.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{EncodingKey, Header};
use quorum_operator::protocol::policy::{
    Algorithm, Caller, FILE, Identity, Issuer, Key, Limits, Policy, Public, VERSION,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::net::TcpStream;

use crate::geth::{behind, free};

pub(crate) const HOST: &str = "alice-rpc.ledger.svc";
const ISSUER: &str = "https://kubernetes.default.svc";

/// Methods that the callers may call.
pub(crate) const GRANTED: [&str; 3] = ["eth_*", "net_version", "web3_clientVersion"];

/// Service accounts in the namespace `apps`, each a caller.
const ACCOUNTS: [&str; 3] = ["wallet", "crowd", "mob"];

/// Tokens as the accounts' pods would have, and the policy as the operator would write it.
fn identities() -> anyhow::Result<(Vec<String>, Policy)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    // each account has its own signing key, so that a test can withdraw one
    let (mut tokens, mut keys) = (Vec::new(), Vec::new());
    for account in ACCOUNTS {
        let pair = KeyPair::generate().context("a key")?;
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let jwk = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256)?;
        let AlgorithmParameters::EllipticCurve(point) = jwk.algorithm else { unreachable!("an ec key") };
        let claims = json!({
            "iss": ISSUER, "aud": [HOST], "sub": format!("system:serviceaccount:apps:{account}"),
            "iat": now, "nbf": now, "exp": now + 3600,
            "kubernetes.io": {
                "namespace": "apps",
                "pod": {"name": format!("{account}-0"), "uid": "p1"},
                "serviceaccount": {"name": account, "uid": "s1"},
            },
        });
        let id = format!("of-{account}");
        let header = Header { kid: Some(id.clone()), ..Header::new(jsonwebtoken::Algorithm::ES256) };
        tokens.push(jsonwebtoken::encode(&header, &claims, &key)?);
        let public = Public::Ec { x: point.x, y: point.y };
        keys.push(Key { id, algorithm: Algorithm::ES256, public });
    }
    let most = 1_000_000_000;
    let caller = |account: &str| Caller {
        name: account.into(),
        identity: Identity::ServiceAccount { namespace: "apps".into(), name: account.into() },
        methods: GRANTED.map(str::to_owned).to_vec(),
        private_state: true,
        origins: vec![],
        calls_per_second: most,
        burst: most,
        connections: 128,
    };
    let policy = Policy {
        version: VERSION,
        hosts: vec![HOST.into(), "localhost".into()],
        audience: HOST.into(),
        cluster: Some(ISSUER.into()),
        issuers: vec![Issuer { issuer: ISSUER.into(), keys }],
        callers: ACCOUNTS.map(caller).to_vec(),
        limits: Limits::default(),
    };
    Ok((tokens, policy))
}

/// A running guard, which ends on drop.
pub(crate) struct Place {
    process: Child,
    pub(crate) at: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    /// Tokens of the callers `wallet`, `crowd` and `mob`.
    pub(crate) tokens: Vec<String>,
    /// Policy at the start.
    pub(crate) policy: Policy,
    home: tempfile::TempDir,
}

/// Parameters of a guard.
pub(crate) struct Run<'a> {
    pub(crate) program: &'a Path,
    /// Command that starts it, such as a shell that enters a cgroup first.
    pub(crate) within: &'a [String],
    /// The client's listeners: HTTP and WebSocket.
    pub(crate) client: [SocketAddr; 2],
    /// Changes the default policy, which has no effective rate limits.
    pub(crate) policy: fn(&mut Policy),
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Place {
    /// Starts a guard in front of the client's two listeners. Its audit records go to a file.
    pub(crate) async fn start(program: &Path, http: SocketAddr, socket: SocketAddr) -> anyhow::Result<Self> {
        let run = Run { program, within: &[], client: [http, socket], policy: |_| {} };
        Self::run(run, |home| Ok(File::create(home.join("audit"))?.into())).await
    }

    /// Starts a guard. `stdout` creates the destination of the audit records.
    pub(crate) async fn run(
        run: Run<'_>,
        stdout: impl FnOnce(&Path) -> anyhow::Result<Stdio>,
    ) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let (tokens, mut policy) = identities()?;
        (run.policy)(&mut policy);
        fs::write(home.path().join(FILE), policy.write())?;
        fs::write(home.path().join("token"), &tokens[0])?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![HOST.into(), "localhost".into()])?.self_signed(&key)?;
        fs::write(home.path().join("tls.crt"), certificate.pem())?;
        fs::write(home.path().join("tls.key"), key.serialize_pem())?;
        let [at, health, metrics] = [free()?, free()?, free()?];
        let [http, socket] = run.client;
        let process = behind(run.within, run.program.as_ref())
            .args(["--log-level=warn", "rpc"])
            .args([format!("--listen={at}"), format!("--health={health}"), format!("--metrics={metrics}")])
            .args([format!("--http={http}"), format!("--ws={socket}")])
            .arg(format!("--tls-dir={}", home.path().display()))
            .arg(format!("--policy={}", home.path().join(FILE).display()))
            .stdout(stdout(home.path())?)
            .stderr(Stdio::inherit())
            .spawn()
            .context("quorum-guard")?;
        let certificate = certificate.der().clone();
        let place = Self { process, at, certificate, tokens, policy, home };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(at).await.is_err() {
            ensure!(Instant::now() < end, "the guard does not listen after 60 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(place)
    }

    /// PID of the guard.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Replaces the policy atomically.
    pub(crate) fn change(&self, policy: &Policy) -> anyhow::Result<()> {
        let new = self.home.path().join("new");
        fs::write(&new, policy.write())?;
        Ok(fs::rename(new, self.home.path().join(FILE))?)
    }

    /// Folder with `token`, `tls.crt` and `audit`.
    pub(crate) fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }
}
