//! `quorum-guard metrics`: serves the client's metrics page over TLS, with series of its own, and no other page of that
//! port.

pub mod chain;
pub mod guard_metrics;
pub mod peer_connections;
pub mod peer_probe;
pub mod readiness;
pub mod sanitize;
pub mod scrape;
pub mod series;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use self::scrape::{Merged, Source};
use self::series::Facts;
use self::{peer_probe::Meeting, readiness::Samples};
use crate::guard::{
    flags::{Certificate, IDENTITY_KEYS, Identity, Upstream, listen, loopback},
    health,
    reload::{Files, Reloading, Terms},
    server::{Answer, Limits, Port, Vouched, not_found, serve, text},
    shutdown, tls,
};

/// Exposes the client's metrics page over TLS at /metrics, and no other page of that port. Answers the kubelet's
/// probes on a second, plain port.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address for scrapers (/metrics) and the operator (/chain), over TLS
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9545", value_parser = listen)]
    pub listen: SocketAddr,

    /// Address for the kubelet: /livez and /readyz over plain HTTP. No network policy needs to open it
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8081", value_parser = listen)]
    pub health: SocketAddr,

    /// The client's metrics page, on loopback
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6060/debug/metrics/prometheus")]
    pub upstream: Upstream,

    /// Directory with tls.crt and tls.key. They are read again each second, so a renewal needs no restart
    #[arg(long, value_name = "DIR")]
    pub tls_dir: PathBuf,

    /// CAs of scrapers, PEM: a scraper must show a certificate that one of them signed. Without it, scrapers need
    /// no certificate. /chain never needs one
    #[arg(long, value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// Metrics address of `quorum-guard rpc`, on loopback. Without it, its metrics are left out
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub rpc: Option<SocketAddr>,

    /// The client's static-nodes.json. /chain then lists which of these peers have no connection; without it,
    /// /chain lists none
    #[arg(long, value_name = "FILE")]
    pub peers: Option<PathBuf>,

    /// Port on which the client listens for peers
    #[arg(long, value_name = "PORT", default_value_t = 30303)]
    pub peer_port: u16,

    /// Number of peers that the client needs to be ready
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub min_peers: u32,

    /// Certificate whose expiry is exposed as quorum_certificate_not_after_timestamp_seconds; may be repeated
    #[arg(long = "certificate", value_name = "PURPOSE=PATH")]
    pub certificates: Vec<Certificate>,

    /// Label of quorum_node_info: name, namespace, network, role and, if known, node_id; each once
    #[arg(long = "identity", value_name = "KEY=VALUE", required = true)]
    pub identity: Vec<Identity>,
}

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> Result<()> {
    let asked = shutdown::asked()?;
    let place = || "--tls-dir must hold a matching tls.crt and tls.key, --client-ca certificates of CAs; see the Secrets mounted there";
    let wants_certificate = args.client_ca.is_some();
    let files = Files { dir: args.tls_dir, client_ca: args.client_ca };
    let guard = Guard {
        identity: identity(args.identity)?,
        certificates: distinct(args.certificates)?,
        merged: Merged::new(Source::at(args.upstream.0)),
        min_peers: args.min_peers,
        rpc: args.rpc,
        meeting: args.peers.map(|list| Meeting::of(list, args.peer_port)),
        samples: Mutex::new(Samples::default()),
        reloading: Arc::new(Reloading::open(files, terms()).with_context(place)?),
        wants_certificate,
    };
    let bind = |flag: &str, at: SocketAddr| {
        crate::listen::bind(at).with_context(|| format!("{flag} {at}: choose an address that is free"))
    };
    let (listener, health) = (bind("--listen", args.listen)?, bind("--health", args.health)?);
    info!(listen = %args.listen, health = %args.health, upstream = %args.upstream.0, "serving metrics");
    let (stop, stopped) = watch::channel(false);
    let serving = Arc::new(guard).serve(listener, health, Pace::default(), stopped);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        () = &mut serving => bail!("the servers ended"),
        () = asked => {}
    }
    info!("shutting down");
    let _ = stop.send(true);
    serving.await;
    Ok(())
}

/// Returns the labels in order. Fails if one is given twice or one of the first four is missing.
fn identity(given: Vec<Identity>) -> Result<Vec<(&'static str, String)>> {
    let mut labels = Vec::new();
    for key in IDENTITY_KEYS {
        let mut values = given.iter().filter(|one| one.key == key).map(|one| one.value.clone());
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => bail!("--identity {key}=…: given twice; give it once"),
            (None, _) if key != "node_id" => {
                bail!("--identity {key}=…: missing; give name, namespace, network and role")
            }
            (value, None) => labels.push((key, value.unwrap_or_default())),
            (None, Some(_)) => {}
        }
    }
    Ok(labels)
}

fn distinct(given: Vec<Certificate>) -> Result<Vec<Certificate>> {
    for (index, one) in given.iter().enumerate() {
        if given[..index].iter().any(|other| other.purpose == one.purpose) {
            bail!("--certificate {}=…: given twice; each purpose has one certificate", one.purpose);
        }
    }
    Ok(given)
}

