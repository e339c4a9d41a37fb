//! Parity of the stand-in client with the real one: both must answer each request with the same bytes.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::{
    geth::Geth,
    hostile_frames::frame,
    standin::{Chain, Standin},
};

const PATIENCE: Duration = Duration::from_secs(20);
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;

/// The rest of a call after its id.
const REST: &str = r#","method":"eth_chainId"}"#;

/// Bodies and messages for HTTP and WebSocket.
const BODIES: [&str; 49] = [
    CALL,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_nope"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"no<pe>\u0026\"é"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[7]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":null}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0x60206000fd","gas":"0x17d7840"},"latest"]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_getTransactionReceipt","params":["0x2222222222222222222222222222222222222222222222222222222222222222"]}"#,
    r#"{"id":1,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","ID":1,"Method":"eth_blockNumber","id":2}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":""}"#,
    r#"{"jsonrpc":"2.0","id":1}"#,
    r#"{"id":5}"#,
    "{}",
    "1",
    "null",
    r#""x""#,
    "[]",
    " [ ] ",
    "[[]]",
    r#"{"jsonrpc":"2.0","id":null,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":"","method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":" a  b ","method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":"<a>&\u003c\u00e9\/\"é😀 ","method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":"<a>&","method":"eth_nope"}"#,
    r#"{"jsonrpc":"2.0","id":1.50e+3,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":-0,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":true,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":{"a":[1]},"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":[1],"method":"eth_chainId"}"#,
    " {\"params\" : [ ] ,\n\"method\":\"eth_chainId\", \"id\" : \"a\\u0062\" ,\"jsonrpc\":\"2.0\"} ",
    r#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}]"#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"eth_nope"},{"jsonrpc":"2.0","id":3,"method":"eth_blockNumber"}]"#,
    r#" [ {"jsonrpc" : "2.0", "id" : "a, b" ,"method":"eth_chainId"} , {"jsonrpc":"2.0","id":2,"method":"net_version"} ] "#,
    r#"[{"jsonrpc":"2.0","method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"net_version"}]"#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":1,"method":"net_version"}]"#,
    r#"[1,{"jsonrpc":"2.0","id":2,"method":"net_version"},{"id":3},null,[],"x,]",{"foo":"b\"}ar"},-1.5]"#,
    r#"[{"jsonrpc":"2.0","id":9,"result":1},{"jsonrpc":"2.0","id":2,"method":"net_version"}]"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}x"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}{"jsonrpc":"2.0","id":2,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_unsubscribe","params":["0x1"]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_unsubscribe"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"net_unsubscribe","params":["0x1"]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"web3_clientVersion"}"#,
    r#"[{"jsonrpc":"2.0","id":null,"method":"eth_chainId"},{"jsonrpc":"2.0","id":"1","method":"eth_nope"}]"#,
];

/// Bodies and messages without an answer.
const SILENT: [&str; 5] = [
    r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","method":"eth_nope"}"#,
    r#"[{"jsonrpc":"2.0","method":"eth_chainId"},{"jsonrpc":"2.0","method":"net_version"}]"#,
    r#"[{"jsonrpc":"2.0","id":9,"result":1}]"#,
    r#"{"jsonrpc":"2.0","id":9,"result":1}"#,
];

/// Bodies for HTTP only: over a WebSocket they end the connection or have another meaning.
const HTTP_ALONE: [&str; 8] = [
    "",
    "  ",
    "{",
    "}",
    r#"{"a""#,
    "[1,",
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}]"#,
];

/// Messages for WebSocket only.
const SOCKET_ALONE: [&str; 5] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["nope"]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"net_subscribe","params":["newHeads"]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":[]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_unsubscribe","params":["0x12"]}"#,
];

/// Sizes of answers, around those at which the client changes its framing.
const SIZES: [usize; 16] = [
    125, 126, 1023, 1024, 1025, 2047, 2048, 2049, 2076, 2077, 4096, 16_384, 65_535, 65_536, 100_000,
    1_000_000,
];

/// Hash and raw bytes of a correctly signed transaction that costs nothing.
const HASH: &str = "\"0xc481e7bb3c0a53cb1556c7ffae16c70146d007f46d1025c81f5f2dc08e179859\"";
const RAW: &str = "0xf86180808252089435353535353535353535353535353535353535358080820a96a0c5f404c0b46b96ce056603005253b632e475e1e2c3d9bbf825836d818cd8984aa008de179415a1c10b69530981167b6915df126e2e5700c64fad75cdbfd33d50a2";

