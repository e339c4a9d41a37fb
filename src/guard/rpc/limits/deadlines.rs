//! Deadlines of a connection for handshake, header, request, idle time and identity. hyper limits neither idle time nor
//! writing.
//!
//! Each connection has one timer, which is reset only if it fired too early or would fire too late.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Maximum delay until an exceeded deadline is noticed.
const LATE: Duration = Duration::from_secs(5);

/// Idle time after which an HTTP/1.1 connection releases its buffers. It is short, so that during a burst of
/// connections new ones reuse the memory of earlier ones.
const RESTS: Duration = Duration::from_millis(250);

/// Maximum lifetime of a connection without a known caller.
const UNKNOWN: Duration = Duration::from_secs(60);

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time between two requests.
    pub idle: Duration,
    /// Time from the first byte of a request's header to the last.
    pub header: Duration,
    /// Time from there to the last byte of the answer.
    pub request: Duration,
}

/// A deadline that a connection can exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The TLS handshake.
    Handshake,
    /// A request's header.
    Header,
    /// No request.
    Idle,
    /// A request with its answer.
    Request,
    /// The token or certificate expired, or the caller was not known in time.
    Identity,
}

impl Bound {
    /// All deadlines in the order of their values.
    pub const ALL: [Self; 5] = [Self::Handshake, Self::Header, Self::Idle, Self::Request, Self::Identity];

    /// Value of the metric label `bound`.
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

/// Current activity of a connection.
#[derive(Clone, Debug)]
struct Doing {
    /// Start of each request that is not answered yet.
    requests: Vec<Instant>,
    /// Last time at which a request ended, or when the connection began.
    idle: Instant,
    /// Start of a header that is not complete yet.
    header: Option<Instant>,
    /// Expiry of the caller's token or certificate; `None` while the caller is not known.
    known: Option<Instant>,
    /// Whether another component limits the connection now.
    released: bool,
    /// The deadline that was exceeded.
    ended: Option<Bound>,
}

/// Deadlines of one connection.
#[derive(Debug)]
pub struct Deadlines {
    bounds: Bounds,
    began: Instant,
    doing: Mutex<Doing>,
    /// Whether written bytes may not be flushed yet.
    is_unsent: AtomicBool,
}

impl Deadlines {
    /// Starts as idle.
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

    /// Starts a request. It ends when the returned value is dropped.
    pub fn begin(self: &Arc<Self>) -> Busy {
        let now = Instant::now();
        let mut doing = self.doing();
        doing.header = None;
        doing.requests.push(now);
        Busy { deadlines: self.clone(), since: now }
    }

    /// Sets the expiry of the caller's identity. Afterwards the connection ends as soon as no request is under way.
    pub fn known_until(&self, until: Instant) {
        self.doing().known = Some(until);
    }

    /// Stops all deadlines; another component limits the connection from now on.
    pub fn release(&self) {
        self.doing().released = true;
    }

    /// Whether the connection has been idle for a while and everything written is flushed.
    #[must_use]
    pub fn rests(&self) -> bool {
        let doing = self.doing();
        let is_quiet = doing.requests.is_empty() && doing.header.is_none() && !doing.released;
        is_quiet && doing.idle.elapsed() >= RESTS && !self.is_unsent.load(Ordering::Relaxed)
    }

    /// Whether a header has begun.
    #[cfg(test)]
    pub(crate) fn hears(&self) -> bool {
        self.doing().header.is_some()
    }

    fn heard(&self) {
        let mut doing = self.doing();
        if doing.requests.is_empty() && doing.header.is_none() {
            doing.header = Some(Instant::now());
        }
    }

    /// Returns the deadline that ended the connection, if one did.
    #[must_use]
    pub fn ended(&self) -> Option<Bound> {
        self.doing().ended
    }

    /// Returns the next deadline and what it limits. Over HTTP/1.1 it is known whether the last answer is flushed.
    fn due(&self, is_http1: bool) -> Option<(Instant, Bound)> {
        let doing = self.doing();
        if doing.released {
            return None;
        }
        if let Some(oldest) = doing.requests.iter().min() {
            return Some((*oldest + self.bounds.request, Bound::Request));
        }
        // without a known caller the connection gets only the header's time to idle
        let idle = if doing.known.is_some() { self.bounds.idle } else { self.bounds.header };
        let due = match doing.header {
            Some(since) => (since + self.bounds.header, Bound::Header),
            None => (doing.idle + idle, Bound::Idle),
        };
        // and a limited lifetime, even if it sends requests that need no caller
        let due = match doing.known {
            None if self.began + UNKNOWN < due.0 => (self.began + UNKNOWN, Bound::Identity),
            _ => due,
        };
        // wait until the last answer is flushed
        let is_out = is_http1 && !self.is_unsent.load(Ordering::Relaxed);
        let last = doing.idle + if is_out { RESTS } else { self.bounds.header };
        let known = doing.known.map(|known| known.max(last)).filter(|known| *known < due.0);
        Some(known.map_or(due, |known| (known, Bound::Identity)))
    }
}

/// A request under way. Dropping it ends the request.
#[derive(Debug)]
pub struct Busy {
    deadlines: Arc<Deadlines>,
    since: Instant,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut doing = self.deadlines.doing();
        if let Some(at) = doing.requests.iter().position(|since| *since == self.since) {
            doing.requests.swap_remove(at);
        }
        doing.idle = Instant::now();
    }
}

/// Whether the bytes contain nothing but empty lines.
#[must_use]
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// A stream that fails when a deadline is exceeded.
pub struct Bounded<S> {
    stream: S,
    deadlines: Arc<Deadlines>,
    timer: Pin<Box<Sleep>>,
    /// Whether bytes outside a request begin a header. True for HTTP/1.1.
    hears: bool,
    /// Bytes to return before those of the stream.
    before: Bytes,
}

impl<S> Bounded<S> {
    /// Applies deadlines to a stream.
    pub fn new(stream: S, deadlines: Arc<Deadlines>, hears: bool) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + deadlines.bounds.header));
        Self { stream, deadlines, timer, hears, before: Bytes::new() }
    }

    /// Sets bytes to return first, because another reader has taken them from the stream.
    pub fn read_first(&mut self, before: Bytes) {
        self.before = before;
    }

    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Fails if a deadline is exceeded. Otherwise wakes the task at the deadline, and at least every `late`.
    fn check(&mut self, cx: &mut Context<'_>, late: Duration) -> io::Result<()> {
        loop {
            let Some((due, bound)) = self.deadlines.due(self.hears) else { return Ok(()) };
            if due <= Instant::now() {
                self.deadlines.doing().ended = Some(bound);
                return Err(io::ErrorKind::TimedOut.into());
            }
            // the activity can change without a poll of this stream
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
    /// Waits until the stream has bytes to read or has ended.
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
            // RFC 9112 section 2.2: empty lines before a request are ignored
            if this.hears && !is_blank(&buf.filled()[before..]) {
                this.deadlines.heard();
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
        this.deadlines.is_unsent.store(true, Ordering::Relaxed);
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
        this.deadlines.is_unsent.store(true, Ordering::Relaxed);
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
            this.deadlines.is_unsent.store(done.is_err(), Ordering::Relaxed);
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
