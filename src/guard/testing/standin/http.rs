//! HTTP/1 as the client speaks it, over raw bytes.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::wire::{self, Dialect};
use super::{Answer, Call, Client, Hands, Mood, Way, answers};

/// Maximum size of a body in bytes; the client rejects larger ones.
const MOST: usize = 5 * 1024 * 1024;
static PIECE: [u8; 64 * 1024] = [b' '; 64 * 1024];
const TYPES: [&str; 3] = ["application/json", "application/json-rpc", "application/jsonrequest"];

/// A parsed head, with names in lower case.
pub(crate) struct Head {
    pub(crate) verb: String,
    pub(crate) path: String,
    pub(crate) dialect: Dialect,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Returns the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn length(&self) -> io::Result<usize> {
        match self.header("content-length") {
            Some(length) => length.parse().map_err(io::Error::other),
            None if self.header("transfer-encoding").is_some() => {
                Err(io::Error::other("a body without a length"))
            }
            None => Ok(0),
        }
    }

    /// Checks the head before the body is read. Returns the status and text of a rejection.
    fn wrong(&self) -> Option<(&'static str, String)> {
        let host = self.header("host").unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let is_ours = host.is_empty() || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        let kind = self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let length = self.length().unwrap_or_default();
        if !is_ours {
            Some(("403 Forbidden", "invalid host specified\n".into()))
        } else if self.path.split('?').next() != Some("/") {
            Some(("404 Not Found", String::new()))
        } else if self.verb == "GET" && length == 0 {
            Some(("200 OK", String::new()))
        } else if matches!(self.verb.as_str(), "PUT" | "DELETE") {
            Some(("405 Method Not Allowed", "method not allowed\n".into()))
        } else if length > MOST {
            Some(("413 Request Entity Too Large", format!("content length too large ({length}>{MOST})\n")))
        } else if !TYPES.contains(&kind.trim().to_ascii_lowercase().as_str()) {
            let said = "invalid content type, only application/json is supported\n";
            Some(("415 Unsupported Media Type", said.into()))
        } else {
            None
        }
    }
}

/// Reads a head; `None` at the end. Bytes read beyond it stay in the buffer.
pub(crate) async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (verb, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_old = words.next().is_some_and(|version| version == "HTTP/1.0");
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    let mut head = Head { verb, path, dialect: Dialect::default(), headers };
    let says = |what: &str| head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case(what));
    head.dialect = Dialect { is_old, closes: says("close"), keeps: says("keep-alive") };
    Ok(Some(head))
}

/// Answers the requests of a connection one after the other.
pub(super) async fn serve<C: Client>(mut stream: TcpStream, client: Arc<C>, hands: &Hands) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer).await? {
        let length = head.length()?;
        if length > MOST {
            let dialect = Dialect { closes: true, ..head.dialect };
            let (status, said) = head.wrong().unwrap_or(("400 Bad Request", String::new()));
            return stream.write_all(&wire::rejection(dialect, status, &said)).await;
        }
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let body: Vec<u8> = buffer.drain(..length).collect();
        let is_kept = match head.wrong() {
            Some((status, said)) => {
                stream.write_all(&wire::rejection(head.dialect, status, &said)).await?;
                head.dialect.is_kept()
            }
            None => {
                let _busy = hands.begin();
                let mood = tokio::select! {
                    biased;
                    mood = client.mood(&body, Way::Http) => mood,
                    // the caller is gone, and its call is abandoned
                    () = gone(&mut stream, &mut buffer) => return Ok(()),
                };
                respond(&mut stream, (head.dialect, &body), mood, &*client).await?
            }
        };
        if !is_kept {
            return Ok(());
        }
    }
    Ok(())
}

async fn gone(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    while stream.read_buf(buffer).await.is_ok_and(|count| count > 0) {}
}

/// Sends the answer. Returns whether the connection may be used again.
async fn respond<C: Client>(
    stream: &mut TcpStream,
    (dialect, body): (Dialect, &[u8]),
    mood: Mood,
    client: &C,
) -> io::Result<bool> {
    match mood {
        Mood::Well => {
            let mut run = |call: &Call<'_>| of_subscriptions(call).unwrap_or_else(|| client.answer(call));
            let text = answers::reply(&answers::read(body), &mut run).unwrap_or_default();
            stream.write_all(&wire::answer(dialect, &text)).await?;
            return Ok(wire::is_kept(dialect, &text));
        }
        Mood::Sends(200, text) => stream.write_all(&wire::answer(dialect, &text)).await?,
        Mood::Sends(status, text) => {
            let said = String::from_utf8_lossy(&text);
            let reason = hyper::StatusCode::from_u16(status).map_err(io::Error::other)?;
            stream.write_all(&wire::rejection(dialect, &reason.to_string(), &said)).await?;
        }
        Mood::Blank(mut left) => {
            stream.write_all(wire::stream(dialect).as_bytes()).await?;
            stream.write_all(&wire::chunk(br#"{"jsonrpc":"2.0","id":1,"result":""#)).await?;
            while left > 0 {
                let piece = &PIECE[..PIECE.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                stream.write_all(&wire::chunk(piece)).await?;
                left -= piece.len() as u64;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Mood::HangsUp => return Ok(false),
    }
    Ok(dialect.is_kept())
}

/// Subscriptions do not exist over HTTP.
fn of_subscriptions(call: &Call<'_>) -> Option<Answer> {
    if call.method.ends_with("_subscribe") {
        Some(Answer::error(-32000, "notifications not supported"))
    } else if call.method.ends_with("_unsubscribe") {
        Some(match call.first() {
            Some(_) => Answer::error(-32000, "subscription not found"),
            None => Answer::error(-32602, "missing value for required argument 0"),
        })
    } else {
        None
    }
}
