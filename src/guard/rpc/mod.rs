//! `quorum-guard rpc`: JSON-RPC for named callers, and nothing else.
//!
//! | file | kind | what it is |
//! | --- | --- | --- |
//! | `json`, `message` | pure | a body, read strictly and written anew |
//! | `rules`, `identity`, `judge`, `refusal` | pure | who asks, what of it is passed on, and what the rest is answered |
//! | `fairness` | pure | which callers may have a turn at the client |
//! | `account`, `filters`, `budget` | shared | what is counted of a caller, and bytes in flight |
//! | `record`, `effect`, `quota`, `backlog` | pure | a line of audit, which calls have two, how many lines refusals have, lines that wait |
//! | `watch` | i/o | the policy's file |
//! | `listen`, `place`, `connection`, `patience`, `quiet` | i/o | connections: taken, known, bounded, cut, at rest |
//! | `http`, `intake`, `body` | i/o | a request, its body, its answer |
//! | `answers`, `at_client`, `turns`, `upstream` | i/o | calls and their answers in order, one of them at the client, its turn, the client |
//! | `ws` | i/o | WebSockets |
//! | `entry`, `audit`, `counts` | i/o | what is put down: records, metrics |

pub mod account;
pub mod answers;
pub mod at_client;
pub mod audit;
pub mod backlog;
pub mod body;
pub mod budget;
pub mod connection;
pub mod counts;
pub mod effect;
pub mod entry;
pub mod fairness;
pub mod filters;
pub mod http;
pub mod identity;
pub mod intake;
pub mod json;
pub mod judge;
pub mod listen;
pub mod message;
pub mod patience;
pub mod place;
pub mod quiet;
pub mod quota;
pub mod record;
pub mod refusal;
pub mod rules;
pub mod shared;
pub mod turns;
pub mod upstream;
pub mod watch;
pub mod ws;

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::guard::metrics::series::family;
use crate::guard::reload::{Files, Reloading};
use crate::guard::server::{self, Answer, Limits, Port, not_found};
use crate::guard::{flags, health, stop};

use self::account::Account;
use self::audit::Audit;
use self::budget::Budget;
use self::counts::Counts;
use self::rules::Rules;
use self::shared::Shared;
use self::turns::Load;
use self::upstream::Upstream;
use self::watch::Watched;

/// Let named callers call what they are granted, over TLS, and pass on only what was written here.
///
/// Audit records go to stdout, a line of JSON for each call; the log goes to stderr. Policy and certificates are
/// looked at again and again, and taken over without losing a request.
#[derive(clap::Args)]
pub struct Args {
    /// Where callers connect: TLS, HTTP/1.1, HTTP/2, WebSocket
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::listen, default_value = "[::]:8545")]
    pub listen: SocketAddr,
    /// Where the kubelet asks: plain HTTP, /livez and /readyz
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::listen, default_value = "[::]:8546")]
    pub health: SocketAddr,
    /// Where the metrics sidecar asks: plain HTTP, /metrics, on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::loopback, default_value = "127.0.0.1:9546")]
    pub metrics: SocketAddr,
    /// The client's HTTP listener, on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::loopback, default_value = "127.0.0.1:8547")]
    pub http: SocketAddr,
    /// The client's WebSocket listener, on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::loopback, default_value = "127.0.0.1:8548")]
    pub ws: SocketAddr,
    /// Holds tls.crt and tls.key
    #[arg(long, value_name = "DIR")]
    pub tls_dir: PathBuf,
    /// Who may call what
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
}

/// How long stdout has to take what is left of the audit records.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Serves until the process is asked to end.
///
/// # Errors
/// Where a file cannot be used, or an address is taken.
pub async fn run(args: Args) -> Result<()> {
    until(stop::asked()?, args).await
}

/// Serves until this is done.
async fn until(asked: impl Future<Output = ()>, args: Args) -> Result<()> {
    let bind = |flag: &str, at: SocketAddr| {
        crate::listen::bind(at).with_context(|| format!("{flag} {at}: choose an address that is free"))
    };
    let callers = listen::bind(args.listen)
        .with_context(|| format!("--listen {}: choose an address that is free", args.listen));
    let ports = Ports {
        callers: callers?,
        health: bind("--health", args.health)?,
        metrics: bind("--metrics", args.metrics)?,
    };
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("stdout, for audit records")?;
    let (stopping, stop) = tokio::sync::watch::channel(false);
    let mut serving = Box::pin(serve(args, ports, Audit::to(stdout), stop));
    tokio::select! {
        // what cannot be served ends unasked
        served = &mut serving => return served,
        () = asked => {}
    }
    info!("asked to end");
    let _ = stopping.send(true);
    serving.await
}

