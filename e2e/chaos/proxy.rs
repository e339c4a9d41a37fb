//! Proxy between a replica of the operator and the API server: plain HTTP on loopback for the replica, TLS to the
//! server. It forwards requests or injects faults that networks and API servers can have.

use std::{sync::Arc, time::Duration};

use futures::{AsyncBufReadExt as _, SinkExt as _, StreamExt as _, TryStreamExt as _, channel::mpsc};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    api_server::ApiServer,
    record::{self, Asked, Record},
    rng::Rng,
};

/// Mode of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It forwards everything.
    Calm,
    /// It injects random faults.
    Foul,
    /// It cuts every connection, as if the API server were down.
    Away,
}

pub(crate) struct Proxy {
    pub(crate) replica: String,
    pub(crate) api_server: ApiServer,
    pub(crate) upstream: Client,
    pub(crate) record: Arc<Record>,
    pub(crate) weather: watch::Receiver<Weather>,
    pub(crate) seed: u64,
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Trouble>>;

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Not forwarded and not answered.
    Lost,
    /// Forwarded and not answered.
    Unanswered,
    /// Forwarded; only half of the answer arrives.
    Cut,
    /// Forwarded; the answer is replaced by 500.
    Denied,
    /// Not forwarded, answered with this code.
    Refused(u16),
    /// Not forwarded; silent for 30 s, then cut.
    Hangs,
    /// Forwarded after a delay.
    Late(Duration),
}

fn fault(rng: &mut Rng) -> Option<Fault> {
    if !rng.percent(12) {
        return None;
    }
    Some(match rng.below(10) {
        0 => Fault::Lost,
        1 => Fault::Unanswered,
        2 => Fault::Cut,
        3 => Fault::Denied,
        4 => Fault::Hangs,
        5 | 6 => Fault::Late(rng.millis(100, 3000)),
        _ => Fault::Refused(rng.one_of(&[409, 410, 429, 500, 503])),
    })
}

fn kind(fault: Fault) -> String {
    match fault {
        Fault::Refused(code) => code.to_string(),
        Fault::Late(_) => "late".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn full(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, Trouble> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn refusal(code: u16) -> Value {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        _ => "ServiceUnavailable",
    };
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "chaos"})
}

fn refused(code: u16) -> Answer {
    let mut answer = Response::new(full(refusal(code).to_string()));
    *answer.status_mut() = http::StatusCode::from_u16(code).expect("a status");
    answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    if code == 429 {
        answer.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
    }
    answer
}

impl Proxy {
    /// Serves until the process ends. Returns the port.
    pub(crate) async fn serve(self) -> anyhow::Result<u16> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let this = Arc::new(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (this, mut weather) = (Arc::clone(&this), this.weather.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| Arc::clone(&this).answer(request));
                    tokio::select! {
                        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
                        _ = weather.wait_for(|weather| *weather == Weather::Away) => {}
                    }
                });
            }
        });
        Ok(port)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Answer, Trouble> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        parts.headers.remove("host");
        let asked = Asked {
            number: self.record.number(),
            replica: self.replica.clone(),
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let watches = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let mut rng = Rng::new(self.seed, &self.replica, asked.number);
        let foul = *self.weather.borrow() == Weather::Foul;
        let fault = if foul { fault(&mut rng) } else { None };
        if let Some(fault) = fault {
            self.record.line(&asked, &format!("{fault:?}"));
            self.record.fault(&kind(fault));
        }
        match fault {
            Some(Fault::Lost) => return Err("chaos".into()),
            Some(Fault::Refused(code)) => return Ok(refused(code)),
            Some(Fault::Hangs) => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                return Err("chaos".into());
            }
            Some(Fault::Late(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        let request = Request::from_parts(parts, Body::from(body));
        // records a forwarded request to its end, even if the replica is killed meanwhile
        let this = Arc::clone(&self);
        let passed = tokio::spawn(async move { this.pass_on(request, &asked, watches).await });
        let answer = passed.await??;
        match fault {
            Some(Fault::Unanswered) => Err("chaos".into()),
            Some(Fault::Denied) => Ok(refused(500)),
            _ if watches && answer.status().is_success() => Ok(self.watch(answer, rng)),
            cut => {
                let (parts, body) = answer.into_parts();
                let bytes = body.collect().await?.to_bytes();
                if !matches!(cut, Some(Fault::Cut)) {
                    return Ok(Response::from_parts(parts, full(bytes)));
                }
                let half = Ok(Frame::data(bytes.slice(..bytes.len() / 2)));
                let halves = futures::stream::iter([half, Err("chaos".into())]);
                Ok(Response::from_parts(parts, StreamBody::new(halves).boxed_unsync()))
            }
        }
    }

    async fn pass_on(
        &self,
        request: Request<Body>,
        asked: &Asked,
        watches: bool,
    ) -> Result<Response<Body>, Trouble> {
        let before = record::before_eviction(&self.api_server, asked).await;
        self.record.judge(&self.api_server, asked).await;
        let answer = self.upstream.send(request).await;
        let said = answer.as_ref().map_or_else(ToString::to_string, |answer| answer.status().to_string());
        self.record.line(asked, if watches { "watch" } else { &said });
        let answer = answer?;
        if let Some(before) = before.filter(|_| answer.status().is_success()) {
            self.record.evicted(asked, &before);
        }
        Ok(answer)
    }

    /// Forwards a watch, event by event. It drops an event only together with the connection, as a real server
    /// does, since no client could notice a gap in a live stream.
    fn watch(self: Arc<Self>, answer: Response<Body>, mut rng: Rng) -> Answer {
        let (parts, body) = answer.into_parts();
        let (mut out, events) = mpsc::channel::<Result<Frame<Bytes>, Trouble>>(1);
        tokio::spawn(async move {
            let mut lines = body.into_data_stream().map_err(std::io::Error::other).into_async_read().lines();
            let mut weather = self.weather.clone();
            if *weather.borrow() == Weather::Foul && rng.percent(15) {
                self.record.fault("watch: snapshot held back");
                tokio::time::sleep(rng.millis(1000, 9000)).await;
            }
            while let Some(Ok(line)) = lines.next().await {
                let event = Bytes::from(line + "\n");
                let foul = *weather.borrow() == Weather::Foul;
                let throw = if foul { rng.below(200) } else { 200 };
                match throw {
                    0..4 => {
                        self.record.fault("watch: event lost, cut");
                        let _ = out.send(Err("chaos".into())).await;
                        return;
                    }
                    4..10 => {
                        self.record.fault("watch: event twice");
                        let _ = out.send(Ok(Frame::data(event.clone()))).await;
                    }
                    10..20 => {
                        self.record.fault("watch: event late");
                        tokio::time::sleep(rng.millis(200, 4000)).await;
                    }
                    20..22 => {
                        self.record.fault("watch: 410");
                        let gone = json!({"type": "ERROR", "object": refusal(410)}).to_string() + "\n";
                        let _ = out.send(Ok(Frame::data(gone.into()))).await;
                        return;
                    }
                    22..24 => {
                        self.record.fault("watch: silent");
                        let over = weather.wait_for(|weather| *weather != Weather::Foul);
                        let _ = tokio::time::timeout(Duration::from_secs(60), over).await;
                        let _ = out.send(Err("chaos".into())).await;
                        return;
                    }
                    _ => {}
                }
                if out.send(Ok(Frame::data(event))).await.is_err() {
                    return;
                }
            }
        });
        Response::from_parts(parts, StreamBody::new(events).boxed_unsync())
    }
}
