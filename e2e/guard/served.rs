//! The guard as it is run: `quorum-guard rpc` before the client, over TLS, with a caller that has a token.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{EncodingKey, Header};
use quorum_operator::policy::{
    Algorithm, Caller, FILE, Identity, Issuer, Key, Limits, Policy, Public, VERSION,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::draft::GRANTED;
use crate::geth::{Counts, Geth, free};
use crate::kinds::Sent;
use crate::requests;
use crate::wire::{self, Who};

const HOST: &str = "alice-rpc.ledger.svc";
const ISSUER: &str = "https://kubernetes.default.svc";

/// A guard that ends with this.
pub(crate) struct Guard {
    process: Child,
    at: SocketAddr,
    certificate: CertificateDer<'static>,
    /// The caller of the policy.
    pub(crate) caller: Who,
    audit: File,
    _home: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a pod of `apps/wallet` would have, and what the operator would write.
fn identity() -> anyhow::Result<(String, Policy)> {
    let pair = KeyPair::generate().context("a key")?;
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let jwk = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256)?;
    let AlgorithmParameters::EllipticCurve(point) = jwk.algorithm else { unreachable!("an ec key") };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": [HOST], "sub": "system:serviceaccount:apps:wallet",
        "iat": now, "nbf": now, "exp": now + 3600,
        "kubernetes.io": {
            "namespace": "apps",
            "pod": {"name": "wallet-0", "uid": "p1"},
            "serviceaccount": {"name": "wallet", "uid": "s1"},
        },
    });
    let header = Header { kid: Some("one".into()), ..Header::new(jsonwebtoken::Algorithm::ES256) };
    let token = jsonwebtoken::encode(&header, &claims, &key)?;
    let public = Public::Ec { x: point.x, y: point.y };
    let most = 1_000_000_000;
    let policy = Policy {
        version: VERSION,
        hosts: vec![HOST.into()],
        audience: HOST.into(),
        cluster: Some(ISSUER.into()),
        issuers: vec![Issuer {
            issuer: ISSUER.into(),
            keys: vec![Key { id: "one".into(), algorithm: Algorithm::ES256, public }],
        }],
        callers: vec![Caller {
            name: "wallet".into(),
            identity: Identity::ServiceAccount { namespace: "apps".into(), name: "wallet".into() },
            methods: GRANTED.map(str::to_owned).to_vec(),
            origins: vec![],
            calls_per_second: most,
            burst: most,
            connections: most,
        }],
        limits: Limits::default(),
    };
    Ok((token, policy))
}

impl Guard {
    pub(crate) async fn start(program: &Path, geth: &Geth) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let (token, policy) = identity()?;
        fs::write(home.path().join(FILE), policy.write())?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![HOST.into()])?.self_signed(&key)?;
        fs::write(home.path().join("tls.crt"), certificate.pem())?;
        fs::write(home.path().join("tls.key"), key.serialize_pem())?;
        let [at, health, metrics] = [free()?, free()?, free()?];
        let records = home.path().join("audit");
        let process = Command::new(program)
            .args(["--log-level=warn", "rpc"])
            .args([format!("--listen={at}"), format!("--health={health}"), format!("--metrics={metrics}")])
            .args([format!("--http={}", geth.http), format!("--ws={}", geth.socket)])
            .arg(format!("--tls-dir={}", home.path().display()))
            .arg(format!("--policy={}", home.path().join(FILE).display()))
            .stdout(File::create(&records)?)
            .stderr(Stdio::inherit())
            .spawn()
            .context("quorum-guard")?;
        let caller = Who { host: HOST.into(), bearer: Some(token) };
        let audit = File::open(&records)?;
        let certificate = certificate.der().clone();
        let guard = Self { process, at, certificate, caller, audit, _home: home };
        let end = Instant::now() + Duration::from_secs(60);
        while guard.connect("http/1.1").await.is_err() {
            ensure!(Instant::now() < end, "the guard does not listen after 60 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(guard)
    }

    /// A connection that speaks one protocol.
    pub(crate) async fn connect(&self, protocol: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST)?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }

    /// Sends it, whatever comes of it.
    pub(crate) async fn send(&self, sent: &Sent, who: &Who) -> anyhow::Result<()> {
        match sent {
            Sent::Body(body) => {
                let request = who.signed(&requests::post(body));
                wire::exchange(&mut self.connect("http/1.1").await?, &request).await;
            }
            Sent::Request(pieces) => {
                wire::exchange(&mut self.connect("http/1.1").await?, &who.signed(pieces)).await;
            }
            Sent::Frames(frames) => {
                wire::socket(&mut self.connect("http/1.1").await?, who, frames).await?;
            }
            Sent::Streams(parts) => wire::streams(&mut self.connect("h2").await?, who, parts).await,
        }
        Ok(())
    }

    /// Whether a granted call is answered: what follows would prove nothing otherwise.
    pub(crate) async fn answers(&self) -> anyhow::Result<()> {
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
        let request = self.caller.signed(&requests::post(call));
        let answer = wire::exchange(&mut self.connect("http/1.1").await?, &request).await;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.contains(r#""result":"0x539""#), "a granted call was answered {answer:?}");
        Ok(())
    }

    /// Calls that were recorded as passed on since the last time.
    pub(crate) fn passed(&mut self) -> anyhow::Result<Counts> {
        let mut records = String::new();
        let from = self.audit.stream_position()?;
        self.audit.read_to_string(&mut records)?;
        // a line that is still being written is for the next time
        let whole = records.rfind('\n').map_or(0, |end| end + 1);
        self.audit.seek(SeekFrom::Start(from + whole as u64))?;
        let mut passed = Counts::new();
        for line in records[..whole].lines() {
            let record: Value = serde_json::from_str(line).with_context(|| format!("a record: {line}"))?;
            if record["verdict"] == "allowed" {
                let method = record["method"].as_str().context("a record without its method")?;
                *passed.entry(method.to_owned()).or_default() += 1;
            }
        }
        Ok(passed)
    }
}
