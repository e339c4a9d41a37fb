//! `quorum-guard rpc`: authorizes JSON-RPC calls of named callers and forwards them to the client.
//!
//! | module | kind | content |
//! | --- | --- | --- |
//! | `decide` | pure | who calls, what the body says, whether the call is authorized, and the rejections |
//! | `limits` | shared state | limits of rate, concurrent calls, bodies, deadlines, filters, memory; pure: `fairness` |
//! | `serve` | i/o | connections of callers and their slots, HTTP and WebSocket, and calls at the client |
//! | `audit` | i/o | audit records; pure: `backlog`, `quota`, `record` |
//! | `metrics` | shared state | counters, rendered as Prometheus text |
//! | `policy_reload` | i/o | reloads the policy file |

pub mod audit;
pub mod decide;
pub mod limits;
pub mod metrics;
pub mod policy_reload;
pub mod serve;

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

use self::{
    decide::rules::Rules,
    limits::{
        caller_state::CallerState,
        concurrency::Load,
        memory_budget::{self, Budget},
    },
    metrics::Metrics,
    policy_reload::ReloadedPolicy,
    serve::{server_state::ServerState, upstream::Upstream},
};
use crate::guard::rpc::serve::listen;
use crate::guard::{
    flags, health,
    metrics::series::family,
    reload::{Files, Reloading},
    server::{self, Answer, Limits, Port, not_found},
    shutdown,
};

use self::audit::Audit;

/// Authorizes JSON-RPC calls of named callers over TLS, and forwards to the client only what it has parsed.
///
/// Audit records go to stdout, one JSON line per call; the log goes to stderr. Changes of the policy and of
/// certificates take effect without a restart.
#[derive(clap::Args)]
pub struct Args {
    /// Address for callers: TLS, HTTP/1.1, HTTP/2, WebSocket
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::listen, default_value = "[::]:8545")]
    pub listen: SocketAddr,
    /// Address for the kubelet: /livez and /readyz over plain HTTP
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::listen, default_value = "[::]:8546")]
    pub health: SocketAddr,
    /// Address for the metrics sidecar: /metrics over plain HTTP, on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::loopback, default_value = "127.0.0.1:9546")]
    pub metrics: SocketAddr,
    /// The client's HTTP listener, on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::loopback, default_value = "127.0.0.1:8547")]
    pub http: SocketAddr,
    /// The client's WebSocket listener, on loopback
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = flags::loopback, default_value = "127.0.0.1:8548")]
    pub ws: SocketAddr,
    /// Directory with tls.crt and tls.key
    #[arg(long, value_name = "DIR")]
    pub tls_dir: PathBuf,
    /// The policy file: who may call which methods
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
}

/// Time for stdout to take the remaining audit records after shutdown.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Serves until the process is asked to end.
///
/// # Errors
/// If a file cannot be used or an address is taken.
pub async fn run(args: Args) -> Result<()> {
    until(shutdown::asked()?, args).await
}

/// Serves until `asked` completes.
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
        // serving ends by itself only if it fails
        served = &mut serving => return served,
        () = asked => {}
    }
    info!("shutting down");
    let _ = stopping.send(true);
    serving.await
}

/// Bound listeners.
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
    let watched = ReloadedPolicy::open(args.policy)?;
    let tls = Reloading::open(Files { dir: args.tls_dir, client_ca: None }, watched.terms()?)?;
    let (tls, counts) = (Arc::new(tls), Arc::new(Metrics::new(audit)));
    let server_state = Arc::new(ServerState {
        rules: watched.rules(),
        counts: counts.clone(),
        budget: Budget::within(
            memory_budget::memory_limit(),
            watched.rules().borrow().policy.limits.connections,
        ),
        http: Arc::new(Upstream::new(args.http)),
        ws: args.ws,
        stop,
        since: Instant::now(),
    });
    info!(listen = %args.listen, callers = server_state.rules().policy.callers.len(), "serving JSON-RPC");
    let mut background = JoinSet::new();
    background.spawn(watched.run(counts.clone(), tls.clone()));
    background.spawn(tls.clone().watch(Duration::from_secs(1)));
    background.spawn(sidelines(ports.health, ports.metrics, server_state.clone(), tls.clone()));
    background.spawn({
        let counts = counts.clone();
        async move { counts.audit.run().await }
    });
    listen::serve(ports.callers, tls, server_state).await;
    let lost = counts.audit.end(LAST_RECORDS).await;
    if lost > 0 {
        warn!(lost, "audit records were lost because stdout did not take them");
    }
    Ok(())
}

/// Serves health and metrics, and checks the client's listener periodically.
async fn sidelines(
    health: TcpListener,
    metrics: TcpListener,
    server_state: Arc<ServerState>,
    tls: Arc<Reloading>,
) {
    let reached = Arc::new(AtomicBool::new(false));
    let port = |listener| Port { listener, tls: None, limits: Limits::default() };
    let probes = {
        let reached = reached.clone();
        server::serve(port(health), server_state.stop.clone(), move |request| {
            let ready = || match reached.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err("the client takes no connection".to_owned()),
            };
            let answer = health::answer(&request, ready);
            async { answer }
        })
    };
    let page = {
        let server_state = server_state.clone();
        server::serve(port(metrics), server_state.stop.clone(), move |request| {
            let answer = match (request.method(), request.uri().path(), request.uri().query()) {
                (&Method::GET, "/metrics", None) => page_of(&server_state, &tls),
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
            reached.store(server_state.http.accepts(health::EVERY).await, Ordering::Relaxed);
        }
    };
    tokio::join!(probes, page, look);
}

fn page_of(server_state: &ServerState, tls: &Reloading) -> Answer {
    let failed = (tls.failed_handshakes(), tls.failed());
    let rules = server_state.rules();
    let mut text = server_state.counts.render(&rules, server_state.http.load(), failed);
    turns_of_callers(&mut text, server_state, &rules);
    for (name, help, bytes) in [
        ("in_flight_bytes", "Bytes of calls and answers in flight.", server_state.budget.held()),
        (
            "in_flight_limit_bytes",
            "Limit of bytes in flight; one caller may use half of it.",
            server_state.budget.most(),
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

/// Adds the series that show why a caller waits.
fn turns_of_callers(text: &mut String, server_state: &ServerState, rules: &Rules) {
    let loads = server_state.http.loads();
    let load_of = |account: &Arc<CallerState>| loads.get(&account.name).copied().unwrap_or_default();
    type Value = fn(Load) -> u32;
    let series: [(_, _, Value); 3] = [
        ("waiting", "Calls of a caller that wait for a concurrency slot.", |load| load.waiting),
        ("at_client", "Calls of a caller that the client runs.", |load| load.taken),
        (
            "slow",
            "1 if a caller's calls take the client long, so that it has few concurrency slots.",
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
