//! Audit records to stdout.
//!
//! Space for all records of a call is reserved before it is sent, and where there is none it is not sent: what cannot
//! be recorded does not happen, and what happened has its record. While stdout takes nothing, [`CALLS`] bytes are kept
//! or reserved for calls; everything else (refusals above all) has [`NOTES`] bytes and a rate of its own, and is counted
//! beyond that, so that no flood of it is in the way of a call. Writing never waits: a file is written at once, a pipe
//! when it says that it takes `PIECE` bytes, which is what POSIX promises of a pipe.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use tokio::time::{MissedTickBehavior, interval};

use super::backlog::{Backlog, Kind};
use super::quota::Quota;
use super::record::{self, Clock, Fact, Verdict, Way};

/// Bytes of records of calls that are kept or reserved while stdout takes nothing: some 3000 records.
pub const CALLS: usize = 1024 * 1024;
/// Bytes of all other records that are kept meanwhile.
pub const NOTES: usize = 128 * 1024;
/// What a pipe that can be written to takes without waiting: `PIPE_BUF`.
const PIECE: usize = 4096;
/// Between two tries while stdout takes nothing.
const RETRY: Duration = Duration::from_millis(50);
/// Between two lines of what was counted.
const SUMS: Duration = Duration::from_secs(1);

/// Where records go.
pub struct Audit {
    out: OwnedFd,
    /// Whether stdout has to be asked whether it takes something, before each time.
    asks: AtomicBool,
    kept: Mutex<Kept>,
    /// Bytes that are kept.
    waiting: AtomicUsize,
    /// Bytes of records of calls that are kept or reserved.
    calls: AtomicUsize,
    /// Calls whose last record is not written yet.
    open: AtomicU64,
    lost: AtomicU64,
    /// Calls and requests that were counted instead of having a line of their own.
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

/// Space for records of one call. Nobody but [`Audit`] gives it back.
#[derive(Debug)]
pub struct Space(usize);

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Audit {
    /// To a file, a pipe or a terminal.
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

    /// Bytes that stdout has not taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes that are reserved for records of calls under way.
    #[must_use]
    pub fn reserved(&self) -> usize {
        let kept = self.kept();
        self.calls.load(Ordering::Relaxed).saturating_sub(kept.backlog.of(Kind::Call))
    }

    /// Records that were lost: stdout never took them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Calls and requests that were counted instead of having a line of their own.
    #[must_use]
    pub fn summed(&self) -> u64 {
        self.summed.load(Ordering::Relaxed)
    }

    /// Lines so far, as [`Verdict::ALL`] has it.
    #[must_use]
    pub fn lines(&self) -> [u64; Verdict::ALL.len()] {
        self.lines.each_ref().map(|lines| lines.load(Ordering::Relaxed))
    }

    /// Reserves so many bytes for all records of one call, if there is room; the call is open until [`Audit::last`] or
    /// [`Audit::release`].
    pub(super) fn reserve(&self, bytes: usize) -> Option<Space> {
        let more = |there: usize| (there + bytes <= CALLS).then(|| there + bytes);
        self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Space(bytes))
    }

    /// Gives back what was reserved for a call that has no record of its own.
    pub(super) fn release(&self, space: &mut Space) {
        self.calls.fetch_sub(std::mem::take(&mut space.0), Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Writes a record of a call that is not its last.
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

    /// Writes the last record of a call, and gives back what it did not need.
    pub(super) fn last(&self, space: &mut Space, way: &Way, fact: &Fact<'_>) {
        self.write(space, way, fact);
        self.release(space);
    }

    /// Writes a record of no call, or counts it.
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

    /// Writes what was counted, as far as there is room.
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

    /// Writes what stdout takes now.
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

    /// Writes without waiting, with one system call where the kernel does that for what stdout is (a pipe: since 6.4).
    /// Where it says no, a file may still take it: so it is asked.
    fn out(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        if !self.asks.load(Ordering::Relaxed) {
            // an offset of -1 is where it stands
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

    /// Tries again and again while something waits, and writes each second what was counted.
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

    /// Writes what is left, and what calls that still end have to say, for so long at most; what then is left is counted
    /// as lost, and how many there are.
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

    /// Records that stdout has not taken, and will have.
    fn left(&self) -> u64 {
        let kept = self.kept();
        kept.backlog.lines() + kept.quota.counted() + self.open.load(Ordering::Relaxed)
    }
}

/// Nothing of what is kept: it names callers, which the log need not.
impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit(")?;
        f.write_fmt(format_args!("{} bytes waiting", self.waiting()))?;
        f.write_char(')')
    }
}

#[cfg(test)]
mod tests;
