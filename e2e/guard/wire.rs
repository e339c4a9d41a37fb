//! Exchanges raw bytes over a connection, since libraries would refuse to send them.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::{
    hostile_frames::frame,
    hostile_http2::{PREFACE, Part},
    hostile_requests::WHO,
};

/// A connection of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Time without data after which an answer counts as complete.
const QUIET: Duration = Duration::from_millis(50);
/// Deadline for the next byte of a handshake.
const MOST: Duration = Duration::from_secs(10);
/// Pause between two pieces, so that each arrives separately.
const PAUSE: Duration = Duration::from_micros(500);

/// Sender of a request.
pub(crate) struct Who {
    pub(crate) host: String,
    pub(crate) bearer: Option<String>,
}

impl Who {
    fn lines(&self) -> String {
        let bearer = self.bearer.iter().map(|token| format!("Authorization: Bearer {token}\r\n"));
        format!("Host: {}\r\n{}", self.host, bearer.collect::<String>())
    }

    /// Replaces every [`WHO`] in the pieces by the sender's header lines.
    pub(crate) fn signed(&self, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let lines = self.lines();
        let signed = |piece: &Vec<u8>| {
            let mut out = Vec::with_capacity(piece.len() + lines.len());
            let mut rest = &piece[..];
            while let Some(at) = rest.windows(WHO.len()).position(|window| window == WHO) {
                out.extend([&rest[..at], lines.as_bytes()].concat());
                rest = &rest[at + WHO.len()..];
            }
            out.extend(rest);
            out
        };
        pieces.iter().map(signed).collect()
    }
}

async fn put(stream: &mut dyn Stream, pieces: &[Vec<u8>]) {
    for piece in pieces {
        // the peer may close early; its answer can still be read
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        if pieces.len() > 1 {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Reads until the peer closes or sends nothing for `quiet`. Returns the bytes and whether the peer closed.
async fn rest(stream: &mut dyn Stream, quiet: Duration) -> (Vec<u8>, bool) {
    let mut answer = Vec::new();
    let is_closed = loop {
        let mut buffer = [0; 16 * 1024];
        match timeout(quiet, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(count)) => answer.extend(&buffer[..count]),
            Err(_) => break false,
        }
    };
    (answer, is_closed)
}

/// Sends a request and reads the answer. If the peer waits for more, closes the sending direction.
pub(crate) async fn exchange(stream: &mut dyn Stream, pieces: &[Vec<u8>]) -> Vec<u8> {
    put(stream, pieces).await;
    let (mut answer, is_closed) = rest(stream, QUIET).await;
    if !is_closed {
        let _ = stream.shutdown().await;
        answer.extend(rest(stream, QUIET).await.0);
    }
    answer
}

/// A granted call that is sent last. Its answer shows that the peer has read everything before it.
const LAST: &[u8] = br#"{"jsonrpc":"2.0","id":"the last one","method":"eth_chainId"}"#;

/// Opens a WebSocket, sends frames and returns the answers.
pub(crate) async fn socket(
    stream: &mut dyn Stream,
    who: &Who,
    frames: &[Vec<u8>],
) -> anyhow::Result<Vec<u8>> {
    let who = who.lines();
    let head = format!(
        "GET / HTTP/1.1\r\n{who}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    put(stream, &[head.into_bytes()]).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = timeout(MOST, stream.read_u8()).await.context("no answer to the handshake")?;
        answer.push(byte.context("closed in the handshake")?);
    }
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    put(stream, frames).await;
    put(stream, &[frame(0x81, LAST, Some([7, 7, 7, 7]))]).await;
    let mut answer = Vec::new();
    let is_last = |answer: &[u8]| answer.windows(12).any(|window| window == b"the last one");
    loop {
        let mut buffer = [0; 16 * 1024];
        match timeout(QUIET, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => answer.extend(&buffer[..count]),
            _ => break,
        }
        if is_last(&answer) {
            break;
        }
    }
    let _ = stream.shutdown().await;
    Ok(answer)
}

/// Sends HTTP/2 frames and reads until a stream has ended.
pub(crate) async fn streams(stream: &mut dyn Stream, who: &Who, parts: &[Part]) {
    let frames = parts.iter().map(|part| part.bytes(who));
    put(stream, &[&[PREFACE.to_vec()][..], &frames.collect::<Vec<_>>()].concat()).await;
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 16 * 1024];
        match timeout(QUIET, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => answer.extend(&buffer[..count]),
            _ => break,
        }
        if has_ended(&answer) {
            break;
        }
    }
    let _ = stream.shutdown().await;
}

/// Whether a stream has ended or was reset, or the connection was closed.
fn has_ended(mut frames: &[u8]) -> bool {
    while let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if matches!((kind, flags & 1), (0 | 1, 1) | (3 | 7, _)) {
            return true;
        }
        frames = rest.get(length..).unwrap_or_default();
    }
    false
}
