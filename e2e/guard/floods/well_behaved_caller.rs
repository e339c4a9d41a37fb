//! Well-behaved caller: 200 calls a second from a separate thread, so that only the guard delays it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    caller::{Caller, call},
    without_guard,
};

/// Calls per second.
pub(crate) const RATE: u64 = 200;
/// Deadline of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Size of a large body in bytes.
const LARGE: usize = 48 * 1024;

/// Outcome of its calls.
#[derive(Default)]
pub(crate) struct Seen {
    /// Latencies of successful calls.
    took: Mutex<Vec<Duration>>,
    /// Errors of failed calls.
    failed: Mutex<Vec<String>>,
}

impl Seen {
    fn put(&self, done: Result<Duration, String>) {
        match done {
            Ok(took) => self.took.lock().unwrap_or_else(PoisonError::into_inner).push(took),
            Err(failed) => self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failed),
        }
    }

    pub(crate) fn well(&self) -> u64 {
        self.took.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Number of failed calls, and the first error.
    pub(crate) fn failed(&self) -> (u64, String) {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        (failed.len() as u64, failed.first().cloned().unwrap_or_default())
    }

    /// Latency that this many thousandths of the successful calls did not exceed.
    pub(crate) fn within(&self, thousandths: usize) -> Duration {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner).clone();
        took.sort_unstable();
        let at = (took.len() * thousandths).div_ceil(1000).saturating_sub(1);
        took.get(at).copied().unwrap_or_default()
    }
}

/// Behaviour of the caller.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) until: Instant,
    /// Whether every fifth body is large.
    pub(crate) is_large: bool,
    /// Whether every other call takes the client 20 ms.
    pub(crate) is_slow: bool,
}

/// Makes calls at the fixed rate in a separate thread, without waiting for earlier calls.
pub(crate) async fn behave(caller: Caller, ways: Ways) -> anyhow::Result<Arc<Seen>> {
    let seen = Arc::new(Seen::default());
    let to = seen.clone();
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(calls(caller, ways, to));
        anyhow::Ok(())
    });
    thread.await??;
    Ok(seen)
}

/// Uses as many persistent connections as it needs, and a new connection for every tenth call.
async fn calls(caller: Caller, ways: Ways, seen: Arc<Seen>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let mut ticks = interval(Duration::from_millis(1000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0_usize.. {
        let due = ticks.tick().await;
        if due >= ways.until {
            break;
        }
        let (caller, seen, kept) = (caller.clone(), seen.clone(), kept.clone());
        let is_slow = ways.is_slow && number.is_multiple_of(2);
        let mut body = if is_slow { without_guard::call(1, "eth_slow", "20") } else { call("eth_chainId") };
        if ways.is_large && number.is_multiple_of(5) {
            body.push_str(&" ".repeat(LARGE));
        }
        under_way.spawn(async move {
            let done = timeout(PATIENCE, async {
                if number.is_multiple_of(10) {
                    return caller.call(&mut caller.http1().await?, body).await;
                }
                let free = kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut sender = match free {
                    Some(sender) => sender,
                    None => caller.http1().await?,
                };
                caller.call(&mut sender, body).await?;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
                anyhow::Ok(())
            });
            seen.put(match done.await {
                Ok(Ok(())) => Ok(due.elapsed()),
                Ok(Err(failed)) => Err(format!("{failed:#}")),
                Err(_) => Err(format!("no answer after {PATIENCE:?}")),
            });
        });
    }
    while under_way.join_next().await.is_some() {}
}
