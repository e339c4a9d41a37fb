//! Floods: misbehaving callers and unknown clients, one flood after another, each with its own guard, which has the
//! memory limit of its container. Meanwhile a well-behaved caller makes 200 calls a second: it must see no error and no
//! delay, each of its calls must have a record, and the guard must release its memory afterwards.

mod abandoned_calls;
mod audit;
mod caller;
mod cgroup;
mod memory;
mod records;
mod revoked;
mod setup;
mod subscribers;
mod unauthorized_callers;
mod well_behaved_caller;
mod without_guard;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::select_all;
use quorum_operator::protocol::policy::{Limits, Policy};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use caller::Caller;
pub(crate) use setup::Programs;
use setup::{Behind, Stage};
use well_behaved_caller::{RATE, Ways};

/// Limit of the well-behaved caller's 99th percentile of latency in milliseconds. `E2E_GUARD_P99_MS` overrides it, for
/// busy machines.
const P99: u64 = 100;
/// Bytes that the guard may hold after a flood beyond twice its memory before, since allocators retain some.
const SLACK: u64 = 40 * 1024 * 1024;
/// Deadline for a flood to end.
const END: Duration = Duration::from_secs(90);

/// Context of a flood.
struct Scene {
    stage: Arc<Stage>,
    good: Caller,
    bad: Caller,
    /// A second misbehaving caller.
    worse: Caller,
    until: Instant,
    limits: Limits,
}

/// Result of a flood's own checks.
#[derive(Default)]
struct Told {
    note: String,
    faults: Vec<String>,
}

type UserAction<T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + Send>>;

/// A flood, which runs beside the well-behaved caller.
struct Flood {
    name: &'static str,
    behind: Behind,
    /// Minimum duration in seconds.
    least: u64,
    /// Whether the well-behaved caller also sends large bodies, and also makes slow calls.
    is_large: bool,
    is_slow: bool,
    /// Method that must have reached the client, otherwise the flood proves nothing.
    asks: Option<&'static str>,
    policy: fn(&mut Policy),
    deed: fn(Arc<Scene>) -> UserAction<Told>,
}

impl Flood {
    /// A flood with the stand-in client, by callers with the default rate.
    const fn new(name: &'static str, deed: fn(Arc<Scene>) -> UserAction<Told>) -> Self {
        Self {
            name,
            behind: Behind::MisbehavingClient,
            least: 3,
            is_large: false,
            is_slow: false,
            asks: None,
            policy: usual,
            deed,
        }
    }

    /// The same flood, which must make this method reach the client.
    const fn asking(self, method: &'static str) -> Self {
        Self { asks: Some(method), ..self }
    }
}

/// Sets the default rate for all callers except the well-behaved one.
fn usual(policy: &mut Policy) {
    for caller in &mut policy.callers[1..] {
        (caller.calls_per_second, caller.burst) = (100, 200);
    }
}

fn all() -> Vec<Flood> {
    [
        unauthorized_callers::floods(),
        memory::floods(),
        abandoned_calls::floods(),
        audit::floods(),
        subscribers::floods(),
    ]
    .into_iter()
    .chain([revoked::floods()])
    .flatten()
    .collect()
}

/// Whether there is a flood with this name.
pub(crate) fn has(name: &str) -> bool {
    all().iter().any(|flood| flood.name == name)
}

