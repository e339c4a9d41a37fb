//! Writes audit records to stdout.
//!
//! The guard reserves space for all records of a call before it sends the call, and does not send it without space. So
//! every call that was sent has a record. While stdout is not read, [`CALLS`] bytes are stored or reserved for calls.
//! All other records, mainly rejections, have [`NOTES`] bytes and a rate of their own; what exceeds them is only
//! counted. So a flood of rejections never blocks a call.
//!
//! Writing never waits. The guard writes to a file at once, and to a pipe when the pipe can take `PIECE` bytes, an
//! amount for which POSIX guarantees this.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use tokio::time::{MissedTickBehavior, interval};

use self::{
    backlog::{Backlog, Kind},
    quota::Quota,
    record::{Clock, Fact, Verdict, Way},
};

/// Bytes stored or reserved for records of calls while stdout is not read: some 3000 records.
pub const CALLS: usize = 1024 * 1024;
/// Bytes stored for all other records.
pub const NOTES: usize = 128 * 1024;
/// Bytes that a writable pipe takes without waiting: `PIPE_BUF`.
const PIECE: usize = 4096;
/// Interval of retries while stdout takes nothing.
const RETRY: Duration = Duration::from_millis(50);
/// Interval of the lines that aggregate several records.
const SUMS: Duration = Duration::from_secs(1);

/// The audit log.
pub struct Audit {
    out: OwnedFd,
    /// Whether `poll` must confirm that stdout is writable before each write.
    asks: AtomicBool,
    kept: Mutex<Kept>,
    /// Bytes that stdout has not taken yet.
    waiting: AtomicUsize,
    /// Bytes stored or reserved for records of calls.
    calls: AtomicUsize,
    /// Calls whose last record is not written yet.
    open: AtomicU64,
    lost: AtomicU64,
    /// Records that were counted instead of written on a line of their own.
    summed: AtomicU64,
    lines: [AtomicU64; Verdict::ALL.len()],
    since: Instant,
}

#[derive(Default)]
struct Kept {
    backlog: Backlog,
    quota: Quota,
    clock: Clock,
}

/// Space reserved for the records of one call. Only [`Audit`] releases it.
#[derive(Debug)]
pub struct Space(usize);

