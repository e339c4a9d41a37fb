//! Replays recorded requests, directly to the client and through the guard: granted calls must get the same bytes in
//! the same places of the answer.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::geth::Geth;
use crate::guard_process::{HOST, Place};
use crate::recorder::{Sent, Way, method, post};
use crate::standin::scan::{self, member};

const PATIENCE: Duration = Duration::from_secs(10);

/// Parts of methods whose answers differ each time.
const FRESH: [&str; 2] = ["subscribe", "ilter"];

/// Legal requests that some program may send and none of the libraries does.
const UNUSUAL: [&str; 9] = [
    r#"{"jsonrpc":"2.0","id":null,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":"","method":"eth_chainId","params":null}"#,
    r#"{"jsonrpc":"2.0","id":"<a> &\u003c\/é😀","method":"eth_chainId","params":[]}"#,
    r#"{"jsonrpc":"2.0","id":1.50e+3,"method":"eth_chainId"}"#,
    r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"eth_nope"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{"a":1}}"#,
    r#" { "params" : [ ] , "method" : "eth_blockNumber" , "id" : "1" , "jsonrpc" : "2.0" } "#,
    r#"[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","id":1,"method":"admin_peers"},{"jsonrpc":"2.0","id":1,"method":"net_version"}]"#,
    r#"[{"jsonrpc":"2.0","id":null,"method":"net_version"},{"jsonrpc":"2.0","id":"[,\\\"","method":"eth_chainId","params":null}]"#,
];

const KINDS: [&str; 5] = [
    "application/json",
    "application/json-rpc",
    "application/jsonrequest",
    "Application/JSON; charset=UTF-8",
    "application/json; charset=\"utf-8\"",
];

/// The unusual requests, over every transport.
pub(crate) fn unusual() -> impl Iterator<Item = Sent> {
    let ways = KINDS.map(|kind| Way::Http(kind.into())).into_iter().chain([Way::Text, Way::Binary]);
    ways.flat_map(|way| UNUSUAL.map(|body| Sent { way: way.clone(), body: body.into() }))
}

async fn dial(place: &Place) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(place.certificate.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec!["http/1.1".into()];
    let stream = TcpStream::connect(place.at).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST)?, stream).await?)
}

/// Sends a request through the guard.
async fn through(place: &Place, kind: &str, body: Bytes) -> anyhow::Result<Bytes> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(dial(place).await?)).await?;
    tokio::spawn(connection);
    let request = Request::post("/").header("host", HOST).header("content-type", kind);
    let request = request.header("authorization", format!("Bearer {}", place.tokens[0]));
    let answer = sender.send_request(request.body(Full::new(body))?).await?;
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// Sends a message and returns the next one.
async fn asked<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<S>,
    message: Message,
) -> anyhow::Result<Bytes> {
    socket.send(message).await?;
    loop {
        let next = timeout(PATIENCE, socket.next()).await.context("no answer after 10 s")?;
        match next.context("the socket ended")?? {
            Message::Text(text) => return Ok(text.into()),
            Message::Close(frame) => anyhow::bail!("the socket was closed: {frame:?}"),
            _ => {}
        }
    }
}

/// Sends a message directly to the client.
async fn straight(at: SocketAddr, message: Message) -> anyhow::Result<Bytes> {
    let (mut socket, _) = client_async("ws://localhost/", TcpStream::connect(at).await?).await?;
    asked(&mut socket, message).await
}

async fn over_socket(at: SocketAddr, place: Option<&Place>, message: Message) -> anyhow::Result<[Bytes; 2]> {
    let of_client = straight(at, message.clone()).await?;
    let Some(place) = place else { return Ok([of_client, straight(at, message).await?]) };
    let mut request = format!("wss://{HOST}/").into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", place.tokens[0]).parse()?);
    let (mut guarded, _) = client_async(request, dial(place).await?).await?;
    Ok([of_client, asked(&mut guarded, message).await?])
}

/// Checks an answer through the guard against the client's.
fn wrong(
    sent: &Sent,
    [straight, guarded]: &[Bytes; 2],
    is_granted: &impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let split = |answer| {
        let first = scan::first(answer).ok().context("the answer is no JSON")?;
        anyhow::Ok(if sent.is_batch() { scan::elements(first) } else { vec![first] })
    };
    let calls = sent.elements()?;
    let (of_client, of_guard) = (split(straight)?, split(guarded)?);
    ensure!(
        calls.len() == of_client.len() && calls.len() == of_guard.len(),
        "{} calls, {} answers",
        calls.len(),
        of_guard.len()
    );
    let mut wanted = Vec::new();
    for (place, call) in calls.iter().enumerate() {
        let method = method(call).unwrap_or_default();
        if is_granted(&method) {
            wanted.push(of_client[place]);
            continue;
        }
        let answer = of_guard[place];
        ensure!(member(answer, "error").is_some(), "{method} is not refused in its place");
        ensure!(member(answer, "id") == member(call, "id"), "{method} is refused with the id of another");
        wanted.push(answer);
    }
    let wanted = wanted.join(&b","[..]);
    let mut wanted = if sent.is_batch() { [b"[", &wanted[..], b"]"].concat() } else { wanted };
    // an answer without granted calls may end with or without a newline
    let is_own = !calls.iter().any(|call| is_granted(&method(call).unwrap_or_default()));
    if !is_own || guarded.ends_with(b"\n") {
        wanted.push(b'\n');
    }
    ensure!(wanted == **guarded, "other bytes, or another order");
    Ok(())
}

/// Replays requests, twice to the client if there is no guard, and returns wrong answers.
pub(crate) async fn run(
    sent: impl IntoIterator<Item = Sent>,
    (geth, place): (&Geth, Option<&Place>),
    is_granted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    for sent in sent {
        let text = String::from_utf8_lossy(&sent.body).into_owned();
        let has_answer =
            sent.elements().is_ok_and(|calls| calls.iter().all(|call| member(call, "id").is_some()));
        if !has_answer || FRESH.iter().any(|part| text.contains(part)) {
            continue;
        }
        let answers = async {
            let body = Bytes::from(sent.body.clone());
            match &sent.way {
                Way::Http(kind) => {
                    let of_client = post(geth.http, kind.parse()?, body.clone()).await?;
                    let again = match place {
                        Some(place) => through(place, kind, body).await?,
                        None => post(geth.http, kind.parse()?, body).await?,
                    };
                    Ok([of_client, again])
                }
                Way::Text => over_socket(geth.socket, place, Message::text(text.as_str())).await,
                Way::Binary => over_socket(geth.socket, place, Message::binary(body)).await,
            }
        };
        let told = |error: anyhow::Error, answer: &[u8]| {
            format!("{:?} {text}\n    {error:#}: {}", sent.way, String::from_utf8_lossy(answer))
        };
        match answers.await {
            Ok(answers) => {
                faults
                    .extend(wrong(&sent, &answers, &is_granted).err().map(|error| told(error, &answers[1])));
            }
            Err(error) => faults.push(told(error, b"")),
        }
    }
    faults
}