/// A call whose answer has this length.
fn answered_with(bytes: usize) -> String {
    let least = "{\"jsonrpc\":\"2.0\",\"id\":\"\",\"result\":\"0x539\"}\n".len();
    format!(r#"{{"jsonrpc":"2.0","id":"{}"{REST}"#, "a".repeat(bytes - least))
}

/// A request after whose answer the connection ends.
fn request(line: &str, headers: &str, body: &str) -> String {
    // a second request ends the connection if the first does not
    let last = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    format!("{line}\r\n{headers}Content-Length: {}\r\n\r\n{body}{last}", body.len())
}

/// Name and bytes of each request.
fn requests() -> Vec<(String, String)> {
    const USUAL: &str = "Host: localhost\r\nContent-Type: application/json\r\n";
    let large = SIZES.map(answered_with);
    let bodies = BODIES.iter().chain(&SILENT).chain(&HTTP_ALONE).copied();
    let bodies = bodies.chain(large.iter().map(String::as_str));
    let mut all: Vec<_> = bodies
        .map(|body| (body.chars().take(100).collect(), request("POST / HTTP/1.1", USUAL, body)))
        .collect();
    let mut add = |line: &str, headers: &str, body: &str| {
        all.push((format!("{line} {headers:?}"), request(line, headers, body)));
    };
    for kind in [
        "application/json-rpc",
        "application/jsonrequest",
        "application/json; charset=utf-8",
        "application/json; charset=\"utf-8\"",
        "application/json; charset=latin1",
        "Application/JSON",
        "text/plain",
        "application/jsonx",
        "",
    ] {
        add("POST / HTTP/1.1", &format!("Host: localhost\r\nContent-Type: {kind}\r\n"), CALL);
    }
    for host in ["localhost:1", "127.0.0.1", "localhost.", "other"] {
        add("POST / HTTP/1.1", &format!("Host: {host}\r\nContent-Type: application/json\r\n"), CALL);
    }
    for line in ["POST /x HTTP/1.1", "POST /?x HTTP/1.1", "PUT / HTTP/1.1", "DELETE / HTTP/1.1"] {
        add(line, USUAL, CALL);
    }
    for more in ["Connection: close\r\n", "Content-Encoding: identity\r\n", "Origin: http://x.example\r\n"] {
        add("POST / HTTP/1.1", &format!("{USUAL}{more}"), CALL);
    }
    for body in [CALL, &large[6], &large[7]] {
        add("POST / HTTP/1.0", USUAL, body);
        add("POST / HTTP/1.0", &format!("{USUAL}Connection: keep-alive\r\n"), body);
        add("POST / HTTP/1.1", &format!("{USUAL}Connection: close\r\n"), body);
    }
    let too_large = format!("POST / HTTP/1.1\r\n{USUAL}Content-Length: 5242881\r\n\r\n");
    all.push(("too large".into(), too_large));
    all
}

/// Sends a request and reads until the connection ends. Replaces the date.
async fn exchange(at: std::net::SocketAddr, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // a reset ends the answer too
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("the connection was kept")?;
    let answer = String::from_utf8_lossy(&answer);
    let lines = answer.split_inclusive("\r\n");
    Ok(lines.map(|line| if line.starts_with("Date: ") { "Date: now\r\n" } else { line }).collect())
}

/// A WebSocket that returns raw frames.
struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Socket {
    async fn open(at: std::net::SocketAddr) -> anyhow::Result<(Self, String)> {
        let mut stream = TcpStream::connect(at).await?;
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.context("no answer to the handshake")??);
        }
        Ok((Self { stream, read: Vec::new() }, String::from_utf8_lossy(&answer).into_owned()))
    }

    async fn send(&mut self, first: u8, text: &str) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&frame(first, text.as_bytes(), Some([1, 2, 3, 4]))).await?)
    }

    /// First byte and payload of each frame of the next message.
    async fn next(&mut self) -> anyhow::Result<Vec<(u8, String)>> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|(first, _)| first & 0x80 == 0) {
            while let Some((frame, length)) = first(&self.read) {
                self.read.drain(..length);
                frames.push(frame);
                if frames.last().is_some_and(|(first, _)| first & 0x80 != 0) {
                    return Ok(frames);
                }
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
            ensure!(read.context("nothing came")?? > 0, "the socket ended");
        }
        Ok(frames)
    }

    async fn asked(&mut self, text: &str) -> anyhow::Result<Vec<(u8, String)>> {
        self.send(0x81, text).await?;
        self.next().await
    }
}

