//! Misbehaving stand-in for the client: depending on the method it hangs, closes the connection, is slow or answers a
//! gigabyte. It answers all other calls well, with the same bytes as the real client, and counts calls in progress. As
//! in the real client, a call continues after its caller has left.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::iter;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Error>>;

const PIECE: &[u8] = &[b'0'; 64 * 1024];
const PIECES: usize = 1024 * 1024 * 1024 / PIECE.len();
/// Size in bytes of the result of `eth_large`.
const LARGE: usize = 1024 * 1024;
/// Size in bytes of a notification of logs. A subscription gets them as fast as it accepts them.
const LOG: usize = 64 * 1024;

/// Counts of calls by method, and of `eth_slow` calls in progress.
#[derive(Default)]
pub(crate) struct Load {
    now: AtomicU64,
    most: AtomicU64,
    all: AtomicU64,
    methods: Mutex<BTreeMap<String, u64>>,
}

impl Load {
    /// Number of `eth_slow` calls in progress, its peak, and the total.
    pub(crate) fn get(&self) -> [u64; 3] {
        [&self.now, &self.most, &self.all].map(|count| count.load(Ordering::Relaxed))
    }

    /// How often each method was called.
    pub(crate) fn methods(&self) -> BTreeMap<String, u64> {
        self.methods.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn called(&self, call: &Value) {
        let method = call["method"].as_str().unwrap_or_default().to_owned();
        *self.methods.lock().unwrap_or_else(PoisonError::into_inner).entry(method).or_default() += 1;
    }
}

/// A client that listens in separate threads, so that its callers do not delay it. It ends on drop.
pub(crate) struct MisbehavingClient {
    /// Addresses for HTTP and WebSocket.
    pub(crate) at: [SocketAddr; 2],
    pub(crate) load: Arc<Load>,
    _end: oneshot::Sender<()>,
}

impl MisbehavingClient {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let bind = || {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            std::io::Result::Ok(listener)
        };
        let (http, socket, (end, ended)) = (bind()?, bind()?, oneshot::channel());
        let load = Arc::<Load>::default();
        let moody = Self { at: [http.local_addr()?, socket.local_addr()?], load: load.clone(), _end: end };
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let [http, socket] = [TcpListener::from_std(http)?, TcpListener::from_std(socket)?];
                tokio::spawn(listen(http, socket, load));
                let _ = ended.await;
                std::io::Result::Ok(())
            })
        });
        Ok(moody)
    }
}

async fn listen(http: TcpListener, socket: TcpListener, load: Arc<Load>) {
    loop {
        tokio::select! {
            Ok((stream, _)) = http.accept() => {
                let load = load.clone();
                let service = service_fn(move |request| answer(request, load.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            Ok((stream, _)) = socket.accept() => {
                tokio::spawn(serve(stream, load.clone()));
            }
            else => return,
        }
    }
}

/// Answers an HTTP request.
async fn answer(request: Request<Incoming>, load: Arc<Load>) -> Result<Answer, Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let asked: Value = serde_json::from_slice(&body)?;
    if asked.is_object() {
        load.called(&asked);
    }
    match asked["method"].as_str() {
        Some("eth_hang") => std::future::pending().await,
        Some("eth_die") => Err("it hangs up".into()),
        Some("eth_gigabyte") => {
            let begin = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{},"result":"0x"#, asked["id"]));
            let pieces = std::iter::repeat_n(Bytes::from_static(PIECE), PIECES);
            let pieces = [begin].into_iter().chain(pieces).chain([Bytes::from_static(b"\"}\n")]);
            let pieces = StreamBody::new(iter(pieces.map(|piece| Ok(Frame::data(piece)))));
            Ok(answered(http_body_util::BodyExt::boxed(pieces)))
        }
        _ => {
            let text = message(asked, load).await;
            Ok(answered(Full::from(text).map_err(|never| match never {}).boxed()))
        }
    }
}

fn answered(body: BoxBody<Bytes, Error>) -> Answer {
    let mut answer = Response::new(body);
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    answer
}

/// Serves a WebSocket. Each message is answered when its calls are done.
async fn serve(stream: TcpStream, load: Arc<Load>) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut to, mut from) = socket.split();
    let (done, mut answers) = mpsc::channel::<String>(4);
    let write = async {
        while let Some(text) = answers.recv().await {
            if !text.is_empty() && to.send(text.into()).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        while let Some(Ok(received)) = from.next().await {
            let Ok(text) = received.to_text() else { continue };
            let Ok(asked) = serde_json::from_str(text) else { continue };
            let (done, load) = (done.clone(), load.clone());
            load.called(&asked);
            tokio::spawn(async move {
                let is_firehose = asked["method"] == "eth_subscribe" && asked["params"][0] == "logs";
                let _ = done.send(message(asked, load).await).await;
                let log = format!("0x{}", "0".repeat(LOG));
                let told = json!({"subscription": "0x1", "result": {"data": log}});
                let told = json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": told});
                let told = format!("{told}\n");
                while is_firehose && done.send(told.clone()).await.is_ok() {}
            });
        }
    };
    tokio::select! { () = write => {}, () = read => {} }
}

/// Answer to a call or batch, empty if no call has an id. The work continues if the caller stops waiting.
async fn message(asked: Value, load: Arc<Load>) -> String {
    let answering = async move {
        let Value::Array(calls) = asked else {
            return one(&asked, &load).await.map_or(String::new(), |answer| answer + "\n");
        };
        // one call after another, as in the real client
        let mut answers = Vec::new();
        for call in &calls {
            answers.extend(one(call, &load).await);
        }
        if answers.is_empty() { String::new() } else { format!("[{}]\n", answers.join(",")) }
    };
    tokio::spawn(answering).await.unwrap_or_default()
}

/// Answer to a call; `None` if it has no id.
async fn one(call: &Value, load: &Load) -> Option<String> {
    let result = match call["method"].as_str().unwrap_or_default() {
        "eth_slow" => {
            slow(call["params"][0].as_u64().unwrap_or(1000), load).await;
            r#""0x1""#.to_owned()
        }
        "eth_large" => format!("\"0x{}\"", "0".repeat(LARGE)),
        "eth_unsubscribe" | "eth_uninstallFilter" => "true".to_owned(),
        _ => r#""0x1""#.to_owned(),
    };
    let id = call.get("id")?;
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// Waits for so many milliseconds and counts the call as in progress.
async fn slow(millis: u64, load: &Load) {
    let now = load.now.fetch_add(1, Ordering::Relaxed) + 1;
    load.most.fetch_max(now, Ordering::Relaxed);
    load.all.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(millis)).await;
    load.now.fetch_sub(1, Ordering::Relaxed);
}
