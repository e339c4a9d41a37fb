//! Tests of frames over streams that transfer a few bytes at a time, and against another implementation.

mod other;
mod read;
mod write;

use std::cmp::min;

use super::read::unmask;
use super::*;

/// A stream with given input that records its output, `step` bytes at a time.
struct Stream {
    input: Vec<u8>,
    /// Input bytes that were read.
    read: usize,
    output: Vec<u8>,
    /// Maximum number of bytes per read or write.
    step: usize,
    /// Whether the stream is pending once before each step.
    is_slow: bool,
    is_waited_for: bool,
    /// Number of writes and of flushes.
    writes: usize,
    flushes: usize,
    /// Bytes that the stream accepts before it fails.
    takes: usize,
}

impl Stream {
    fn new(input: &[u8], step: usize, is_slow: bool) -> Self {
        let (input, output) = (input.to_vec(), Vec::new());
        Self {
            input,
            read: 0,
            output,
            step,
            is_slow,
            is_waited_for: false,
            writes: 0,
            flushes: 0,
            takes: usize::MAX,
        }
    }

    fn waits(&mut self, cx: &Context<'_>) -> bool {
        self.is_waited_for = self.is_slow && !self.is_waited_for;
        if self.is_waited_for {
            cx.waker().wake_by_ref();
        }
        self.is_waited_for
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        let left = &self.input[self.read..];
        let taken = min(left.len(), min(self.step, buffer.remaining()));
        buffer.put_slice(&left[..taken]);
        self.read += taken;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        if self.takes <= self.output.len() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = min(bytes.len(), self.step);
        self.output.extend_from_slice(&bytes[..taken]);
        self.writes += 1;
        Poll::Ready(Ok(taken))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(self.step).collect();
        self.as_mut().poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waits(cx) {
            return Poll::Pending;
        }
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A masked frame with the shortest length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x5a, payload.len() as u8, 0xc3, first];
    let mut frame = head(first, payload.len());
    frame.extend(mask);
    let mut payload = payload.to_vec();
    unmask(&mut payload, mask);
    frame.extend(payload);
    frame
}

/// Header of such a frame without the mask.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..0x1_0000 => {
            head.push(0x80 | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend((length as u64).to_be_bytes());
        }
    }
    head
}

/// What was read: joined pieces, events, and how it ended.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Bytes(Vec<u8>),
    Event(Event),
    End,
    Breach(u16),
    Failed(io::ErrorKind),
}

impl Seen {
    fn of(seen: Result<Option<Event>, Fault>) -> Self {
        match seen {
            Ok(Some(Event::Piece(piece))) => Self::Bytes(piece.to_vec()),
            Ok(Some(event)) => Self::Event(event),
            Ok(None) => Self::End,
            Err(Fault::Breach(breach)) => Self::Breach(breach.code),
            Err(Fault::Stream(error)) => Self::Failed(error.kind()),
        }
    }

    fn is_last(&self) -> bool {
        matches!(self, Self::End | Self::Breach(_) | Self::Failed(_))
    }
}

/// Appends what was seen, joining adjacent bytes.
fn put(all: &mut Vec<Seen>, seen: Seen) {
    match (all.last_mut(), seen) {
        (Some(Seen::Bytes(bytes)), Seen::Bytes(more)) => bytes.extend(more),
        (_, seen) => all.push(seen),
    }
}

/// Reads a stream to its end. Whenever it is pending, the future is dropped and created again.
fn seen(stream: Stream, most: u64) -> Vec<Seen> {
    let (mut frames, mut all) = (Frames::new(stream, Bytes::new(), most), Vec::new());
    loop {
        let polled = once(frames.next());
        if let Poll::Ready(one) = polled {
            let one = Seen::of(one);
            if let Seen::Bytes(piece) = &one {
                assert!((1..=PIECE).contains(&piece.len()), "{} bytes", piece.len());
            }
            let is_last = one.is_last();
            put(&mut all, one);
            if is_last {
                assert_eq!(once(frames.next()).map(Seen::of), Poll::Ready(Seen::End), "after the end");
                assert!(!frames.is_in_message() && frames.held.is_empty());
                return all;
            }
        }
    }
}

/// Polls a future once and drops it.
fn once<T>(future: impl Future<Output = T>) -> Poll<T> {
    let mut future = std::pin::pin!(future);
    future.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()))
}
