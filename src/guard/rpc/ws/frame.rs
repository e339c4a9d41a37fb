//! WebSocket frames (RFC 6455) over a stream, as the server: a message is read in pieces and written in fragments.
//!
//! Nothing is read of the stream unless an event is asked for, and nothing is kept between two events but what one
//! read brought beyond the first of them: at most 4 KiB. One task reads and writes at once: frames are put into a
//! queue, and [`Frames::progress`] writes the queue and reads the next event, whichever can be done.

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

/// Slices that are written at once: headers and payloads of eight frames.
const SLICES: usize = 16;

/// Bytes that are still read of a caller to whom the end was told.
const LEAVING: usize = 1 << 20;

/// Why nothing more can be read.
#[derive(Debug)]
pub enum Fault {
    /// The caller has broken the protocol, or the bound of a message: close with the code.
    Breach(Breach),
    /// The stream has failed, or has ended within a frame or a message.
    Stream(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Stream(error)
    }
}

/// What [`Frames::progress`] has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something was read, or the caller has ended.
    Read(Option<Event>),
    /// Everything in the queue was written.
    Written,
}

/// A stream of frames. The bytes of one caller come in, and frames for it go out.
#[derive(Debug)]
pub struct Frames<S> {
    stream: S,
    reader: Reader,
    /// What was read and is not decoded yet.
    held: Bytes,
    queue: Queue,
    /// Whether something was written since the last flush.
    is_dirty: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Frames over a stream whose handshake is done, and what was read of it with that; a message has at most this many
    /// bytes.
    pub fn new(stream: S, read: Bytes, most: u64) -> Self {
        Self { stream, reader: Reader::new(most), held: read, queue: Queue::default(), is_dirty: false }
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// A message has at most this many bytes, from the next frame on.
    pub fn set_most(&mut self, most: u64) {
        self.reader.most = most;
    }

    /// While there is a number, a message begins only if it is one frame of fewer bytes; control frames are read on
    /// until another one follows.
    pub fn let_begin(&mut self, fewer_than: Option<u64>) {
        self.reader.begins = fewer_than;
    }

    /// Whether nothing is read, since a message may not begin.
    pub fn is_kept(&self) -> bool {
        self.reader.is_kept()
    }

    /// Whether a message has begun and is not complete; it may have brought no byte yet.
    pub fn is_in_message(&self) -> bool {
        self.reader.is_in_message()
    }

    /// The next event, or none at the end: after a close, after a fault, or where the stream has ended between two
    /// messages. What was read stays here while this is pending, such as where a message is kept from beginning: then
    /// whoever lets it begin asks again.
    ///
    /// # Errors
    /// What the caller did wrong, or the stream; after that there is the end.
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

    /// The next event, as [`Self::poll_event`] has it. It may be dropped at any time: nothing is lost.
    ///
    /// # Errors
    /// As there.
    pub async fn next(&mut self) -> Result<Option<Event>, Fault> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// Puts a whole text message into the queue.
    pub fn text(&mut self, payload: Bytes) {
        self.frame([payload], true, true);
    }

    /// Puts a fragment of a text message into the queue; the last may be empty. No other message begins before it.
    pub fn fragment(&mut self, payload: Bytes, is_first: bool, is_last: bool) {
        self.frame([payload], is_first, is_last);
    }

    /// Puts a fragment into the queue whose payload lies in several places; it leaves as one frame.
    pub fn frame<const N: usize>(&mut self, parts: [Bytes; N], is_first: bool, is_last: bool) {
        self.queue.data(parts, is_first, is_last);
    }

    /// Puts a ping into the queue, before messages that have not begun; at most 125 bytes of it are sent.
    pub fn ping(&mut self, payload: Bytes) {
        self.queue.ping(payload);
    }

    /// Answers a ping, before frames that have not begun. It takes the place of another that waits: RFC 6455
    /// section 5.5.3 wants the most recent ping answered, so a flood of them does not gather here.
    pub fn pong(&mut self, payload: Bytes) {
        self.queue.pong(payload);
    }

    /// Closes once the frame under way is written. What waits behind it is dropped, and so is all that comes later.
    /// Code 1005 sends neither code nor reason; at most 123 bytes of a reason are sent.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.queue.close(code, reason);
    }

    /// Whether something waits to be written.
    pub fn is_writing(&self) -> bool {
        self.is_dirty || !self.queue.is_empty()
    }

    /// Bytes that wait to be written, headers included.
    pub fn waiting(&self) -> usize {
        self.queue.bytes()
    }

    /// Writes what is in the queue; ready when everything is written and flushed, also where there was nothing.
    ///
    /// # Errors
    /// Where the stream has failed; the queue is emptied then.
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

    /// Writes what is in the queue. It may be dropped at any time: the rest stays in the queue.
    ///
    /// # Errors
    /// As [`Self::poll_written`].
    pub async fn written(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_written(cx)).await
    }

    /// Writes what is in the queue and, if asked to, reads the next event: the first of both that is done. Without
    /// anything to do it waits for ever. It may be dropped at any time: nothing is lost.
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

    /// [`Self::poll_progress`], awaited.
    ///
    /// # Errors
    /// As there.
    pub async fn progress(&mut self, is_reading: bool) -> Result<Progress, Fault> {
        poll_fn(|cx| self.poll_progress(cx, is_reading)).await
    }

    /// Ends the stream after [`Self::close`]: writes what waits, reads until the caller has closed as well, and
    /// throws that away. A stream that is dropped with bytes unread is reset, and the caller may never see why.
    /// Nothing here bounds the time.
    ///
    /// # Errors
    /// Where the stream has failed.
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

/// What is given, where there is something to give.
fn event(stepped: Result<Option<Event>, Breach>) -> Option<Result<Option<Event>, Fault>> {
    stepped.map_err(Fault::Breach).map(|event| event.map(Some)).transpose()
}
