//! Sends a request to the client and reads its answer as it arrives, over one connection.

use std::future::Future as _;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::Line;
use super::chunks::{Chunks, Step};

/// Maximum number of bytes of a piece of an answer.
pub const PIECE: usize = 16 * 1024;
/// Maximum size of an answer's header in bytes.
const HEAD: usize = 16 * 1024;
/// Pieces below this size are copied, so that they do not hold a buffer of [`PIECE`] bytes.
const SMALL: usize = 4096;

/// How the client failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It closed the connection early, or did not answer in HTTP.
    Broken,
    /// It answered with another status than 200.
    Status(u16),
}

/// A request under way, or its answer.
pub struct Exchange {
    line: Line,
    /// Bytes still to be written.
    request: [Bytes; 3],
    stage: Stage,
    /// Whether the client closes the connection after the answer.
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Request,
    Head,
    Sized(u64),
    Chunked(Chunks),
    Ended,
}

impl Exchange {
    /// Starts with a request of three parts.
    #[must_use]
    pub(super) fn new(line: Line, request: [Bytes; 3]) -> Self {
        Self { line, request, stage: Stage::Request, closes: false }
    }

    /// Whether the whole answer was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Returns the connection if it can be used again.
    #[must_use]
    pub(super) fn into_line(self) -> Option<Line> {
        let is_clean = self.stage == Stage::Ended && !self.closes && self.line.read.is_empty();
        is_clean.then_some(self.line)
    }

