//! How long a connection may do what it is doing. hyper bounds neither idling nor writing.
//!
//! One timer per connection, set anew only when it has fired too early or would fire too late.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How late it may be noticed that it has been too long.
const LATE: Duration = Duration::from_secs(5);

/// Silence after which a connection of HTTP/1.1 rests, so that it keeps no buffers: not long, so that of many that connect
/// the next has what the last ones gave back.
const RESTS: Duration = Duration::from_millis(250);

/// How long a connection lives of which nobody is known.
const UNKNOWN: Duration = Duration::from_secs(60);

/// How long for what.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Between two requests.
    pub idle: Duration,
    /// From the first byte of a request's header to its last.
    pub header: Duration,
    /// From there to the last byte of the answer.
    pub request: Duration,
}

/// What may take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A handshake of TLS.
    Handshake,
    /// A request's header.
    Header,
    /// Saying nothing.
    Idle,
    /// A request, its answer included.
    Request,
    /// Being known: the token or the certificate has ended.
    Identity,
}

impl Bound {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Handshake, Self::Header, Self::Idle, Self::Request, Self::Identity];

    /// As metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Header => "header",
            Self::Idle => "idle",
            Self::Request => "request",
            Self::Identity => "identity",
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Debug)]
struct Doing {
    /// When each request began that is not answered yet.
    requests: Vec<Instant>,
    /// When it last had none.
    idle: Instant,
    /// When a header began that is not there yet.
    header: Option<Instant>,
    /// When whoever is at the other end is known no longer.
    known: Option<Instant>,
    /// It is bounded elsewhere.
    released: bool,
    /// What has taken too long.
    ended: Option<Bound>,
}

/// How long a connection may do what it is doing.
#[derive(Debug)]
pub struct Patience {
    bounds: Bounds,
    began: Instant,
    doing: Mutex<Doing>,
    /// Whether something was written and may not be out yet.
    is_unsent: AtomicBool,
}

impl Patience {
    /// Begins idle.
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        let (requests, idle) = (Vec::new(), Instant::now());
        let doing = Doing { requests, idle, header: None, known: None, released: false, ended: None };
        let (doing, is_unsent) = (Mutex::new(doing), AtomicBool::new(false));
        Arc::new(Self { bounds, began: Instant::now(), doing, is_unsent })
    }

    fn doing(&self) -> std::sync::MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins; it ends when what is given is dropped.
    pub fn begin(self: &Arc<Self>) -> Busy {
        let now = Instant::now();
        let mut doing = self.doing();
        doing.header = None;
        doing.requests.push(now);
        Busy { patience: self.clone(), since: now }
    }

    /// Whoever is at the other end is known until then; later the connection ends when no request is under way.
    pub fn known_until(&self, until: Instant) {
        self.doing().known = Some(until);
    }

    /// From now on somebody else sees to it.
    pub fn release(&self) {
        self.doing().released = true;
    }

    /// Whether for a while nothing was under way nor begun, and everything that was written is out.
    #[must_use]
    pub fn rests(&self) -> bool {
        let doing = self.doing();
        let is_quiet = doing.requests.is_empty() && doing.header.is_none() && !doing.released;
        is_quiet && doing.idle.elapsed() >= RESTS && !self.is_unsent.load(Ordering::Relaxed)
    }

    /// Whether a header has begun.
    #[cfg(test)]
    pub(super) fn hears(&self) -> bool {
        self.doing().header.is_some()
    }

    fn heard(&self) {
        let mut doing = self.doing();
        if doing.requests.is_empty() && doing.header.is_none() {
            doing.header = Some(Instant::now());
        }
    }

    /// What has taken too long, where it has ended by that.
    #[must_use]
    pub fn ended(&self) -> Option<Bound> {
        self.doing().ended
    }

    /// When it has been too long, and for what. Of HTTP/1.1 it is known whether the last answer is out.
    fn due(&self, is_http1: bool) -> Option<(Instant, Bound)> {
        let doing = self.doing();
        if doing.released {
            return None;
        }
        if let Some(oldest) = doing.requests.iter().min() {
            return Some((*oldest + self.bounds.request, Bound::Request));
        }
        // whoever is not known is given no time to idle
        let idle = if doing.known.is_some() { self.bounds.idle } else { self.bounds.header };
        let due = match doing.header {
            Some(since) => (since + self.bounds.header, Bound::Header),
            None => (doing.idle + idle, Bound::Idle),
        };
        // nor to live on requests that need no name
        let due = match doing.known {
            None if self.began + UNKNOWN < due.0 => (self.began + UNKNOWN, Bound::Identity),
            _ => due,
        };
        // the last answer may not be out yet
        let is_out = is_http1 && !self.is_unsent.load(Ordering::Relaxed);
        let last = doing.idle + if is_out { RESTS } else { self.bounds.header };
        let known = doing.known.map(|known| known.max(last)).filter(|known| *known < due.0);
        Some(known.map_or(due, |known| (known, Bound::Identity)))
    }
}

