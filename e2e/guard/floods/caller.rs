//! Caller that connects from its own loopback address with a token.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::guard_process::{HOST, Place};

/// Receive buffer in bytes of a caller that does not read: so small that the guard must hold the answers.
const UNREAD: u32 = 8 * 1024;

pub(crate) type Http1 = http1::SendRequest<Full<Bytes>>;
pub(crate) type Http2 = http2::SendRequest<Full<Bytes>>;
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A caller that connects from its own loopback address with a token.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) at: SocketAddr,
    pub(crate) from: Ipv4Addr,
    pub(crate) token: String,
    /// Whether it reads answers.
    pub(crate) reads: bool,
    config: Arc<ClientConfig>,
}

impl Caller {
    pub(crate) fn of(place: &Place, number: usize) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(place.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let from = Ipv4Addr::new(127, 0, 0, 1 + number as u8);
        let token = place.tokens[number].clone();
        Ok(Self { at: place.at, from, token, reads: true, config: Arc::new(config) })
    }

    /// The same caller, which does not read answers.
    pub(crate) fn deaf(&self) -> Self {
        Self { reads: false, ..self.clone() }
    }

    pub(crate) async fn dial(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if !self.reads {
            socket.set_recv_buffer_size(UNREAD)?;
        }
        socket.bind((self.from, 0).into())?;
        let stream = socket.connect(self.at).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    pub(crate) async fn tls(&self, protocol: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.into()];
        let name = ServerName::try_from(HOST)?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, self.dial().await?).await?)
    }

    pub(crate) async fn http1(&self) -> anyhow::Result<Http1> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.tls("http/1.1").await?)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(crate) async fn http2(&self) -> anyhow::Result<Http2> {
        let io = TokioIo::new(self.tls("h2").await?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        if !self.reads {
            // the initial window size of RFC 9113
            builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
        }
        let (sender, connection) = builder.handshake(io).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(crate) async fn socket(&self) -> anyhow::Result<Socket> {
        let mut request = format!("wss://{HOST}/").into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        Ok(client_async(request, self.tls("http/1.1").await?).await?.0)
    }

    /// An HTTP/1.1 request with this body.
    pub(crate) fn request(&self, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let request = Request::post("/").header("host", HOST).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", self.token));
        request.body(Full::from(body.into())).unwrap_or_default()
    }

    /// The same for HTTP/2.
    pub(crate) fn stream(&self, body: impl Into<Bytes>) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = self.request(body);
        *request.uri_mut() = format!("https://{HOST}/").parse()?;
        request.headers_mut().remove("host");
        Ok(request)
    }

    /// Makes a call over a connection and checks that it has a result.
    pub(crate) async fn call(&self, sender: &mut Http1, body: impl Into<Bytes>) -> anyhow::Result<()> {
        sender.ready().await?;
        let answer = sender.send_request(self.request(body)).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        anyhow::ensure!(
            status == 200 && body.starts_with(br#"{"jsonrpc":"2.0","id":1,"result":"#),
            "{status} {body:?}"
        );
        Ok(())
    }

    /// Sends a request, and reads and discards the answer piece by piece.
    pub(crate) async fn drain(&self, sender: &mut Http1, body: impl Into<Bytes>) -> anyhow::Result<()> {
        sender.ready().await?;
        let mut answer = sender.send_request(self.request(body)).await?.into_body();
        while let Some(frame) = answer.frame().await {
            frame?;
        }
        Ok(())
    }
}

/// A call of a method without params.
pub(crate) fn call(method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#)
}