/// Returns the time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Audit {
    /// Writes to a file, a pipe or a terminal.
    #[must_use]
    pub fn to(out: OwnedFd) -> Self {
        Self {
            out,
            asks: AtomicBool::new(false),
            kept: Mutex::default(),
            waiting: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            open: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            summed: AtomicU64::new(0),
            lines: Default::default(),
            since: Instant::now(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of bytes that stdout has not taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes reserved for records of calls under way.
    #[must_use]
    pub fn reserved(&self) -> usize {
        let kept = self.kept();
        self.calls.load(Ordering::Relaxed).saturating_sub(kept.backlog.of(Kind::Call))
    }

    /// Returns the number of records that stdout never took.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns the number of records that were counted instead of written on a line of their own.
    #[must_use]
    pub fn summed(&self) -> u64 {
        self.summed.load(Ordering::Relaxed)
    }

    /// Returns the number of lines written, in the order of [`Verdict::ALL`].
    #[must_use]
    pub fn lines(&self) -> [u64; Verdict::ALL.len()] {
        self.lines.each_ref().map(|lines| lines.load(Ordering::Relaxed))
    }

    /// Reserves bytes for all records of one call; `None` if there is no space. The call is open until [`Audit::last`]
    /// or [`Audit::release`].
    pub(super) fn reserve(&self, bytes: usize) -> Option<Space> {
        let more = |there: usize| (there + bytes <= CALLS).then(|| there + bytes);
        self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Space(bytes))
    }

    /// Releases the space of a call without a last record.
    pub(super) fn release(&self, space: &mut Space) {
        self.calls.fetch_sub(std::mem::take(&mut space.0), Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Writes a record of a call that is not its last one.
    pub(super) fn write(&self, space: &mut Space, way: &Way, fact: &Fact<'_>) {
        let mut kept = self.kept();
        let bytes = self.put(&mut kept, Kind::Call, way, fact);
        debug_assert!(bytes <= space.0, "{bytes} of {}", space.0);
        match space.0.checked_sub(bytes) {
            Some(left) => space.0 = left,
            None => {
                self.calls.fetch_add(bytes - space.0, Ordering::Relaxed);
                space.0 = 0;
            }
        }
        self.flush(&mut kept);
    }

    /// Writes the last record of a call and releases the space that is left.
    pub(super) fn last(&self, space: &mut Space, way: &Way, fact: &Fact<'_>) {
        self.write(space, way, fact);
        self.release(space);
    }

    /// Writes a record other than of a forwarded call, or counts it if there is no space or the rate is used up.
    pub(super) fn note(&self, way: &Way, fact: &Fact<'_>) {
        let mut kept = self.kept();
        let fits = kept.backlog.of(Kind::Note) + record::most(fact) <= NOTES;
        if fits && kept.quota.take(fact.caller, self.since.elapsed()) {
            self.put(&mut kept, Kind::Note, way, fact);
            self.flush(&mut kept);
        } else {
            kept.quota.count(way, fact, now());
            self.summed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn put(&self, kept: &mut Kept, kind: Kind, way: &Way, fact: &Fact<'_>) -> usize {
        let Kept { backlog, clock, .. } = kept;
        let bytes = backlog.put(kind, |to| record::line(clock, now(), way, fact, to));
        self.lines[fact.verdict as usize].fetch_add(1, Ordering::Relaxed);
        bytes
    }

    /// Adds the lines that aggregate counted records, as long as there is space.
    fn sums(&self, kept: &mut Kept) {
        let Kept { backlog, quota, clock } = kept;
        quota.give(self.since.elapsed(), |sum| {
            let fits = backlog.of(Kind::Note) < NOTES;
            if fits {
                backlog.put(Kind::Note, |to| record::sum(clock, now(), sum, to));
                self.lines[sum.verdict as usize].fetch_add(1, Ordering::Relaxed);
            }
            fits
        });
    }

    /// Writes as much as stdout takes now.
    fn flush(&self, kept: &mut Kept) {
        while !kept.backlog.is_empty() {
            match self.out(kept.backlog.first(PIECE)) {
                Ok(0) => break,
                Ok(bytes) => {
                    let of_calls = kept.backlog.take(bytes);
                    self.calls.fetch_sub(of_calls, Ordering::Relaxed);
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.waiting.store(kept.backlog.len(), Ordering::Relaxed);
    }

    /// Writes without waiting. Uses one system call if the kernel supports `RWF_NOWAIT` for this kind of stdout (pipes
    /// since Linux 6.4), otherwise `poll` and `write`, because a file may take bytes even if the first call fails.
    fn out(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        if !self.asks.load(Ordering::Relaxed) {
            // offset -1 means the current position
            match pwritev2(&self.out, &[IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT) {
                Ok(written) => return Ok(written),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.asks.store(true, Ordering::Relaxed),
            }
        }
        if self.takes() { rustix::io::write(&self.out, bytes) } else { Err(Errno::AGAIN) }
    }

    fn takes(&self) -> bool {
        let mut asked = [PollFd::from_borrowed_fd(self.out.as_fd(), PollFlags::OUT)];
        let ready = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        ready.is_ok() && asked[0].revents().contains(PollFlags::OUT)
    }

    /// Retries while bytes are pending, and writes the aggregated lines once a second. Never returns.
    pub async fn run(&self) {
        let mut ticks = interval(RETRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut summed = Instant::now();
        loop {
            ticks.tick().await;
            let is_due = summed.elapsed() >= SUMS;
            if is_due {
                summed = Instant::now();
                self.sums(&mut self.kept());
            }
            if is_due || self.waiting() > 0 {
                self.flush(&mut self.kept());
            }
        }
    }

    /// Writes the remaining records, and those of calls that still end, for at most `grace`. Counts the rest as lost
    /// and returns the number of lost records.
    pub async fn end(&self, grace: Duration) -> u64 {
        let _ = tokio::time::timeout(grace, async {
            let mut ticks = interval(RETRY);
            while self.left() > 0 {
                ticks.tick().await;
                let mut kept = self.kept();
                self.sums(&mut kept);
                self.flush(&mut kept);
            }
        })
        .await;
        let left = self.left();
        self.lost.fetch_add(left, Ordering::Relaxed) + left
    }

    /// Number of records that are not written yet, including those of open calls.
    fn left(&self) -> u64 {
        let kept = self.kept();
        kept.backlog.lines() + kept.quota.counted() + self.open.load(Ordering::Relaxed)
    }
}

/// Shows no content, because records name callers.
impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit(")?;
        f.write_fmt(format_args!("{} bytes waiting", self.waiting()))?;
        f.write_char(')')
    }
}

pub mod audit_scope;
pub mod backlog;
pub mod quota;
pub mod record;
#[cfg(test)]
mod tests;
