//! Stands before the client, passes everything on, and puts down what was asked.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use quorum_operator::guard::rpc::message::{self, Body};
use tokio::net::{TcpListener, TcpStream};

/// What was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Methods with their params, byte by byte.
    pub(crate) calls: Vec<(String, String)>,
    /// How many bodies were batches.
    pub(crate) batches: usize,
}

impl Asked {
    fn put(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let body = message::read(body, 1000).map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let calls = match body {
            Body::Single(call) => vec![call],
            Body::Batch(calls) => {
                self.batches += 1;
                calls
            }
        };
        for call in calls {
            let call = call.map_err(|invalid| anyhow::anyhow!("{invalid:?}"))?;
            self.calls.push((call.method.to_owned(), call.params.unwrap_or_default().to_owned()));
        }
        Ok(())
    }

    pub(crate) fn methods(&self) -> usize {
        self.calls.iter().map(|(method, _)| method).collect::<BTreeSet<_>>().len()
    }

    /// What came here and not there, or the other way round. What is asked at once may come in any order.
    pub(crate) fn unlike(&self, other: &Self) -> Vec<String> {
        let [mut ours, mut theirs] = [&self.calls, &other.calls].map(Clone::clone);
        ours.sort();
        theirs.sort();
        let lost = ours.iter().filter(|call| !theirs.contains(call)).map(|call| format!("lost {call:?}"));
        let new = theirs.iter().filter(|call| !ours.contains(call)).map(|call| format!("new {call:?}"));
        let mut faults: Vec<_> = lost.chain(new).collect();
        if (ours.len(), self.batches) != (theirs.len(), other.batches) {
            let [ours, theirs] = [self, other].map(|asked| (asked.calls.len(), asked.batches));
            faults.push(format!("calls and batches: {ours:?} sent, {theirs:?} came"));
        }
        faults
    }
}

/// Stands before the client.
pub(crate) struct Recorder {
    pub(crate) at: SocketAddr,
    asked: Arc<Mutex<Asked>>,
}

impl Recorder {
    pub(crate) async fn start(client: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (at, asked) = (listener.local_addr()?, Arc::new(Mutex::new(Asked::default())));
        let put = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let put = put.clone();
                let service = service_fn(move |request| {
                    let put = put.clone();
                    async move { Ok::<_, Infallible>(pass(request, client, &put).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { at, asked })
    }

    /// What was asked since the last time.
    pub(crate) fn take(&self) -> Asked {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

async fn pass(request: Request<Incoming>, to: SocketAddr, put: &Mutex<Asked>) -> Response<Full<Bytes>> {
    let passed = async {
        let body = request.into_body().collect().await?.to_bytes();
        put.lock().unwrap_or_else(std::sync::PoisonError::into_inner).put(&body)?;
        let stream = TokioIo::new(TcpStream::connect(to).await?);
        let (mut sender, connection) = client::handshake(stream).await?;
        tokio::spawn(connection);
        let request =
            Request::post("/").header("host", "localhost").header("content-type", "application/json");
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        anyhow::Ok(answer.into_body().collect().await?.to_bytes())
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
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    answer
}