/// Where others connect.
struct Ports {
    callers: TcpListener,
    health: TcpListener,
    metrics: TcpListener,
}

async fn serve(
    args: Args,
    ports: Ports,
    audit: Audit,
    stop: tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let watched = Watched::open(args.policy)?;
    let tls = Reloading::open(Files { dir: args.tls_dir, client_ca: None }, watched.terms()?)?;
    let (tls, counts) = (Arc::new(tls), Arc::new(Counts::new(audit)));
    let shared = Arc::new(Shared {
        rules: watched.rules(),
        counts: counts.clone(),
        budget: Budget::within(budget::memory_limit(), watched.rules().borrow().policy.limits.connections),
        http: Arc::new(Upstream::new(args.http)),
        ws: args.ws,
        stop,
        since: Instant::now(),
    });
    info!(listen = %args.listen, callers = shared.rules().policy.callers.len(), "serving JSON-RPC");
    let mut background = JoinSet::new();
    background.spawn(watched.run(counts.clone(), tls.clone()));
    background.spawn(tls.clone().watch(Duration::from_secs(1)));
    background.spawn(sidelines(ports.health, ports.metrics, shared.clone(), tls.clone()));
    background.spawn({
        let counts = counts.clone();
        async move { counts.audit.run().await }
    });
    listen::serve(ports.callers, tls, shared).await;
    let lost = counts.audit.end(LAST_RECORDS).await;
    if lost > 0 {
        warn!(lost, "audit records were lost: stdout took none");
    }
    Ok(())
}

/// What the kubelet and the metrics sidecar ask.
async fn sidelines(health: TcpListener, metrics: TcpListener, shared: Arc<Shared>, tls: Arc<Reloading>) {
    let reached = Arc::new(AtomicBool::new(false));
    let port = |listener| Port { listener, tls: None, limits: Limits::default() };
    let probes = {
        let reached = reached.clone();
        server::serve(port(health), shared.stop.clone(), move |request| {
            let ready = || match reached.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err("the client takes no connection".to_owned()),
            };
            let answer = health::answer(&request, ready);
            async { answer }
        })
    };
    let page = {
        let shared = shared.clone();
        server::serve(port(metrics), shared.stop.clone(), move |request| {
            let answer = match (request.method(), request.uri().path(), request.uri().query()) {
                (&Method::GET, "/metrics", None) => page_of(&shared, &tls),
                _ => not_found(),
            };
            async { answer }
        })
    };
    let look = async {
        let mut ticks = interval(health::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            reached.store(shared.http.accepts(health::EVERY).await, Ordering::Relaxed);
        }
    };
    tokio::join!(probes, page, look);
}

fn page_of(shared: &Shared, tls: &Reloading) -> Answer {
    let failed = (tls.failed_handshakes(), tls.failed());
    let rules = shared.rules();
    let mut text = shared.counts.render(&rules, shared.http.load(), failed);
    turns_of_callers(&mut text, shared, &rules);
    for (name, help, bytes) in [
        ("in_flight_bytes", "Bytes of calls and answers that are held.", shared.budget.held()),
        (
            "in_flight_limit_bytes",
            "Bytes that may be held, half of them for one caller.",
            shared.budget.most(),
        ),
    ] {
        let head = [&format!("quorum_guard_rpc_{name}"), "gauge", help];
        family(&mut text, head, &[(&[], bytes as u64)]);
    }
    let mut answer = Response::new(http_body_util::Full::new(text.into()));
    *answer.status_mut() = StatusCode::OK;
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, prometheus);
    answer
}

/// What an operator looks at to see why a caller waits.
fn turns_of_callers(text: &mut String, shared: &Shared, rules: &Rules) {
    let loads = shared.http.loads();
    let load_of = |account: &Arc<Account>| loads.get(&account.name).copied().unwrap_or_default();
    type Value = fn(Load) -> u32;
    let series: [(_, _, Value); 3] = [
        ("waiting", "Requests of a caller that wait for their turn at the client.", |load| load.waiting),
        ("at_client", "Requests of a caller that are with the client.", |load| load.taken),
        (
            "slow",
            "1 if a caller's calls take the client long, so that it has few turns at the client.",
            |load| load.is_slow.into(),
        ),
    ];
    for (name, help, value) in series {
        let samples = rules.accounts().iter();
        let samples = samples.map(|account| ([("caller", account.name.as_str())], value(load_of(account))));
        let samples: Vec<_> = samples.collect();
        let samples: Vec<_> = samples.iter().map(|(labels, value)| (&labels[..], *value)).collect();
        family(text, [&format!("quorum_guard_rpc_caller_{name}"), "gauge", help], &samples);
    }
}

#[cfg(test)]
mod tests;