/// First frame in the bytes, and its length.
fn first(read: &[u8]) -> Option<((u8, String), usize)> {
    let (head, length) = match *read.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(read.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(read.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let payload = String::from_utf8_lossy(read.get(head..head + length)?);
    Some(((read[0], payload.into_owned()), head + length))
}

/// Names of messages and the frames that answer them.
async fn sockets(at: std::net::SocketAddr) -> anyhow::Result<Vec<(String, Vec<(u8, String)>)>> {
    let (mut socket, handshake) = Socket::open(at).await?;
    let mut all = vec![("the handshake".to_owned(), vec![(0, handshake)])];
    let large = SIZES.map(answered_with);
    for text in BODIES.iter().chain(&SOCKET_ALONE).copied().chain(large.iter().map(String::as_str)) {
        let frames = socket.asked(text).await.with_context(|| text.to_owned())?;
        all.push((text.chars().take(100).collect(), frames));
    }
    for text in SILENT {
        socket.send(0x81, text).await?;
        all.push((text.into(), socket.asked(CALL).await?));
    }
    socket.send(0x82, CALL).await?;
    all.push(("a binary message".into(), socket.next().await?));
    for (first, piece) in [(0x01, &CALL[..10]), (0x89, "ping"), (0x80, &CALL[10..])] {
        socket.send(first, piece).await?;
    }
    all.push(("a ping between fragments".into(), socket.next().await?));
    all.push(("a message in fragments".into(), socket.next().await?));
    for broken in ["{", "", "  "] {
        let (mut socket, _) = Socket::open(at).await?;
        socket.send(0x81, broken).await?;
        let error = socket.next().await.err().map(|error| error.to_string());
        all.push((format!("{broken:?}"), vec![(0, error.unwrap_or_default())]));
    }
    Ok(all)
}

/// Messages to a WebSocket that subscribes and unsubscribes. Replaces the ids, which are random.
async fn subscriptions(
    at: std::net::SocketAddr,
    tell: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<String>> {
    let (mut socket, _) = Socket::open(at).await?;
    let subscribe =
        r#"{"jsonrpc":"2.0","id":"s","method":"eth_subscribe","params":["newPendingTransactions"]}"#;
    let mut all = Vec::new();
    let mut ids = Vec::new();
    for text in [subscribe.to_owned(), format!("[{CALL},{subscribe}]")] {
        let text = socket.asked(&text).await?.remove(0).1;
        let id = text.rsplit("0x").next().and_then(|rest| rest.split('"').next()).unwrap_or_default();
        ids.push(format!("0x{id}"));
        all.push(text);
    }
    tell().await?;
    let mut told = [socket.next().await?.remove(0).1, socket.next().await?.remove(0).1];
    told.sort_by_key(|told| told.contains(&ids[1]));
    all.extend(told);
    for id in [&ids[0], &ids[0], &ids[1]] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":3,"method":"eth_unsubscribe","params":["{id}"]}}"#);
        all.push(socket.asked(&text).await?.remove(0).1);
    }
    Ok(all.into_iter().map(|text| text.replace(&ids[0], "FIRST").replace(&ids[1], "SECOND")).collect())
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, of_client: &T, ours: &T, faults: &mut Vec<String>) {
    if of_client != ours {
        let cut = |said: &T| format!("{said:?}").chars().take(400).collect::<String>();
        faults.push(format!(
            "{what}: the client answers\n    {}\n  and the stand-in\n    {}",
            cut(of_client),
            cut(ours)
        ));
    }
}

/// Differences between the client and the stand-in.
pub(crate) async fn run(geth: &Geth) -> anyhow::Result<Vec<String>> {
    let standin = Standin::start(Arc::new(Chain)).await?;
    let mut faults = Vec::new();
    let requests = requests();
    for (what, request) in &requests {
        let (of_client, ours) = tokio::join!(exchange(geth.http, request), exchange(standin.http, request));
        compare(what, &of_client.with_context(|| what.clone())?, &ours?, &mut faults);
    }
    let (of_client, ours) = (sockets(geth.socket).await?, sockets(standin.ws).await?);
    for (of_client, ours) in of_client.iter().zip(&ours) {
        compare(&format!("WebSocket, {}", of_client.0), &of_client.1, &ours.1, &mut faults);
    }
    let send = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["{RAW}"]}}"#);
    let send = request("POST / HTTP/1.1", "Host: localhost\r\nContent-Type: application/json\r\n", &send);
    let told_of_client = subscriptions(geth.socket, async || {
        let answer = exchange(geth.http, &send).await?;
        ensure!(answer.contains(HASH), "{answer}");
        Ok(())
    });
    let told = subscriptions(standin.ws, async || {
        standin.tell(HASH);
        Ok(())
    });
    compare("subscriptions", &told_of_client.await?, &told.await?, &mut faults);
    println!("stand-in: {} requests, {} messages", requests.len(), of_client.len());
    Ok(faults)
}
