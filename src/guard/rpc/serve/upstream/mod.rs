//! The client's HTTP listener on loopback: one call at a time per connection, a pool of idle connections, and
//! concurrency slots.
//!
//! It sends only requests that the guard built itself, so it implements only the part of HTTP/1.1 that the client's
//! server uses: bodies with a length or in chunks, and persistent connections.

mod chunks;
mod exchange;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use hyper::body::Bytes;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

pub use self::exchange::{Exchange, Fault};
pub use crate::guard::rpc::limits::concurrency::ConcurrencySlot;
use crate::{
    guard::rpc::{
        decide::rejection::Rejection,
        limits::{
            caller_state::CallerState,
            concurrency::{ConcurrencyLimit, Load, Share},
        },
    },
    protocol::policy::Limits,
};

/// Maximum number of idle connections in the pool.
const KEPT: usize = 64;
/// Receive buffer for answers in bytes. The kernel uses twice as much memory for it.
const UNREAD: u32 = 64 * 1024;
/// Time in the pool: half of the client's idle timeout, so that the client does not close a connection as it is used.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The client as seen by the guard.
pub struct Upstream {
    at: SocketAddr,
    kept: Mutex<Vec<Line>>,
    turns: ConcurrencyLimit,
}

/// A connection.
struct Line {
    stream: TcpStream,
    /// Bytes that were read and not consumed yet.
    read: BytesMut,
    since: Instant,
}

impl Upstream {
    /// Creates the upstream of a client at a loopback address.
    #[must_use]
    pub fn new(at: SocketAddr) -> Self {
        Self { at, kept: Mutex::new(Vec::new()), turns: ConcurrencyLimit::default() }
    }

    /// Whether the client accepts a connection.
    pub async fn accepts(&self, within: Duration) -> bool {
        matches!(timeout(within, TcpStream::connect(self.at)).await, Ok(Ok(_)))
    }

    /// Returns the number of calls that wait for a concurrency slot, and of those that hold one.
    pub fn load(&self) -> (u32, u32) {
        self.turns.load()
    }

    /// Returns the load of each caller that called lately, by name.
    pub fn loads(&self) -> HashMap<String, Load> {
        self.turns.loads()
    }

    /// Takes a concurrency slot if the caller may have one now.
    #[must_use]
    pub fn turn_now(&self, account: &Arc<CallerState>, limits: &Limits) -> Option<ConcurrencySlot> {
        self.turns.take_now(account, share(limits))
    }

    /// Waits for a concurrency slot.
    ///
    /// # Errors
    /// If too many calls wait already, or no slot became free in time.
    pub async fn turn(
        &self,
        account: &Arc<CallerState>,
        limits: &Limits,
    ) -> Result<ConcurrencySlot, Rejection> {
        self.turns.take(account, share(limits)).await
    }

    /// Sends a request over an idle connection.
    ///
    /// # Errors
    /// Returns the request if there is no idle connection.
    pub fn ask_now(&self, request: [Bytes; 3]) -> Result<Exchange, [Bytes; 3]> {
        match self.kept() {
            Some(line) => Ok(Exchange::new(line, request)),
            None => Err(request),
        }
    }

    /// Sends a request over a new connection; `None` if the client accepts none. A request that was sent is never sent
    /// again.
    pub async fn ask(&self, request: [Bytes; 3]) -> Option<Exchange> {
        let stream = dial(self.at).await.ok()?;
        let line = Line { stream, read: BytesMut::new(), since: Instant::now() };
        Some(Exchange::new(line, request))
    }

    fn kept(&self) -> Option<Line> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(line) = kept.pop() {
            // no request was sent, so readable means that the client has closed the connection
            let is_quiet = matches!(line.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if is_quiet && line.since.elapsed() < KEPT_FOR {
                return Some(line);
            }
        }
        None
    }

    /// Returns the connection to the pool, if its answer was read to the end.
    pub fn keep(&self, exchange: Exchange) {
        let Some(mut line) = exchange.into_line() else { return };
        line.since = Instant::now();
        if line.read.capacity() > exchange::PIECE / 4 {
            line.read = BytesMut::new();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(line);
        }
    }
}

/// Connects to the client with a small receive buffer, because answers in it count as the guard's memory.
///
/// # Errors
/// If the client accepts no connection.
pub async fn dial(at: SocketAddr) -> io::Result<TcpStream> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(UNREAD)?;
    let stream = socket.connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn share(limits: &Limits) -> Share {
    Share {
        slots: limits.requests_at_client,
        waiting: limits.requests_waiting,
        deadlines: Duration::from_secs(limits.answer_seconds.into()),
    }
}
