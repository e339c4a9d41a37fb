//! Accepts connections, performs TLS handshakes, serves the connections and closes those that may no longer stay.

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

use super::{
    connection::{Connection, Handshake},
    idle_http::{Answers, Http1},
    server_state::ServerState,
};
use crate::{
    guard::{
        reload::Reloading,
        rpc::{
            audit::record::Transport,
            limits::deadlines::{Bound, Bounded, Bounds, Deadlines},
            serve::connection_slots::ConnectionSlot,
        },
    },
    protocol::policy::Limits,
};

/// Time for requests under way after shutdown begins.
const GRACE: Duration = Duration::from_secs(20);
/// Bytes that TLS buffers for a caller that does not read.
const UNREAD: usize = 16 * 1024;
/// Receive and send buffers of a connection in bytes. The kernel uses twice as much memory for them.
const KERNEL: (u32, u32) = (32 * 1024, 64 * 1024);
/// Concurrent requests of an HTTP/2 connection.
const STREAMS: u32 = 64;
/// Bytes of an answer that HTTP/2 buffers per request for a caller that does not read. They are charged to the budget.
const SENT: usize = 32 * 1024;
/// Unread bytes that a caller may send per HTTP/2 request, and per connection.
const WINDOWS: (u32, u32) = (64 * 1024, 256 * 1024);

/// Listens for callers. Small kernel buffers on both sides limit the guard's memory, which includes them.
///
/// # Errors
/// If the address is taken.
pub fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    crate::listen::bind_with(at, |socket| {
        socket.set_recv_buffer_size(KERNEL.0)?;
        socket.set_send_buffer_size(KERNEL.1)
    })
}

/// Serves until the process is asked to end and the requests under way have ended. Accepts in a separate task: the
/// future that the runtime blocks on has a thread of its own, which would be woken for each connection.
pub async fn serve(listener: TcpListener, tls: Arc<Reloading>, server_state: Arc<ServerState>) {
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, tls, server_state));
    accepting.join_all().await;
}

async fn accept(listener: TcpListener, tls: Arc<Reloading>, server_state: Arc<ServerState>) {
    let mut stop = server_state.stop.clone();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, from)) => {
                // a dual-stack listener reports IPv4 peers as IPv6 addresses
                if let Some(place) = ConnectionSlot::take(&server_state, from.ip().to_canonical()) {
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

async fn connection(stream: TcpStream, tls: Arc<Reloading>, place: ConnectionSlot) {
    let limits = place.server_state().rules().policy.limits.clone();
    let _ = stream.set_nodelay(true);
    let bound = Duration::from_secs(limits.handshake_seconds.into());
    let stream = match timeout(bound, Box::pin(TlsAcceptor::from(tls.current()).accept(stream))).await {
        Ok(Ok(stream)) => stream,
        failed => {
            if failed.is_err() {
                place.server_state().counts.timed_out(Bound::Handshake);
            }
            tls.count_failed_handshake();
            debug!(error = ?failed.err(), "a TLS handshake failed");
            return;
        }
    };
    let mut stream = stream;
    // bytes that a caller does not read are buffered here without a charge
    stream.get_mut().1.set_buffer_limit(Some(UNREAD));
    let (_, session) = stream.get_ref();
    let transport = if session.alpn_protocol() == Some(b"h2") { Transport::Http2 } else { Transport::Http1 };
    let certificates = session.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let deadlines = Deadlines::new(Bounds {
        idle: Duration::from_secs(limits.idle_seconds.into()),
        header: Duration::from_secs(limits.header_seconds.into()),
        // time for the body, for the concurrency slot and for the answer
        request: Duration::from_secs(u64::from(limits.body_seconds) + 2 * u64::from(limits.answer_seconds)),
    });
    let connection = Connection::new(Handshake { place, transport, certificates }, deadlines);
    exchange(stream, connection, &limits).await;
}

/// The stream of a connection.
pub type Stream = Bounded<TlsStream<TcpStream>>;

async fn exchange(stream: TlsStream<TcpStream>, connection: Arc<Connection>, limits: &Limits) {
    let is_http1 = connection.transport == Transport::Http1;
    let stream = Bounded::new(stream, connection.deadlines.clone(), is_http1);
    // each in a box of its own, so that the future does not have the size of both
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
    // one that hyper ended before its first byte counts as ended normally
    if let Some(bound) = connection.deadlines.ended() {
        connection.server_state.counts.timed_out(bound);
    }
    if let Err(error) = ended {
        if error.is_parse() {
            super::http::ledger(&connection).unread(error.is_parse_too_large());
            connection.pays();
        }
        debug!(%error, "a connection ended early");
    }
}

/// Serves until the connection ends or may no longer stay. On shutdown, until the requests under way have ended.
async fn watched<S>(
    mut serving: Pin<&mut S>,
    connection: &Connection,
    end: impl Fn(Pin<&mut S>),
) -> hyper::Result<()>
where
    S: Future<Output = hyper::Result<()>>,
{
    let mut rules = connection.server_state.rules.clone();
    let mut stop = connection.server_state.stop.clone();
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
