//! Tests of the whole guard on loopback, in front of a stand-in for the client.

mod answers;
mod audit;
mod client;
mod http;
mod idle_http;
mod limits;
mod pieces;
mod pings;
mod pressure;
mod reload;
mod websocket;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm as Signing, EncodingKey, Header};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::{
    guard::{testing::Authority, tls as certificates},
    protocol::policy::{self, Algorithm, Caller, Identity, Issuer, Key, Policy, Public, VERSION},
};
use client::Client;

const HOST: &str = "alice-rpc.ledger.svc";
const CLUSTER: &str = "https://kubernetes.default.svc";

/// Key that the cluster signs tokens with.
static SIGNER: LazyLock<(EncodingKey, Public)> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    match Jwk::from_encoding_key(&key, Signing::ES256).unwrap().algorithm {
        AlgorithmParameters::EllipticCurve(ec) => (key, Public::Ec { x: ec.x, y: ec.y }),
        other => panic!("{other:?}"),
    }
});

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A projected token of an account in `apps` that is valid for this many seconds, tolerance for clocks included.
fn token_for(account: &str, seconds: u64) -> String {
    let now = now() - crate::guard::rpc::decide::identity::SKEW;
    let claims = json!({
        "iss": CLUSTER, "aud": [HOST], "iat": now - 60, "nbf": now - 60, "exp": now + seconds,
        "sub": format!("system:serviceaccount:apps:{account}"),
        "kubernetes.io": {
            "namespace": "apps",
            "pod": {"name": "wallet-0", "uid": "p1"},
            "serviceaccount": {"name": account, "uid": "s1"},
        },
    });
    let header = Header { kid: Some("one".into()), ..Header::new(Signing::ES256) };
    jsonwebtoken::encode(&header, &claims, &SIGNER.0).unwrap()
}

fn token() -> String {
    token_for("wallet", 600)
}

fn caller(account: &str) -> Caller {
    Caller {
        name: account.into(),
        identity: Identity::ServiceAccount { namespace: "apps".into(), name: account.into() },
        methods: ["eth_*", "net_version"].map(str::to_owned).to_vec(),
        private_state: true,
        origins: vec!["https://app.example".into()],
        calls_per_second: 10_000,
        burst: 10_000,
        connections: 64,
    }
}

fn policy() -> Policy {
    let key = Key { id: "one".into(), algorithm: Algorithm::ES256, public: SIGNER.1.clone() };
    Policy {
        version: VERSION,
        hosts: vec![HOST.into()],
        audience: HOST.into(),
        cluster: Some(CLUSTER.into()),
        issuers: vec![Issuer { issuer: CLUSTER.into(), keys: vec![key] }],
        callers: vec![caller("wallet"), caller("shop")],
        limits: policy::Limits::default(),
    }
}

/// A running guard and the client behind it.
struct Running {
    dir: tempfile::TempDir,
    authority: Authority,
    at: SocketAddr,
    metrics: SocketAddr,
    client: Client,
    records: Option<OwnedFd>,
    stop: channel::Sender<bool>,
    served: JoinHandle<anyhow::Result<()>>,
}

/// Answer to a request.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: hyper::HeaderMap,
    text: String,
}

impl Answered {
    async fn of(answer: Response<hyper::body::Incoming>) -> Result<Self, hyper::Error> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.into_body().collect().await?.to_bytes();
        Ok(Self { status, headers, text: String::from_utf8(text.to_vec()).unwrap() })
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn code(&self) -> Value {
        self.json()["error"]["code"].clone()
    }
}

impl Running {
    async fn start(change: impl FnOnce(&mut Policy)) -> Self {
        Self::before(Client::start().await, change).await
    }

    async fn before(client: Client, change: impl FnOnce(&mut Policy)) -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("acme"));
        authority.server(HOST).write(dir.path());
        let mut policy = policy();
        change(&mut policy);
        let file = dir.path().join(policy::FILE);
        fs::write(&file, policy.write()).unwrap();
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let ports = Ports { callers: bind().await, health: bind().await, metrics: bind().await };
        let at = ports.callers.local_addr().unwrap();
        let metrics = ports.metrics.local_addr().unwrap();
        let args = Args {
            listen: at,
            health: at,
            metrics,
            http: client.http,
            ws: client.ws,
            tls_dir: dir.path().to_owned(),
            policy: file,
        };
        let (records, into) = rustix::pipe::pipe().unwrap();
        let (stop, stopped) = channel::channel(false);
        let served = tokio::spawn(serve(args, ports, Audit::to(into), stopped));
        let running = Self { dir, authority, at, metrics, client, records: Some(records), stop, served };
        // it has read its files when it answers
        running.scrape().await;
        running
    }

    fn put(&self, policy: &Policy) {
        // atomically, as the kubelet does
        let (new, file) = (self.dir.path().join("new"), self.dir.path().join(policy::FILE));
        fs::write(&new, policy.write()).unwrap();
        fs::rename(new, file).unwrap();
    }

    async fn connect_with(&self, protocol: &str) -> TlsStream<TcpStream> {
        let ca = self.dir.path().join("ca.crt");
        fs::write(&ca, &self.authority.cert).unwrap();
        let mut config = certificates::client(&ca, None).unwrap();
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(self.at).await.unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn http1(&self) -> http1::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect_with("http/1.1").await);
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect_with("h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Sends a request over a new connection.
    async fn send(&self, request: Request<Full<Bytes>>) -> Answered {
        let mut sender = self.http1().await;
        Answered::of(sender.send_request(request).await.unwrap()).await.unwrap()
    }

    async fn call(&self, body: &str) -> Answered {
        self.send(request(&token(), body)).await
    }

    async fn scrape(&self) -> String {
        let io = TokioIo::new(TcpStream::connect(self.metrics).await.unwrap());
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::get("/metrics").header("host", "localhost").body(Full::<Bytes>::default()).unwrap();
        Answered::of(sender.send_request(request).await.unwrap()).await.unwrap().text
    }

    /// Stops the guard and returns all records.
    async fn end(mut self) -> Vec<Value> {
        let records = std::fs::File::from(self.records.take().unwrap());
        self.stop.send_replace(true);
        self.served.await.unwrap().unwrap();
        let lines = BufReader::new(records).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    }
}

fn request(token: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post("/")
        .header("host", HOST)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .unwrap()
}

fn ask(method: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string()
}

/// Asks repeatedly until the answer is as wanted; fails after ten seconds.
async fn until<T: std::fmt::Debug>(mut ask: impl AsyncFnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let mut last = None;
    let looked = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            let seen = ask().await;
            if wanted(&seen) {
                return seen;
            }
            last = Some(seen);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    looked.await.unwrap_or_else(|_| panic!("never as wanted; last: {last:?}"))
}
