//! The client's HTTP listener on loopback: one call at a time over each connection, connections that are kept, and turns.
//!
//! Nothing but a call of our own is ever sent, so what is spoken is the part of HTTP/1.1 that the client's server speaks:
//! a length or chunks, and connections that are used again.

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
use super::account::Account;
use super::refusal::Refusal;
pub use super::turns::Turn;
use super::turns::{Load, Share, Turns};
use crate::policy::Limits;

/// Connections that are kept while nobody uses them.
const KEPT: usize = 64;
/// Bytes of an answer that the kernel keeps for the guard; it takes twice as much for them.
const UNREAD: u32 = 64 * 1024;
/// How long they are kept: half of what the client waits before it ends one, so that none ends as it is used.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The client, as the guard sees it.
pub struct Upstream {
    at: SocketAddr,
    kept: Mutex<Vec<Line>>,
    turns: Turns,
}

/// A connection.
struct Line {
    stream: TcpStream,
    /// What was read and not taken yet.
    read: BytesMut,
    since: Instant,
}

impl Upstream {
    /// The client at an address of loopback.
    #[must_use]
    pub fn new(at: SocketAddr) -> Self {
        Self { at, kept: Mutex::new(Vec::new()), turns: Turns::default() }
    }

    /// Whether it lets somebody connect.
    pub async fn accepts(&self, within: Duration) -> bool {
        matches!(timeout(within, TcpStream::connect(self.at)).await, Ok(Ok(_)))
    }

    /// Calls that wait for a turn, and calls that have one.
    pub fn load(&self) -> (u32, u32) {
        self.turns.load()
    }

    /// The same of each caller that called lately, by its name.
    pub fn loads(&self) -> HashMap<String, Load> {
        self.turns.loads()
    }

    /// A turn at the client, if the caller may have one now.
    #[must_use]
    pub fn turn_now(&self, account: &Arc<Account>, limits: &Limits) -> Option<Turn> {
        self.turns.take_now(account, share(limits))
    }

    /// A turn at the client.
    ///
    /// # Errors
    /// Where too many wait already, or there was none in time.
    pub async fn turn(&self, account: &Arc<Account>, limits: &Limits) -> Result<Turn, Refusal> {
        self.turns.take(account, share(limits)).await
    }

    /// Asks the client over a connection that was kept, if there is one.
    ///
    /// # Errors
    /// Gives the request back where there is none.
    pub fn ask_now(&self, request: [Bytes; 3]) -> Result<Exchange, [Bytes; 3]> {
        match self.kept() {
            Some(line) => Ok(Exchange::new(line, request)),
            None => Err(request),
        }
    }

    /// Asks the client over a new connection; `None` where it takes none. What was sent once is never sent again.
    pub async fn ask(&self, request: [Bytes; 3]) -> Option<Exchange> {
        let stream = dial(self.at).await.ok()?;
        let line = Line { stream, read: BytesMut::new(), since: Instant::now() };
        Some(Exchange::new(line, request))
    }

    fn kept(&self) -> Option<Line> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(line) = kept.pop() {
            // nothing was asked, so there is nothing to read; an end can be read
            let is_quiet = matches!(line.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            if is_quiet && line.since.elapsed() < KEPT_FOR {
                return Some(line);
            }
        }
        None
    }

    /// Keeps the connection of an answer that was read to its end.
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

/// Connects to the client. The kernel keeps little of an answer that is not passed on: that is memory of the guard's too.
///
/// # Errors
/// Where it takes no connection.
pub async fn dial(at: SocketAddr) -> io::Result<TcpStream> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(UNREAD)?;
    let stream = socket.connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn share(limits: &Limits) -> Share {
    Share {
        turns: limits.requests_at_client,
        waiting: limits.requests_waiting,
        patience: Duration::from_secs(limits.answer_seconds.into()),
    }
}
