//! `quorum-guard probe`: answers the kubelet for a transaction manager that accepts only mutual TLS.

pub mod database;
pub mod flags;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use self::database::Database;
use self::flags::Flags;
use crate::guard::{
    dial::Dns,
    fault::{Fault, Kind},
    flags::{HostPort, HttpsUrl, listen},
    health::{self, EVERY, FRESH},
    https,
    init::wait::Files,
    server::{Limits, Port, serve},
    shutdown,
};

/// Answers /livez and /readyz for the transaction manager next to it. It is ready when /upcheck answers 200 over
/// mutual TLS and, if a database is named, when that admits its user. All files except --database-config are read
/// again at each check.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address for the kubelet: /livez and /readyz over plain HTTP. No network policy needs to open it
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8081", value_parser = listen)]
    pub health: SocketAddr,

    /// URL of the transaction manager's upcheck; its certificate must contain this host
    #[arg(long, value_name = "URL")]
    pub upcheck: HttpsUrl,

    /// Address to dial instead of the upcheck's host. The probe still requests and verifies the upcheck's host
    #[arg(long, value_name = "HOST:PORT")]
    pub upcheck_connect: Option<HostPort>,

    /// CAs of the transaction manager's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,

    /// Client certificate for the transaction manager, PEM
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,

    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// The database to check, if any
    #[command(flatten)]
    pub database: Flags,
}

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> Result<()> {
    let asked = shutdown::asked()?;
    let at = args.health;
    let listener =
        crate::listen::bind(at).with_context(|| format!("--health {at}: choose an address that is free"))?;
    let database = args.database.database();
    let probe = Probe {
        dns: Dns::default(),
        connect: args.upcheck_connect.unwrap_or_else(|| args.upcheck.at.clone()),
        upcheck: args.upcheck,
        files: Files { ca: args.ca, cert: args.cert, key: args.key },
        state: Mutex::new(State { manager: None, database: database.is_some().then_some(None) }),
        database,
    };
    info!(health = %at, upcheck = %probe.upcheck, connect = %probe.connect, "probing");
    let (stop, stopped) = watch::channel(false);
    let serving = Arc::new(probe).serve(listener, Limits::default(), EVERY, stopped);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        () = &mut serving => bail!("the server ended"),
        () = asked => {}
    }
    info!("shutting down");
    let _ = stop.send(true);
    serving.await;
    Ok(())
}

/// Time and result of the last check; `None` before the first one.
type Look = Option<(Instant, Result<(), Kind>)>;

/// Results of both checks. `database` is `None` if no database is checked.
struct State {
    manager: Look,
    database: Option<Look>,
}

impl State {
    fn verdict(&self, now: Instant) -> Result<(), String> {
        one("transaction manager", self.manager, now)?;
        self.database.map_or(Ok(()), |look| one("database", look, now))
    }
}

fn one(what: &str, look: Look, now: Instant) -> Result<(), String> {
    match look {
        None => Err(format!("{what}: not checked yet")),
        Some((at, _)) if now.saturating_duration_since(at) > FRESH => {
            Err(format!("{what}: not checked for {} s", FRESH.as_secs()))
        }
        Some((_, Err(kind))) => Err(format!("{what}: {kind}")),
        Some((_, Ok(()))) => Ok(()),
    }
}

struct Probe {
    dns: Dns,
    upcheck: HttpsUrl,
    connect: HostPort,
    files: Files,
    database: Option<Database>,
    state: Mutex<State>,
}

/// Time for one check.
const BOUND: Duration = Duration::from_secs(5);

impl Probe {
    async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        limits: Limits,
        every: Duration,
        stop: watch::Receiver<bool>,
    ) {
        let mut background = JoinSet::new();
        background.spawn(self.clone().watch_manager(every));
        background.spawn(self.clone().watch_database(every));
        serve(Port { listener, tls: None, limits }, stop, move |request| {
            let answer = health::answer(&request, || self.ready());
            async { answer }
        })
        .await;
    }

    fn ready(&self) -> Result<(), String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).verdict(Instant::now())
    }

    async fn watch_manager(self: Arc<Self>, every: Duration) {
        let (mut last, mut ticks) = (None, ticks(every));
        loop {
            ticks.tick().await;
            let check = async {
                let tls = self.files.client()?;
                https::answers(&self.dns, &self.upcheck, &self.connect, tls).await
            };
            let seen = bounded("transaction manager", &mut last, check).await;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).manager = Some((Instant::now(), seen));
        }
    }

    async fn watch_database(self: Arc<Self>, every: Duration) {
        let Some(database) = &self.database else { return };
        let (mut last, mut ticks) = (None, ticks(every));
        loop {
            ticks.tick().await;
            let seen = bounded("database", &mut last, database.check(&self.dns)).await;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).database =
                Some(Some((Instant::now(), seen)));
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Runs one check within [`BOUND`] and logs its result if it differs from the last one.
async fn bounded(
    what: &str,
    last: &mut Option<Result<(), Kind>>,
    check: impl Future<Output = Result<(), Fault>>,
) -> Result<(), Kind> {
    let late = || Fault::new(Kind::TimedOut, format!("no answer in {} s", BOUND.as_secs()));
    let result = timeout(BOUND, check).await.unwrap_or_else(|_| Err(late()));
    let seen = result.as_ref().copied().map_err(|fault| fault.kind);
    if *last != Some(seen) {
        match &result {
            Ok(()) => info!(what, "the check succeeds"),
            Err(why) => warn!(what, %why, "the check fails"),
        }
        *last = Some(seen);
    }
    seen
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