/// Intervals of the periodic tasks, and limits of the servers.
#[derive(Clone, Copy, Debug)]
struct Pace {
    limits: Limits,
    sample: Duration,
    files: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { limits: Limits::default(), sample: health::EVERY, files: Duration::from_secs(1) }
    }
}

struct Guard {
    identity: Vec<(&'static str, String)>,
    certificates: Vec<Certificate>,
    merged: Arc<Merged>,
    min_peers: u32,
    rpc: Option<SocketAddr>,
    meeting: Option<Meeting>,
    samples: Mutex<Samples>,
    reloading: Arc<Reloading>,
    /// Whether scrapers must show a certificate.
    wants_certificate: bool,
}

/// TLS settings that admit clients without a certificate: `/chain` requires none.
fn terms() -> Terms {
    Terms { lets_in_anonymous: true, ..Terms::default() }
}

impl Guard {
    async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        health: TcpListener,
        pace: Pace,
        stop: watch::Receiver<bool>,
    ) {
        let mut background = JoinSet::new();
        background.spawn(self.clone().sample(pace.sample));
        background.spawn(self.clone().meet(pace.sample));
        background.spawn(self.reloading.clone().watch(pace.files));
        let scrapes = {
            let guard = self.clone();
            let port = Port { listener, tls: Some(self.reloading.clone()), limits: pace.limits };
            serve(port, stop.clone(), move |request| {
                let guard = guard.clone();
                async move { guard.answer(&request).await }
            })
        };
        let guard = self.clone();
        let probes = serve(Port { listener: health, tls: None, limits: pace.limits }, stop, move |request| {
            let answer = health::answer(&request, || guard.ready());
            async { answer }
        });
        tokio::join!(scrapes, probes);
    }

    fn ready(&self) -> Result<(), String> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.verdict(Instant::now(), self.min_peers)
    }

    async fn meet(self: Arc<Self>, every: Duration) {
        if let Some(meeting) = &self.meeting {
            meeting.watch(every).await;
        }
    }

    async fn sample(self: Arc<Self>, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_failure = None;
        loop {
            ticks.tick().await;
            let failure = match self.merged.fetch().await {
                Ok(page) => {
                    let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                    samples.push(Instant::now(), page);
                    None
                }
                Err(failure) => Some(failure),
            };
            match &failure {
                Some(why) if failure != last_failure => warn!(%why, "the client's metrics cannot be sampled"),
                None if last_failure.is_some() => info!("the client's metrics are sampled again"),
                _ => {}
            }
            last_failure = failure;
        }
    }

    async fn answer<B>(&self, request: &Request<B>) -> Answer {
        match route(request) {
            Route::Metrics if self.wants_certificate && request.extensions().get::<Vouched>().is_none() => {
                self.reloading.count_failed_handshake();
                text(StatusCode::UNAUTHORIZED, "a certificate is wanted: show one of the scrapers' authority")
            }
            Route::Chain => {
                let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                chain::answer(samples.last(Instant::now()), self.meeting.as_ref().and_then(Meeting::told))
            }
            Route::Metrics => match self.merged.fetch().await {
                Ok(page) => {
                    let ours =
                        series::render(&self.facts(page.dropped)) + &guard_metrics::page(self.rpc).await;
                    page_of(&page.text, &ours)
                }
                Err(failure) => text(StatusCode::SERVICE_UNAVAILABLE, &failure.to_string()),
            },
            Route::OtherMethod => {
                let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET");
                answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
                answer
            }
            Route::Nothing => not_found(),
        }
    }

    fn facts(&self, dropped: u64) -> Facts {
        let end = |one: &Certificate| (one.purpose.clone(), not_after(&one.path).ok());
        Facts {
            identity: self.identity.clone(),
            certificates: self.certificates.iter().map(end).collect(),
            dropped,
            failed_handshakes: self.reloading.failed_handshakes(),
            reload_failed: self.reloading.failed(),
        }
    }
}

fn page_of(theirs: &str, ours: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from([theirs, ours].concat())));
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, prometheus);
    answer
}

#[derive(Debug, PartialEq, Eq)]
enum Route {
    Metrics,
    Chain,
    OtherMethod,
    Nothing,
}

/// Matches the exact spelling of each path. No part of a request reaches the client.
fn route<B>(request: &Request<B>) -> Route {
    let uri = request.uri();
    let route = match (uri.path(), uri.query()) {
        ("/metrics", None) => Route::Metrics,
        ("/chain", None) => Route::Chain,
        _ => return Route::Nothing,
    };
    if request.method() == Method::GET { route } else { Route::OtherMethod }
}

/// Returns when the first certificate of a file expires, in seconds since 1970.
fn not_after(path: &Path) -> Result<i64> {
    let chain = tls::certificates(&tls::read(path)?)?;
    let first = chain.first().ok_or_else(|| anyhow!("no certificate"))?;
    let (_, certificate) = X509Certificate::from_der(first).map_err(|_| anyhow!("not X.509"))?;
    Ok(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
