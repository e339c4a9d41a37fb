//! Reads and writes WebSocket frames (RFC 6455) as a server: messages are read in pieces and written in fragments.
//!
//! It reads the stream only on request, and between two events stores only what one read returned beyond the first
//! event: at most 4 KiB. One task reads and writes: frames go into a queue, and [`Frames::progress`] writes the queue
//! or reads the next event, whichever is possible.

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::read::Reader;
pub use self::read::{Breach, Event, PIECE};
use self::write::Queue;

/// Slices written at once: headers and payloads of eight frames.
const SLICES: usize = 16;

/// Bytes that are still read after the close frame was written.
const LEAVING: usize = 1 << 20;

/// Why reading has ended.
#[derive(Debug)]
pub enum Fault {
    /// The caller broke the protocol or exceeded the size of a message: close with this code.
    Breach(Breach),
    /// The stream failed, or ended within a frame or message.
    Stream(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// Result of [`Frames::progress`].
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// An event was read, or the caller has ended.
    Read(Option<Event>),
    /// The whole queue was written.
    Written,
}

/// WebSocket frames over a stream.
#[derive(Debug)]
pub struct Frames<S> {
    stream: S,
    reader: Reader,
    /// Bytes that were read and not decoded yet.
    held: Bytes,
    queue: Queue,
    /// Whether bytes were written since the last flush.
    is_dirty: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Starts after the handshake. `read` are bytes that were read with it, `most` is the maximum size of a message in
    /// bytes.
    pub fn new(stream: S, read: Bytes, most: u64) -> Self {
        Self { stream, reader: Reader::new(most), held: read, queue: Queue::default(), is_dirty: false }
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Sets the maximum size of a message in bytes, from the next frame on.
    pub fn set_most(&mut self, most: u64) {
        self.reader.most = most;
    }

    /// With a number, a message may begin only if it is a single frame of fewer bytes. Control frames are read until
    /// another message follows.
    pub fn let_begin(&mut self, fewer_than: Option<u64>) {
        self.reader.begins = fewer_than;
    }

    /// Whether reading waits because the next message may not begin.
    pub fn is_kept(&self) -> bool {
        self.reader.is_kept()
    }

    /// Whether a message has begun and is not complete, even if no byte of it has arrived.
    pub fn is_in_message(&self) -> bool {
        self.reader.is_in_message()
    }

    /// Returns the next event; `None` at the end: after a close, after a fault, or if the stream ended between two
    /// messages. Nothing is lost while this is pending. If a message may not begin, the task is not woken: poll again
    /// after [`Self::let_begin`].
    ///
    /// # Errors
    /// If the caller broke the protocol or the stream failed. After an error there are no events.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Fault>> {
        loop {
            let mut input = &self.held[..];
            let stepped = self.reader.step(&mut input);
            let taken = self.held.len() - input.len();
            // an empty buffer would still hold its memory
            match input.is_empty() {
                true => self.held = Bytes::new(),
                false => self.held.advance(taken),
            }
            if let Some(done) = event(stepped) {
                return Poll::Ready(done);
            }
            if self.reader.is_over() {
                return Poll::Ready(Ok(None));
            }
            if self.reader.is_kept() {
                return Poll::Pending;
            }
            let mut scratch = [const { MaybeUninit::uninit() }; PIECE];
            let mut buffer = ReadBuf::uninit(&mut scratch[..self.reader.wanted()]);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let mut input = buffer.filled();
            if read.is_err() || input.is_empty() {
                let is_within = self.reader.is_within();
                self.reader.end();
                read?;
                return Poll::Ready(match is_within {
                    true => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    false => Ok(None),
                });
            }
            let stepped = self.reader.step(&mut input);
            if !input.is_empty() {
                self.held = Bytes::copy_from_slice(input);
            }
            if let Some(done) = event(stepped) {
                return Poll::Ready(done);
            }
        }
    }

    /// Awaits the next event, like [`Self::poll_event`]. Cancel-safe.
    ///
    /// # Errors
    /// As [`Self::poll_event`].
    pub async fn next(&mut self) -> Result<Option<Event>, Fault> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Queues a whole text message.
    pub fn text(&mut self, payload: Bytes) {
        self.frame([payload], true, true);
    }

