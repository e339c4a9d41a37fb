//! Bytes on the wire: heads of HTTP/1, and sizes of chunks and fragments.

/// Larger answers are sent in chunks over HTTP/1.1.
const WHOLE: usize = 2048;
/// Larger messages are sent as one fragment followed by an empty one; smaller ones in fragments of [`PIECE`].
const BUFFERED: usize = 2076;
const PIECE: usize = 1024;

/// The client sends the current time. No test may depend on it.
const DATE: &str = "Mon, 30 Nov 2026 07:59:41 GMT";

const PLAIN: &str = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n";

/// How the caller speaks HTTP/1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dialect {
    /// HTTP/1.0.
    pub(crate) is_old: bool,
    /// `connection: close`, or `keep-alive`.
    pub(crate) closes: bool,
    pub(crate) keeps: bool,
}

impl Dialect {
    /// Whether the connection stays open.
    pub(crate) fn is_kept(self) -> bool {
        if self.is_old { self.keeps } else { !self.closes }
    }

    fn version(self) -> &'static str {
        if self.is_old { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    fn connection(self, is_endless: bool) -> &'static str {
        match (self.is_old, self.is_kept()) {
            (true, true) if !is_endless => "Connection: keep-alive\r\n",
            (false, false) => "Connection: close\r\n",
            _ => "",
        }
    }
}

/// An answer of JSON-RPC with its head.
pub(crate) fn answer(dialect: Dialect, body: &[u8]) -> Vec<u8> {
    if body.len() <= WHOLE {
        let head = head(dialect, "Content-Type: application/json\r\n", &length(body.len()));
        return [head.as_bytes(), body].concat();
    }
    let head = stream(dialect);
    if dialect.is_old {
        return [head.as_bytes(), body].concat();
    }
    [head.as_bytes(), &chunk(body)[..], b"0\r\n\r\n"].concat()
}

/// Whether the connection stays open after an answer.
pub(crate) fn is_kept(dialect: Dialect, body: &[u8]) -> bool {
    dialect.is_kept() && !(dialect.is_old && body.len() > WHOLE)
}

/// Head of an answer of unknown length.
pub(crate) fn stream(dialect: Dialect) -> String {
    let chunked = if dialect.is_old { "" } else { "Transfer-Encoding: chunked\r\n" };
    let connection = dialect.connection(true);
    let version = dialect.version();
    format!("{version} 200 OK\r\nContent-Type: application/json\r\nDate: {DATE}\r\n{connection}{chunked}\r\n")
}

/// A chunk.
pub(crate) fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

fn length(length: usize) -> String {
    format!("Content-Length: {length}\r\n")
}

fn head(dialect: Dialect, kind: &str, length: &str) -> String {
    let (version, connection) = (dialect.version(), dialect.connection(false));
    format!("{version} 200 OK\r\n{kind}Date: {DATE}\r\n{length}{connection}\r\n")
}

/// A rejection before JSON-RPC: status line and text.
pub(crate) fn rejection(dialect: Dialect, status: &str, said: &str) -> Vec<u8> {
    let kind = if said.is_empty() { "" } else { PLAIN };
    let length = length(said.len());
    let head = head(dialect, kind, &length).replacen("200 OK", status, 1);
    [head.as_bytes(), said.as_bytes()].concat()
}

/// Answer to a WebSocket handshake with this accept key.
pub(crate) fn handshake(accepted: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accepted}\r\n\r\n"
    )
}

/// Fragments of a text message; the last one is final.
pub(crate) fn fragments(text: &[u8]) -> Vec<&[u8]> {
    if text.len() > BUFFERED { vec![text, b""] } else { text.chunks(PIECE).collect() }
}