/// A request is under way while this is there.
#[derive(Debug)]
pub struct Busy {
    patience: Arc<Patience>,
    since: Instant,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut doing = self.patience.doing();
        if let Some(at) = doing.requests.iter().position(|since| *since == self.since) {
            doing.requests.swap_remove(at);
        }
        doing.idle = Instant::now();
    }
}

/// Whether bytes are empty lines and nothing else.
#[must_use]
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// A stream that fails when it has been too long.
pub struct Bounded<S> {
    stream: S,
    patience: Arc<Patience>,
    timer: Pin<Box<Sleep>>,
    /// Whether bytes outside a request are a header's beginning, as in HTTP/1.1 they are.
    hears: bool,
    /// Read before anything else.
    before: Bytes,
}

impl<S> Bounded<S> {
    /// Bounds a stream.
    pub fn new(stream: S, patience: Arc<Patience>, hears: bool) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + patience.bounds.header));
        Self { stream, patience, timer, hears, before: Bytes::new() }
    }

    /// Has these bytes read first, which were read already.
    pub fn read_first(&mut self, before: Bytes) {
        self.before = before;
    }

    /// What is bounded.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Whether it has been too long; wakes the task when it will have been, and so often besides.
    fn check(&mut self, cx: &mut Context<'_>, late: Duration) -> io::Result<()> {
        loop {
            let Some((due, bound)) = self.patience.due(self.hears) else { return Ok(()) };
            if due <= Instant::now() {
                self.patience.doing().ended = Some(bound);
                return Err(io::ErrorKind::TimedOut.into());
            }
            // what it is doing may change without a word here
            let look = due.min(Instant::now() + late);
            if look < self.timer.deadline() {
                self.timer.as_mut().reset(look);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.timer.as_mut().reset(look);
        }
    }
}

impl<S: AsyncBufRead + Unpin> Bounded<S> {
    /// Waits until there is something to read, or the end.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_fill_buf(cx) {
            return Poll::Ready(done.map(|_| ()));
        }
        match self.check(cx, LATE) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = if this.before.is_empty() {
            Pin::new(&mut this.stream).poll_read(cx, buf)
        } else {
            buf.put_slice(&this.before.split_to(this.before.len().min(buf.remaining())));
            Poll::Ready(Ok(()))
        };
        if let Poll::Ready(done) = polled {
            // RFC 9112 section 2.2: empty lines before a request are none
            if this.hears && !is_blank(&buf.filled()[before..]) {
                this.patience.heard();
            }
            return Poll::Ready(done);
        }
        match this.check(cx, if this.hears { RESTS } else { LATE }) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.patience.is_unsent.store(true, Ordering::Relaxed);
        if let Poll::Ready(done) = Pin::new(&mut this.stream).poll_write(cx, buf) {
            return Poll::Ready(done);
        }
        match this.check(cx, LATE) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.patience.is_unsent.store(true, Ordering::Relaxed);
        if let Poll::Ready(done) = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs) {
            return Poll::Ready(done);
        }
        match this.check(cx, LATE) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(done) = Pin::new(&mut this.stream).poll_flush(cx) {
            this.patience.is_unsent.store(done.is_err(), Ordering::Relaxed);
            return Poll::Ready(done);
        }
        this.check(cx, LATE)?;
        Poll::Pending
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(done) = Pin::new(&mut this.stream).poll_shutdown(cx) {
            return Poll::Ready(done);
        }
        this.check(cx, LATE)?;
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
