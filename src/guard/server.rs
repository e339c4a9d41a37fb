//! HTTP/1.1 server that answers one request per connection and limits the time of every step.
//!
//! hyper limits neither idle time nor writing. One request per connection makes one deadline cover everything, and a
//! caller whose CA was removed is rejected at its next request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::guard::reload::Reloading;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; others wait in the kernel's queue.
    pub connections: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for the request's header to arrive.
    pub header: Duration,
    /// Time from the header to the last byte of the answer.
    pub answer: Duration,
    /// Time for running requests to finish after shutdown begins.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 32,
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(5),
            answer: Duration::from_secs(20),
            grace: Duration::from_secs(1),
        }
    }
}

/// Buffer for a request's header in bytes. hyper requires at least 8 KiB.
const HEADER_BYTES: usize = 16 * 1024;

/// The answer to a request. Only path and method determine it.
pub type Answer = Response<Full<Bytes>>;

/// Request extension: the caller has shown a certificate of the port's CA.
#[derive(Clone, Copy, Debug)]
pub struct Vouched;

/// A port to serve.
pub struct Port {
    /// Accepts the connections.
    pub listener: TcpListener,
    /// The TLS certificates; `None` means plain HTTP.
    pub tls: Option<Arc<Reloading>>,
    /// The limits of this port.
    pub limits: Limits,
}

/// Serves until `stop` becomes true or its sender is dropped.
pub async fn serve<H, F>(port: Port, mut stop: watch::Receiver<bool>, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let Port { listener, tls, limits } = port;
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = stop.wait_for(|&stop| stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (tls, handler) = (tls.clone(), handler.clone());
                connections.spawn(async move {
                    let _slot = slot;
                    connection(stream, tls, limits, handler).await;
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(limits.grace, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection<H, F>(stream: TcpStream, tls: Option<Arc<Reloading>>, limits: Limits, handler: H)
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let Some(tls) = tls else { return exchange(stream, None, limits, handler).await };
    let accepted = timeout(limits.handshake, TlsAcceptor::from(tls.current()).accept(stream)).await;
    match accepted {
        Ok(Ok(stream)) => {
            let vouched = stream.get_ref().1.peer_certificates().map(|_| Vouched);
            exchange(stream, vouched, limits, handler).await;
        }
        Ok(Err(error)) => {
            tls.count_failed_handshake();
            debug!(%error, "a TLS handshake failed");
        }
        Err(_) => {
            tls.count_failed_handshake();
            debug!("a TLS handshake took too long");
        }
    }
}

async fn exchange<S, H, F>(stream: S, vouched: Option<Vouched>, limits: Limits, handler: H)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Answer>,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(vouched) = vouched {
            request.extensions_mut().insert(vouched);
        }
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    // Without a timer hyper ignores the header timeout.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.header + limits.answer, pin!(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection ended early"),
        Err(_) => debug!("a connection took too long"),
    }
}

/// An answer with one line of plain text.
pub fn text(status: StatusCode, line: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{line}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// A 404 that does not reveal which paths exist.
pub fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "not found")
}