    /// Queues a fragment of a text message. The last one may be empty. No other message may begin before the last one.
    pub fn fragment(&mut self, payload: Bytes, is_first: bool, is_last: bool) {
        self.frame([payload], is_first, is_last);
    }

    /// Queues a fragment whose payload has several parts. It is sent as one frame.
    pub fn frame<const N: usize>(&mut self, parts: [Bytes; N], is_first: bool, is_last: bool) {
        self.queue.data(parts, is_first, is_last);
    }

    /// Queues a ping before messages that have not begun. Its payload is cut to 125 bytes.
    pub fn ping(&mut self, payload: Bytes) {
        self.queue.ping(payload);
    }

    /// Queues a pong before frames that have not begun. It replaces a waiting pong: RFC 6455 section 5.5.3 requires an
    /// answer only to the most recent ping, so a flood of pings does not fill the queue.
    pub fn pong(&mut self, payload: Bytes) {
        self.queue.pong(payload);
    }

    /// Queues a close after the frame under way. Drops what waits behind it and everything queued later. Code 1005
    /// sends neither code nor reason. The reason is cut to 123 bytes.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.queue.close(code, reason);
    }

    /// Whether the queue or the stream's buffer has bytes to write.
    pub fn is_writing(&self) -> bool {
        self.is_dirty || !self.queue.is_empty()
    }

    /// Bytes in the queue, headers included.
    pub fn waiting(&self) -> usize {
        self.queue.bytes()
    }

    /// Writes the queue. Ready when everything is written and flushed.
    ///
    /// # Errors
    /// If the stream failed. The queue is empty then.
    pub fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = ready!(self.poll_queue(cx));
        if written.is_err() {
            self.queue.clear();
            self.is_dirty = false;
        }
        Poll::Ready(written)
    }

    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.queue.slices(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.queue.advance(written);
            self.is_dirty = true;
        }
        if self.is_dirty {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes the queue. Cancel-safe: the rest stays in the queue.
    ///
    /// # Errors
    /// As [`Self::poll_written`].
    pub async fn written(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_written(cx)).await
    }

    /// Writes the queue and, if `is_reading`, reads the next event. Ready when either is done. Without anything to do
    /// it stays pending. Cancel-safe.
    ///
    /// # Errors
    /// As [`Self::poll_event`] and [`Self::poll_written`].
    pub fn poll_progress(&mut self, cx: &mut Context<'_>, is_reading: bool) -> Poll<Result<Progress, Fault>> {
        if self.is_writing()
            && let Poll::Ready(written) = self.poll_written(cx)
        {
            return Poll::Ready(written.map(|()| Progress::Written).map_err(Fault::Stream));
        }
        if is_reading { self.poll_event(cx).map_ok(Progress::Read) } else { Poll::Pending }
    }

    /// Awaits [`Self::poll_progress`].
    ///
    /// # Errors
    /// As [`Self::poll_progress`].
    pub async fn progress(&mut self, is_reading: bool) -> Result<Progress, Fault> {
        poll_fn(|cx| self.poll_progress(cx, is_reading)).await
    }

    /// Ends the stream after [`Self::close`]: writes the queue, then reads and discards until the caller has closed as
    /// well. Dropping a stream with unread bytes resets it, and the caller might not see the reason. Has no deadline of
    /// its own.
    ///
    /// # Errors
    /// If the stream failed.
    pub async fn leave(&mut self) -> io::Result<()> {
        self.written().await?;
        let mut left = LEAVING;
        while let Ok(Some(event)) = self.next().await {
            let Event::Piece(piece) = event else { continue };
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
        self.held = Bytes::new();
        while left > 0 {
            let read = poll_fn(|cx| self.poll_thrown_away(cx)).await?;
            left = if read == 0 { 0 } else { left.saturating_sub(read) };
        }
        Ok(())
    }

    fn poll_thrown_away(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = [const { MaybeUninit::uninit() }; PIECE];
        let mut buffer = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

/// Converts a step without an event to `None`.
fn event(stepped: Result<Option<Event>, Breach>) -> Option<Result<Option<Event>, Fault>> {
    stepped.map_err(Fault::Breach).map(|event| event.map(Some)).transpose()
}