    /// Writes the request and reads the answer's header.
    ///
    /// # Errors
    /// If the client does not answer with 200.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.stage == Stage::Request {
            ready!(self.poll_write(cx))?;
            self.stage = Stage::Head;
        }
        while self.stage == Stage::Head {
            if !self.head()? {
                ready!(self.poll_fill(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while let Some(first) = self.request.iter().position(|part| !part.is_empty()) {
            let parts = &self.request[first..];
            let slices: [IoSlice<'_>; 3] =
                std::array::from_fn(|at| IoSlice::new(parts.get(at).map_or(&[], |part| part)));
            let wrote = Pin::new(&mut self.line.stream).poll_write_vectored(cx, &slices);
            let mut wrote = ready!(wrote).map_err(|_| Fault::Broken)?;
            if wrote == 0 {
                return Poll::Ready(Err(Fault::Broken));
            }
            for part in &mut self.request {
                let size = wrote.min(part.len());
                part.advance(size);
                wrote -= size;
            }
        }
        // params hold the caller's body in memory
        self.request = Default::default();
        Poll::Ready(Ok(()))
    }

    /// Reads at least one byte.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Line { stream, read, .. } = &mut self.line;
        // bytes consumed at the front are free space, which `reserve` reclaims
        if read.capacity() - read.len() < SMALL / 2 {
            read.reserve(if self.stage == Stage::Head { SMALL } else { PIECE });
        }
        match ready!(pin!(stream.read_buf(read)).poll(cx)) {
            Ok(1..) => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(Fault::Broken)),
        }
    }

    /// Parses the header. Returns false if it is not complete.
    fn head(&mut self) -> Result<bool, Fault> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let size = match head.parse(&self.line.read) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) if self.line.read.len() < HEAD => return Ok(false),
            _ => return Err(Fault::Broken),
        };
        match head.code {
            Some(200) => {}
            Some(status) => return Err(Fault::Status(status)),
            None => return Err(Fault::Broken),
        }
        let (mut length, mut is_chunked) = (None, false);
        for header in &*head.headers {
            let is = |value: &str| header.value.eq_ignore_ascii_case(value.as_bytes());
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
                length = Some(digits.ok_or(Fault::Broken)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = is("chunked");
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.closes = is("close");
            }
        }
        self.stage = match (length, is_chunked) {
            (None, true) => Stage::Chunked(Chunks::Size),
            (Some(0), false) => Stage::Ended,
            (Some(length), false) => Stage::Sized(length),
            _ => return Err(Fault::Broken),
        };
        self.line.read.advance(size);
        Ok(true)
    }

    /// Returns the number of bytes still to come, if the header gives a length.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.stage {
            Stage::Sized(left) => Some(left),
            Stage::Ended => Some(0),
            _ => None,
        }
    }

    /// Returns the next piece of the answer, at most 16 KiB; `None` at the end. Must be called after
    /// [`Self::poll_head`] is ready.
    ///
    /// # Errors
    /// If the client breaks off.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        match ready!(self.poll_take(cx)) {
            Ok(0) => Poll::Ready(None),
            Ok(size) => {
                let read = &mut self.line.read;
                let piece = if size < SMALL {
                    let piece = Bytes::copy_from_slice(&read[..size]);
                    read.advance(size);
                    piece
                } else {
                    read.split_to(size).freeze()
                };
                self.pass_end();
                Poll::Ready(Some(Ok(piece)))
            }
            Err(fault) => Poll::Ready(Some(Err(fault))),
        }
    }

    /// Discards the rest of the answer.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        ready!(self.poll_head(cx))?;
        loop {
            match ready!(self.poll_take(cx))? {
                0 => return Poll::Ready(Ok(())),
                size => self.line.read.advance(size),
            }
        }
    }

    /// Returns how many of the bytes read belong to the body; 0 at the end. The caller must consume them.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Fault>> {
        loop {
            let there = self.line.read.len();
            match &mut self.stage {
                Stage::Ended => return Poll::Ready(Ok(0)),
                Stage::Request | Stage::Head => return Poll::Ready(Err(Fault::Broken)),
                Stage::Sized(left) if there > 0 => {
                    let size = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
                    *left -= size as u64;
                    if *left == 0 {
                        self.stage = Stage::Ended;
                    }
                    return Poll::Ready(Ok(size));
                }
                Stage::Sized(_) => {}
                Stage::Chunked(chunks) => match chunks.step(&self.line.read)? {
                    Step::Skip(size) => {
                        self.line.read.advance(size);
                        continue;
                    }
                    Step::Take(size) => return Poll::Ready(Ok(size)),
                    Step::More => {}
                    Step::End => {
                        self.stage = Stage::Ended;
                        continue;
                    }
                },
            }
            ready!(self.poll_fill(cx))?;
        }
    }

    /// Consumes the end of a chunked body if it was read with the last bytes, so that [`Self::has_ended`] is known at
    /// once.
    fn pass_end(&mut self) {
        while let Stage::Chunked(chunks) = &mut self.stage {
            if matches!(chunks, Chunks::Data(_)) {
                return;
            }
            let mut ahead = *chunks;
            match ahead.step(&self.line.read) {
                Ok(Step::Skip(size)) if !matches!(ahead, Chunks::Data(_)) => {
                    *chunks = ahead;
                    self.line.read.advance(size);
                }
                Ok(Step::End) => self.stage = Stage::Ended,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::Upstream;
    use super::*;

    /// Returns what `Exchange` reads from a server that sends a text in pieces of a size, and whether the connection
    /// can be used again.
    async fn answered(text: &str, step: usize) -> (Vec<u8>, Result<(), Fault>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream::new(listener.local_addr().unwrap());
        let text = text.to_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in text.as_bytes().chunks(step) {
                stream.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            stream
        });
        let request = [Bytes::from_static(b"POST / HTTP/1.1\r\n\r\n"), Bytes::new(), Bytes::new()];
        let mut exchange = upstream.ask(request).await.unwrap();
        let mut body = Vec::new();
        let end = async {
            std::future::poll_fn(|cx| exchange.poll_head(cx)).await?;
            while let Some(piece) = std::future::poll_fn(|cx| exchange.poll_piece(cx)).await {
                body.extend_from_slice(&piece?);
            }
            Ok(())
        };
        // the server closes the connection after the text
        let end = tokio::select! {
            end = end => end,
            () = async { drop(server.await); std::future::pending().await } => unreachable!("it never ends"),
        };
        (body, end, exchange.into_line().is_some())
    }

    #[tokio::test]
    async fn an_answer_is_the_same_however_it_comes() {
        let sized =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\nhello world";
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        for text in [sized, chunked] {
            for step in [1, 2, 7, 50, 1000] {
                assert_eq!(answered(text, step).await, (b"hello world".to_vec(), Ok(()), true), "{step}");
            }
        }
        let closes = sized.replace("Content-Type", "Connection: close\r\nContent-Type");
        assert!(!answered(&closes, 1000).await.2, "the connection is not used again");
        for (text, fault) in [
            (sized.replace("200 OK", "413 Large"), Fault::Status(413)),
            (sized.replace("Content-Length: 11", "Content-Length: 12"), Fault::Broken),
            (chunked.replace("0\r\n\r\n", ""), Fault::Broken),
            (chunked.replace("chunked", "gzip"), Fault::Broken),
            ("HTTP/1.1 200 OK\r\n\r\nwithout a length".into(), Fault::Broken),
            ("hello".into(), Fault::Broken),
        ] {
            assert_eq!(answered(&text, 7).await.1, Err(fault), "{text}");
        }
    }
}
