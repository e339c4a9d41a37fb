//! Counters and limits of one caller: rate, connections, filters, bytes in flight and calls. Pure.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::filters::Filters;
use crate::protocol::policy::Caller;

/// Counters and limits of one caller.
pub struct CallerState {
    /// Name of the caller's entry in the policy.
    pub name: String,
    bucket: Mutex<Bucket>,
    connections: AtomicU32,
    /// Filters that the caller has installed in the client.
    pub filters: Filters,
    /// Bytes in flight.
    pub bytes: AtomicUsize,
    /// Forwarded calls.
    pub allowed: AtomicU64,
    /// Rejected calls.
    pub refused: AtomicU64,
}

impl std::fmt::Debug for CallerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallerState(")?;
        f.write_str(&self.name)?;
        f.write_str(")")
    }
}

/// Token bucket of calls: filled at the caller's rate, up to its burst.
struct Bucket {
    /// Calls that may follow at once; `None` before the first call, when the bucket is full.
    calls: Option<f64>,
    /// Time of the last refill since the process began.
    at: Duration,
}

/// Result of taking calls from the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The calls are allowed now.
    Taken,
    /// At least one call is allowed after this many seconds.
    Later(u32),
    /// The burst never allows so many calls at once.
    Never,
}

impl CallerState {
    /// Creates the state of a caller without any calls.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let bucket = Mutex::new(Bucket { calls: None, at: Duration::ZERO });
        let (allowed, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        let (connections, bytes) = (AtomicU32::new(0), AtomicUsize::new(0));
        Self {
            name: name.to_owned(),
            bucket,
            connections,
            filters: Filters::default(),
            bytes,
            allowed,
            refused,
        }
    }

    /// Takes all of the calls from the rate, or none. `now` is the time since the process began.
    pub fn take(&self, caller: &Caller, calls: u32, now: Duration) -> Take {
        if calls > caller.burst {
            return Take::Never;
        }
        let (rate, burst) = (f64::from(caller.calls_per_second), f64::from(caller.burst));
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = now.saturating_sub(bucket.at).as_secs_f64();
        let there = bucket.calls.map_or(burst, |calls| (calls + gone * rate).min(burst));
        bucket.at = now;
        let left = there - f64::from(calls);
        bucket.calls = Some(if left < 0.0 { there } else { left });
        if left < 0.0 { Take::Later((-left / rate).ceil().max(1.0) as u32) } else { Take::Taken }
    }

    /// Counts one more connection. Returns false if the caller has `most` already.
    pub fn connect(&self, most: u32) -> bool {
        let more = |there: u32| (there < most).then(|| there + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts a closed connection.
    pub fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Number of open connections.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::policy::Identity;

    fn caller(calls_per_second: u32, burst: u32) -> Caller {
        Caller {
            name: "wallet".into(),
            identity: Identity::ServiceAccount { namespace: "apps".into(), name: "wallet".into() },
            methods: vec![],
            private_state: false,
            origins: vec![],
            calls_per_second,
            burst,
            connections: 1,
        }
    }

    #[test]
    fn a_caller_has_its_burst_and_then_its_rate() {
        let (account, caller) = (CallerState::new("wallet"), caller(10, 20));
        let at = |millis: u64| Duration::from_millis(5000 + millis);
        assert_eq!(account.take(&caller, 21, at(0)), Take::Never);
        assert_eq!(account.take(&caller, 15, at(0)), Take::Taken);
        assert_eq!(account.take(&caller, 5, at(0)), Take::Taken);
        assert_eq!(account.take(&caller, 1, at(0)), Take::Later(1));
        assert_eq!(account.take(&caller, 20, at(0)), Take::Later(2));
        assert_eq!(account.take(&caller, 1, at(99)), Take::Later(1));
        assert_eq!(account.take(&caller, 1, at(100)), Take::Taken);
        assert_eq!(account.take(&caller, 1, at(100)), Take::Later(1));
        // a long pause fills the bucket to the burst and no further
        assert_eq!(account.take(&caller, 20, at(60_000)), Take::Taken);
        assert_eq!(account.take(&caller, 1, at(60_000)), Take::Later(1));
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate_gets_through() {
        let (account, caller) = (CallerState::new("wallet"), caller(50, 10));
        let taken =
            (0..10_000).filter(|i| account.take(&caller, 1, Duration::from_millis(*i)) == Take::Taken);
        let taken = taken.count();
        assert!((508..=510).contains(&taken), "{taken}");
    }

    #[test]
    fn connections_are_counted_up_to_their_most() {
        let account = CallerState::new("wallet");
        assert!(account.connect(2) && account.connect(2) && !account.connect(2));
        account.disconnect();
        assert!(account.connect(2));
        assert_eq!(account.connections(), 2);
    }
}