/// Repeats an action with `number` concurrent callers until the scene ends, and ignores errors.
async fn crowd(scene: Arc<Scene>, number: usize, deed: fn(Caller) -> UserAction<()>) -> anyhow::Result<Told> {
    let worst = |caller: Caller| async move {
        loop {
            let _ = deed(caller.clone()).await;
            // do not dial a dead guard in a busy loop
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let crowd: Vec<_> = (0..number).map(|_| worst(scene.bad.clone()).boxed()).collect();
    tokio::select! {
        _ = select_all(crowd) => {}
        () = sleep_until(scene.until) => {}
    }
    Ok(Told::default())
}

/// Runs all floods or one, each at least for `each`, and returns the faults.
pub(crate) async fn run(
    programs: &Programs,
    each: Duration,
    only: Option<&str>,
) -> anyhow::Result<Vec<String>> {
    println!(
        "\n{:22} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6}",
        "flood", "well", "failed", "p99 ms", "slowest", "lost", "MB", "after", "sockets", "peak", "client"
    );
    let mut faults = Vec::new();
    for flood in all().iter().filter(|flood| only.is_none_or(|only| only == flood.name)) {
        let each = each.max(Duration::from_secs(flood.least));
        let found = one(programs, flood, each).await.unwrap_or_else(|error| vec![format!("{error:#}")]);
        for fault in found {
            println!("  fault: {fault}");
            faults.push(format!("{}: {fault}", flood.name));
        }
    }
    Ok(faults)
}

async fn one(programs: &Programs, flood: &Flood, each: Duration) -> anyhow::Result<Vec<String>> {
    let stage = Stage::new(programs, flood.behind, flood.policy).await?;
    let before = stage.quiet().await?;
    let [good, bad, worse] = stage.callers()?;
    let (until, look) = (Instant::now() + each, stage.look());
    let ways = Ways { until, is_large: flood.is_large, is_slow: flood.is_slow };
    let limits = stage.place.policy.limits.clone();
    let scene = Arc::new(Scene { stage: stage.clone(), good: good.clone(), bad, worse, until, limits });
    let records = stage.records.volume();
    // separate tasks, so that they do not delay each other
    let deed = tokio::spawn(timeout_at(until + END, (flood.deed)(scene)));
    // latency of the client itself, to tell it from that of the guard
    let itself = tokio::spawn(without_guard::latency(stage.client_at, until));
    let seen = well_behaved_caller::behave(good, ways).await?;
    let itself = itself.await??;
    let told = match deed.await? {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => Told { faults: vec![format!("{error:#}")], ..Told::default() },
        Err(_) => Told { faults: vec![format!("it did not end within {END:?}")], ..Told::default() },
    };
    let lines = stage.records.volume().0 - records.0;
    let lost = stage.records.missing(seen.well()).await;
    let left = 2 * before + SLACK;
    let after = timeout(END, stage.settled(left)).await?;
    let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
    let [peak, sockets] = stage.peaks()?.map(mib);
    let [most, client] = [&look.guard, &look.client].map(|most| mib(most.load(Ordering::Relaxed)));
    let ((failed, first), p99, slowest) = (seen.failed(), seen.within(990), seen.within(1000));
    println!(
        "{:22} {:>6} {failed:>6} {:>6} {:>7} {lost:>6} {most:>6.1} {:>6.1} {sockets:>7.1} {peak:>6.1} {client:>6.0}",
        flood.name,
        seen.well(),
        p99.as_millis(),
        slowest.as_millis(),
        after.as_ref().map_or(0.0, |after| mib(*after)),
    );
    let bound = Duration::from_millis(crate::number("E2E_GUARD_P99_MS", P99)?);
    if itself > bound / 2 {
        println!("  the client itself takes {} ms for one of a hundred small calls", itself.as_millis());
    }
    if !told.note.is_empty() {
        println!("  {}", told.note);
    }
    let mut faults = told.faults;
    // a client that has ended cannot be asked, which is reported as another fault
    if let (Some(method), Ok(asked)) = (flood.asks, stage.asked().await)
        && asked.get(method).is_none_or(|times| *times == 0)
    {
        faults.push(format!("{method} never reached the client: this proves nothing"));
    }
    faults.extend(stage.faults(&look)?);
    if failed > 0 {
        faults.push(format!("{failed} well-behaved calls failed, the first so: {first}"));
    }
    if seen.well() < RATE * each.as_secs() * 9 / 10 {
        faults.push(format!("{} well-behaved calls went well, in {each:?}", seen.well()));
    }
    if p99 > bound {
        faults.push(format!(
            "one of a hundred well-behaved calls took {p99:?} or more, where the client itself takes {itself:?}"
        ));
    }
    if lost > 0 {
        faults.push(format!("{lost} answered calls have no record, among {lines} records"));
    }
    match after {
        Err(error) => faults.push(format!("{error:#}")),
        Ok(after) if after > left => {
            faults.push(format!("the guard holds {:.1} MiB after it, {:.1} before", mib(after), mib(before)))
        }
        Ok(_) => {}
    }
    Ok(faults)
}
