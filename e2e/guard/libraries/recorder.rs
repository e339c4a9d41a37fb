//! Recording proxy in front of the client.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::standin::scan;

/// Method and raw params of a call.
pub(crate) type Call = (String, String);

/// Transport of a body or message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// HTTP with this content type.
    Http(String),
    Text,
    Binary,
}

/// A body or message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub(crate) way: Way,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    /// The calls of a batch, or the single call.
    pub(crate) fn elements(&self) -> anyhow::Result<Vec<&[u8]>> {
        let first = scan::first(&self.body).ok().with_context(|| format!("no JSON: {self:?}"))?;
        Ok(if self.is_batch() { scan::elements(first) } else { vec![first] })
    }

    pub(crate) fn is_batch(&self) -> bool {
        self.body.trim_ascii_start().starts_with(b"[")
    }

    fn calls(&self) -> anyhow::Result<Vec<Call>> {
        let call = |element: &[u8]| {
            let method = method(element).with_context(|| format!("no call: {self:?}"))?;
            let params = scan::member(element, "params").unwrap_or_default();
            Ok((method, String::from_utf8_lossy(params).into_owned()))
        };
        self.elements()?.into_iter().map(call).collect()
    }
}

/// Method of a call.
pub(crate) fn method(call: &[u8]) -> Option<String> {
    scan::string(scan::member(call, "method")?)
}

/// Recorded requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) calls: Vec<Call>,
    /// Distinct bodies and messages.
    pub(crate) sent: BTreeSet<Sent>,
}

impl Asked {
    fn put(&mut self, sent: Sent) -> anyhow::Result<()> {
        self.calls.extend(sent.calls()?);
        self.sent.insert(sent);
        Ok(())
    }

    pub(crate) fn methods(&self) -> usize {
        self.calls.iter().map(|(method, _)| method).collect::<BTreeSet<_>>().len()
    }

    pub(crate) fn batches(&self) -> usize {
        self.sent.iter().filter(|sent| sent.is_batch()).count()
    }

    /// Granted calls that only one of the two recordings has. Order and batches do not matter, nor does the number of
    /// calls that libraries repeat on a timer or when their knowledge is old.
    pub(crate) fn unlike(&self, other: &Self, is_granted: impl Fn(&str) -> bool) -> Vec<String> {
        let granted = self.calls.iter().filter(|(method, _)| is_granted(method));
        let (mut lost, mut new): (Vec<_>, Vec<_>) = (granted.collect(), Vec::new());
        const TIMED: [&str; 3] = ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber"];
        let is_timed = |call: &&Call| TIMED.contains(&call.0.as_str());
        let timed: BTreeSet<_> = lost.extract_if(.., |call| is_timed(call)).collect();
        let came: BTreeSet<_> = other.calls.iter().filter(is_timed).collect();
        lost.extend(timed.difference(&came));
        new.extend(came.difference(&timed));
        for call in other.calls.iter().filter(|call| !is_timed(call)) {
            match lost.iter().position(|known| *known == call) {
                Some(at) => drop(lost.swap_remove(at)),
                None => new.push(call),
            }
        }
        let lost = lost.into_iter().map(|call| format!("lost {call:?}"));
        lost.chain(new.into_iter().map(|call| format!("new {call:?}"))).collect()
    }
}

/// A running recorder.
pub(crate) struct Recorder {
    pub(crate) http: SocketAddr,
    pub(crate) ws: SocketAddr,
    asked: Arc<Mutex<Asked>>,
}

impl Recorder {
    /// Starts a recorder in front of the client's two listeners.
    pub(crate) async fn start(http: SocketAddr, ws: SocketAddr) -> anyhow::Result<Self> {
        let requests = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let sockets = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let asked = Arc::new(Mutex::new(Asked::default()));
        let recorder = Self { http: requests.local_addr()?, ws: sockets.local_addr()?, asked: asked.clone() };
        let put = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = requests.accept().await {
                let put = put.clone();
                let service = service_fn(move |request| {
                    let put = put.clone();
                    async move { Ok::<_, Infallible>(pass(request, http, &put).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = sockets.accept().await {
                let put = asked.clone();
                tokio::spawn(async move {
                    if let Err(error) = pass_socket(stream, ws, &put).await {
                        eprintln!("the recorder: {error:#}");
                    }
                });
            }
        });
        Ok(recorder)
    }

    /// Requests since the last call of this function.
    pub(crate) fn take(&self) -> Asked {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn put(asked: &Mutex<Asked>, sent: Sent) -> anyhow::Result<()> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).put(sent)
}

/// Sends a request to the client and reads the whole answer.
pub(crate) async fn post(to: SocketAddr, kind: HeaderValue, body: Bytes) -> anyhow::Result<Bytes> {
    let stream = TokioIo::new(TcpStream::connect(to).await?);
    let (mut sender, connection) = client::handshake(stream).await?;
    tokio::spawn(connection);
    let request = Request::post("/").header("host", "localhost").header(CONTENT_TYPE, kind);
    let answer = sender.send_request(request.body(Full::new(body))?).await?;
    Ok(answer.into_body().collect().await?.to_bytes())
}

async fn pass(request: Request<Incoming>, to: SocketAddr, asked: &Mutex<Asked>) -> Response<Full<Bytes>> {
    let passed = async {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let kind = kind.unwrap_or(HeaderValue::from_static(""));
        let body = request.into_body().collect().await?.to_bytes();
        put(asked, Sent { way: Way::Http(kind.to_str()?.to_owned()), body: body.to_vec() })?;
        post(to, kind, body).await
    };
    let (status, body) = match passed.await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            eprintln!("the recorder: {error:#}");
            (StatusCode::BAD_GATEWAY, Bytes::new())
        }
    };
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

async fn pass_socket(stream: TcpStream, to: SocketAddr, asked: &Mutex<Asked>) -> anyhow::Result<()> {
    let Ok(mut caller) = tokio_tungstenite::accept_async(stream).await else { return Ok(()) };
    let stream = TcpStream::connect(to).await?;
    let (mut client, _) = tokio_tungstenite::client_async("ws://localhost/", stream).await?;
    loop {
        tokio::select! {
            Some(Ok(message)) = caller.next() => {
                let way = match &message {
                    Message::Text(_) => Way::Text,
                    Message::Binary(_) => Way::Binary,
                    Message::Close(_) => return Ok(()),
                    _ => continue,
                };
                put(asked, Sent { way, body: message.clone().into_data().to_vec() })?;
                client.send(message).await?;
            }
            Some(Ok(message)) = client.next() => {
                if message.is_text() && caller.send(message).await.is_err() {
                    return Ok(());
                }
            }
            else => return Ok(()),
        }
    }
}
