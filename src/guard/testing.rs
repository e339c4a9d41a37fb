//! Certificates and peers for tests.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::init::wait::Files;
use super::tls;

pub(crate) mod postgres;
mod recorded;
#[allow(dead_code, unused_imports, reason = "the tests before the real client use more of it")]
pub(crate) mod standin;

/// A certificate and its key, PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Pair {
    pub(crate) fn write(&self, dir: &Path) {
        fs::write(dir.join("tls.crt"), &self.cert).unwrap();
        fs::write(dir.join("tls.key"), &self.key).unwrap();
    }
}

/// A CA that signs certificates for tests.
pub(crate) struct Authority {
    pub(crate) cert: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let cert = params.self_signed(&key).unwrap().pem();
        Authority { cert, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A server certificate for this host and 127.0.0.1.
    pub(crate) fn server(&self, host: &str) -> Pair {
        let mut params = CertificateParams::new(vec![host.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    pub(crate) fn client(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Files of a client of this CA.
    pub(crate) fn client_files(&self) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        self.client("alice").write(dir.path());
        fs::write(dir.path().join("ca.crt"), &self.cert).unwrap();
        let [ca, cert, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| dir.path().join(name));
        (dir, Files { ca, cert, key })
    }
}

/// A transaction manager that answers `/upcheck` over mutual TLS, as `alice-tm.ledger.svc` and 127.0.0.1.
pub(crate) struct Manager {
    pub(crate) port: u16,
    pub(crate) status: Arc<AtomicU16>,
    /// Notified when a request was answered.
    pub(crate) asked: Arc<Notify>,
}

impl Manager {
    pub(crate) async fn start(authority: &Authority) -> Manager {
        let pair = authority.server("alice-tm.ledger.svc");
        let verifier = tls::verifier(authority.cert.as_bytes(), false).unwrap();
        let config = tls::server(pair.cert.as_bytes(), pair.key.as_bytes(), Some(verifier)).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(Notify::new()));
        let manager = Manager { port, status: status.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, status, asked) = (acceptor.clone(), status.clone(), asked.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await.ok()?;
                    let head = head(&mut stream).await?;
                    let known = head.starts_with("GET /upcheck HTTP/1.1\r\n");
                    let code = if known { status.load(Ordering::SeqCst) } else { 404 };
                    let answer = format!("HTTP/1.1 {code} x\r\ncontent-length: 6\r\n\r\nI'm up");
                    stream.write_all(answer.as_bytes()).await.ok()?;
                    stream.shutdown().await.ok()?;
                    asked.notify_one();
                    Some(())
                });
            }
        });
        manager
    }
}

/// Reads a request's header as text.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Stand-in for a client's metrics port. `{n}` in the page becomes the number of the request.
pub(crate) struct Client {
    pub(crate) at: SocketAddr,
    /// Number of requests for any path.
    pub(crate) hits: Arc<AtomicUsize>,
    /// Notified when a request has arrived.
    pub(crate) hit: Arc<Notify>,
    /// While this is locked, no request is answered.
    pub(crate) hold: Arc<Mutex<()>>,
    pub(crate) status: Arc<AtomicU16>,
    /// Targets of the requests so far.
    pub(crate) paths: Arc<std::sync::Mutex<Vec<String>>>,
    /// The page; a test may change it.
    pub(crate) page: Arc<std::sync::Mutex<String>>,
}

impl Client {
    pub(crate) async fn start(page: &str) -> Client {
        Client::serve(page.to_owned(), true).await
    }

    /// Sends these bytes unchanged and closes.
    pub(crate) async fn raw(bytes: String) -> Client {
        Client::serve(bytes, false).await
    }

    async fn serve(page: String, http: bool) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client {
            at: listener.local_addr().unwrap(),
            hits: Arc::default(),
            hit: Arc::default(),
            hold: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            paths: Arc::default(),
            page: Arc::new(std::sync::Mutex::new(page)),
        };
        let Client { hits, hit, hold, status, paths, page, .. } = client.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(head) = head(&mut stream).await else { continue };
                let number = hits.fetch_add(1, Ordering::SeqCst) + 1;
                let path =
                    head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
                paths.lock().unwrap().push(path.to_owned());
                hit.notify_one();
                let _open = hold.lock().await;
                let body = page.lock().unwrap().replace("{n}", &number.to_string());
                let code = status.load(Ordering::SeqCst);
                let answer = match http {
                    true => format!("HTTP/1.1 {code} x\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
                    false => body,
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        client
    }

    fn clone(&self) -> Client {
        Client {
            at: self.at,
            hits: self.hits.clone(),
            hit: self.hit.clone(),
            hold: self.hold.clone(),
            status: self.status.clone(),
            paths: self.paths.clone(),
            page: self.page.clone(),
        }
    }
}

/// Sends a request and returns everything that the peer sends until it closes, which it must do by itself.
pub(crate) async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open after {request:?}");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a GET over plain HTTP.
pub(crate) async fn plain_get(port: u16, path: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    talk(stream, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
}

/// Polls until a condition holds. Fails with the last value otherwise.
pub(crate) async fn until<T: std::fmt::Debug, F: Future<Output = T>>(
    mut look: impl FnMut() -> F,
    so: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = look().await;
        if so(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "still {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
