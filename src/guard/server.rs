//! An HTTP/1.1 server that answers one request per connection, every step of it bounded.
//!
//! hyper bounds neither idle nor writing. A connection that carries one request has one end to all of that,
//! and a caller whose authority was withdrawn is out at its next request.

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

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; later ones wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the request's header to arrive.
    pub header: Duration,
    /// From the header to the last byte of the answer.
    pub answer: Duration,
    /// What is left to running requests once the process is asked to end.
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

/// Bytes of a request's header; hyper refuses a buffer under 8 KiB.
const HEADER_BYTES: usize = 16 * 1024;

/// The answer to a request; what it was is decided by path and method alone.
pub type Answer = Response<Full<Bytes>>;

/// Marks a request whose caller has shown a certificate that the port's authority vouches for.
#[derive(Clone, Copy, Debug)]
pub struct Vouched;

/// One port.
pub struct Port {
    /// Where connections come from.
    pub listener: TcpListener,
    /// Plain HTTP without it.
    pub tls: Option<Arc<Reloading>>,
    /// How much of everything.
    pub limits: Limits,
}

/// Serves until `stop` turns true or its sender is gone.
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
    // Without a timer hyper ignores the bound on the header.
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

/// A line of plain text.
pub fn text(status: StatusCode, line: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{line}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// There is nothing here, and nothing says what would be.
pub fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "not found")
}
