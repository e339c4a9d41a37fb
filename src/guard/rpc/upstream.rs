//! The client's HTTP listener on loopback: connections that are kept, and turns.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::account::Account;
use super::refusal::Refusal;
use super::turns::{Share, Turns};
use crate::policy::Limits;

/// Connections that are kept while nobody uses them.
const KEPT: usize = 64;

/// The client, as the guard sees it.
pub struct Upstream {
    at: SocketAddr,
    kept: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    turns: Turns,
}

/// A request may be with the client while this is there.
#[derive(Debug)]
pub struct Turn {
    _of_caller: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Why the client gives no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing was sent to it.
    NotAsked(Refusal),
    /// It may have executed what it was asked.
    Asked(Refusal),
}

/// A connection that is being used; it is kept for the next one only if it is given back.
pub struct Line(SendRequest<Full<Bytes>>);

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

    /// Requests that wait for a turn, and requests that have one.
    pub fn load(&self) -> (u32, u32) {
        self.turns.load()
    }

    /// A turn at the client, of the caller's share first.
    ///
    /// # Errors
    /// Where too many wait already, or there was none in time.
    pub async fn turn(&self, account: &Account, limits: &Limits) -> Result<Turn, Refusal> {
        let share = Share {
            turns: limits.requests_at_client,
            waiting: limits.requests_waiting,
            patience: Duration::from_secs(limits.answer_seconds.into()),
        };
        let of_caller = account.turns.take(share.of_one()).await?;
        Ok(Turn { _of_caller: of_caller, _of_all: self.turns.take(share).await? })
    }

    /// Asks the client, over a connection that was kept or a new one. What was sent once is never sent again.
    ///
    /// # Errors
    /// Where it cannot be reached or breaks off.
    pub async fn ask(&self, body: Bytes) -> Result<(Response<Incoming>, Line), Unanswered> {
        let mut request = asked(body);
        while let Some(mut line) = self.kept() {
            if line.ready().await.is_err() {
                continue;
            }
            match line.try_send_request(request).await {
                Ok(answer) => return Ok((answer, Line(line))),
                Err(mut error) => match error.take_message() {
                    // the client had closed it before anything was sent
                    Some(unsent) => request = unsent,
                    None => return Err(Unanswered::Asked(Refusal::client_failed())),
                },
            }
        }
        let unreachable = || Unanswered::NotAsked(Refusal::client_unreachable());
        let mut line = self.dial().await.ok_or_else(unreachable)?;
        let failed = |_| Unanswered::Asked(Refusal::client_failed());
        let answer = line.send_request(request).await.map_err(failed)?;
        Ok((answer, Line(line)))
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(line) = kept.pop() {
            if !line.is_closed() {
                return Some(line);
            }
        }
        None
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn keep(&self, line: Line) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT && !line.0.is_closed() {
            kept.push(line.0);
        }
    }

    async fn dial(&self) -> Option<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.at).await.ok()?;
        let _ = stream.set_nodelay(true);
        let (line, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // it ends when the line is dropped, or when the client ends it
        tokio::spawn(connection);
        Some(line)
    }
}

fn asked(body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = hyper::Method::POST;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}
