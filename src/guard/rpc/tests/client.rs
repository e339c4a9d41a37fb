//! A client that is told what to answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::{SinkExt as _, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

/// How calls are answered.
#[derive(Clone, Debug)]
pub(super) enum How {
    /// Each with its method as the result.
    Well,
    /// With this, whatever is asked.
    With(u16, &'static str),
    /// Not before it is told otherwise.
    Never,
    /// Endlessly.
    Endlessly,
}

/// What it was asked, and how it answers.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) http: SocketAddr,
    pub(super) ws: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    how: watch::Sender<How>,
    /// Ends all connections that it has.
    hangs_up: watch::Sender<u32>,
    /// Whether it lets nobody connect any more.
    is_gone: watch::Sender<bool>,
}

impl Client {
    pub(super) async fn start() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ws = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Self {
            http: http.local_addr().unwrap(),
            ws: ws.local_addr().unwrap(),
            asked: Arc::default(),
            how: watch::Sender::new(How::Well),
            hangs_up: watch::Sender::new(0),
            is_gone: watch::Sender::new(false),
        };
        tokio::spawn(client.clone().serve(http));
        tokio::spawn(client.clone().serve_sockets(ws));
        client
    }

    /// Every body and message so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn answer(&self, how: How) {
        self.how.send_replace(how);
    }

    pub(super) fn hang_up(&self) {
        self.hangs_up.send_modify(|times| *times += 1);
    }

    /// Ends, with all connections that it has.
    pub(super) fn leave(&self) {
        self.is_gone.send_replace(true);
        self.hang_up();
    }

    async fn serve(self, listener: TcpListener) {
        let mut is_gone = self.is_gone.subscribe();
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                _ = is_gone.wait_for(|is_gone| *is_gone) => return,
            };
            let client = self.clone();
            let mut hangs_up = self.hangs_up.subscribe();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let client = client.clone();
                    async move { Ok::<_, Infallible>(client.respond(request).await) }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    _ = serving => {}
                    _ = hangs_up.changed() => {}
                }
            });
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        assert_eq!(request.headers()["host"], "localhost");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert!(request.headers().contains_key("content-length"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        self.asked.lock().unwrap().push(body.clone());
        let how = self.how.subscribe().wait_for(|how| !matches!(how, How::Never)).await.unwrap().clone();
        let text = |text: String| Response::new(Full::from(text).boxed());
        match how {
            How::With(status, with) => {
                let mut answer = text(with.to_owned());
                *answer.status_mut() = status.try_into().unwrap();
                answer
            }
            How::Endlessly => {
                let piece = || Ok(Frame::data(Bytes::from_static(&[b' '; 4096])));
                let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(
                    br#"{"jsonrpc":"2.0","id":1,"#,
                )))]);
                let pieces = futures::StreamExt::chain(first, futures::stream::repeat_with(piece));
                Response::new(http_body_util::BodyExt::boxed(StreamBody::new(pieces)))
            }
            _ => text(well(&body)),
        }
    }

    async fn serve_sockets(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let client = self.clone();
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    let Message::Text(text) = message else { continue };
                    client.asked.lock().unwrap().push(text.to_string());
                    let how = client.how.subscribe();
                    let how = how.borrow().clone();
                    if matches!(how, How::Never) {
                        continue;
                    }
                    let answer = well(text.as_str());
                    if !answer.is_empty() {
                        socket.send(Message::text(answer)).await.unwrap();
                    }
                    if text.contains("eth_subscribe") {
                        let told =
                            json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": {"result": 7}});
                        socket.send(Message::text(told.to_string())).await.unwrap();
                    }
                }
            });
        }
    }
}

fn well(body: &str) -> String {
    let call: Value = serde_json::from_str(body).unwrap();
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{}}}\n", call["id"], call["method"])
}
