//! Connections: taken, shaken hands with, served, and cut when they may stay no longer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::connection::{Connection, Handshake};
use super::patience::{Bound, Bounded, Bounds, Patience};
use super::place::Place;
use super::quiet::{Answers, Http1};
use super::record::Transport;
use super::shared::Shared;
use crate::guard::reload::Reloading;
use crate::policy::Limits;

/// What is left to requests under way once the process is asked to end.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes that TLS holds for a caller that does not read.
const UNREAD: usize = 16 * 1024;
/// Bytes that the kernel keeps of what a connection receives and sends; it takes twice as much for them.
const KERNEL: (u32, u32) = (32 * 1024, 64 * 1024);
/// Requests of one connection of HTTP/2 at a time.
const STREAMS: u32 = 64;
/// Bytes of an answer that wait in HTTP/2 for a caller that does not read, of each request; they are charged.
const SENT: usize = 32 * 1024;
/// Bytes that a caller may send of a request, and of all of a connection's, before they are read.
const WINDOWS: (u32, u32) = (64 * 1024, 256 * 1024);

/// Listens for callers. The kernel keeps little of what is not read, on either side: that is memory of the guard's too.
///
/// # Errors
/// Where the address is taken.
pub fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    crate::listen::bind_with(at, |socket| {
        socket.set_recv_buffer_size(KERNEL.0)?;
        socket.set_send_buffer_size(KERNEL.1)
    })
}

/// Serves until the process is asked to end, and then until what is under way has ended. That is a task: what the runtime
/// is blocked on has a thread of its own, which would be woken for each connection.
pub async fn serve(listener: TcpListener, tls: Arc<Reloading>, shared: Arc<Shared>) {
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, tls, shared));
    accepting.join_all().await;
}

async fn accept(listener: TcpListener, tls: Arc<Reloading>, shared: Arc<Shared>) {
    let mut stop = shared.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, from)) => {
                // at an address of both families one of IPv4 comes as one of IPv6
                if let Some(place) = Place::take(&shared, from.ip().to_canonical()) {
                    connections.spawn(connection(stream, tls.clone(), place));
                }
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, tls: Arc<Reloading>, place: Place) {
    let limits = place.shared().rules().policy.limits.clone();
    let _ = stream.set_nodelay(true);
    let bound = Duration::from_secs(limits.handshake_seconds.into());
    let stream = match timeout(bound, Box::pin(TlsAcceptor::from(tls.current()).accept(stream))).await {
        Ok(Ok(stream)) => stream,
        failed => {
            if failed.is_err() {
                place.shared().counts.timed_out(Bound::Handshake);
            }
            tls.count_failed_handshake();
            debug!(error = ?failed.err(), "a TLS handshake failed");
            return;
        }
    };
    let mut stream = stream;
    // what a caller does not read is held here, and not charged
    stream.get_mut().1.set_buffer_limit(Some(UNREAD));
    let (_, session) = stream.get_ref();
    let transport = if session.alpn_protocol() == Some(b"h2") { Transport::Http2 } else { Transport::Http1 };
    let certificates = session.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let patience = Patience::new(Bounds {
        idle: Duration::from_secs(limits.idle_seconds.into()),
        header: Duration::from_secs(limits.header_seconds.into()),
        // its body, its turn, its answer
        request: Duration::from_secs(u64::from(limits.body_seconds) + 2 * u64::from(limits.answer_seconds)),
    });
    let connection = Connection::new(Handshake { place, transport, certificates }, patience);
    exchange(stream, connection, &limits).await;
}

/// What a caller is connected by.
pub type Stream = Bounded<TlsStream<TcpStream>>;

async fn exchange(stream: TlsStream<TcpStream>, connection: Arc<Connection>, limits: &Limits) {
    let is_http1 = connection.transport == Transport::Http1;
    let stream = Bounded::new(stream, connection.patience.clone(), is_http1);
    // each in a box of its own, so that neither takes the room of the other
    let ended = if is_http1 {
        let serving = Http1::new(stream, connection.clone(), limits.header_bytes as usize);
        watched(Box::pin(serving).as_mut(), &connection, |serving| serving.graceful_shutdown()).await
    } else {
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_send_buf_size(SENT)
            .max_header_list_size(limits.header_bytes)
            .serve_connection(TokioIo::new(stream), Answers(connection.clone()));
        watched(Box::pin(serving).as_mut(), &connection, |serving| serving.graceful_shutdown()).await
    };
    connection.ended().await;
    // one that ends before it has said a word counts as ended well
    if let Some(bound) = connection.patience.ended() {
        connection.shared.counts.timed_out(bound);
    }
    if let Err(error) = ended {
        if error.is_parse() {
            super::http::ledger(&connection).unread(error.is_parse_too_large());
            connection.pays();
        }
        debug!(%error, "a connection ended early");
    }
}

/// Serves until it ends by itself, or may stay no longer; asked to end, until what is under way has ended.
async fn watched<S>(
    mut serving: Pin<&mut S>,
    connection: &Connection,
    end: impl Fn(Pin<&mut S>),
) -> hyper::Result<()>
where
    S: Future<Output = hyper::Result<()>>,
{
    let mut rules = connection.shared.rules.clone();
    let mut stop = connection.shared.stop.clone();
    let mut ends = false;
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            changed = rules.changed() => {
                let now = rules.borrow_and_update().clone();
                if changed.is_err() || !connection.may_stay(&now) {
                    return Ok(());
                }
            }
            _ = stop.wait_for(|stop| *stop), if !ends => {
                ends = true;
                end(serving.as_mut());
            }
            () = connection.ends.notified(), if !ends => {
                ends = true;
                end(serving.as_mut());
            }
        }
    }
}
