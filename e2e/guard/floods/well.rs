//! The caller who behaves: 200 calls a second, from a thread of its own, so that nothing but the guard delays it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::caller::{Caller, call};
use super::direct;

/// Calls a second of the one that behaves.
pub(crate) const RATE: u64 = 200;
/// What an answer to it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a large body, which each fifth of its calls has if it is asked to.
const LARGE: usize = 48 * 1024;

/// What became of its calls.
#[derive(Default)]
pub(crate) struct Seen {
    /// Of those that were answered well.
    took: Mutex<Vec<Duration>>,
    /// Of the others.
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

    /// How many failed, and how the first of them did.
    pub(crate) fn failed(&self) -> (u64, String) {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        (failed.len() as u64, failed.first().cloned().unwrap_or_default())
    }

    /// What so many of a thousand took at most.
    pub(crate) fn within(&self, thousandths: usize) -> Duration {
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner).clone();
        took.sort_unstable();
        let at = (took.len() * thousandths).div_ceil(1000).saturating_sub(1);
        took.get(at).copied().unwrap_or_default()
    }
}

/// What it does.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) until: Instant,
    /// Whether each fifth of its bodies is a large one.
    pub(crate) is_large: bool,
    /// Whether each other of its calls takes the client 20 ms.
    pub(crate) is_slow: bool,
}

/// Calls at the rate in a thread of its own, whatever becomes of the calls before.
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

/// Over connections that are kept, as many as it takes, and each tenth over a new one.
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
        let mut body = if is_slow { direct::call(1, "eth_slow", "20") } else { call("eth_chainId") };
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
