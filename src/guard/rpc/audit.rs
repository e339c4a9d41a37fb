//! Audit records to stdout.
//!
//! A record is written before the last byte of its answer is passed on, so what ends with the process is what was
//! under way. While stdout takes nothing, [`BACKLOG`] bytes are kept, and then no call is passed on: what cannot
//! be recorded does not happen. Writing never waits: a file is written at once, a pipe when it says that it
//! takes `PIECE` bytes, which is what POSIX promises of a pipe.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};

use super::record::{self, Fact, Way};

/// Bytes that are kept while stdout takes nothing: some 4000 records.
pub const BACKLOG: usize = 1024 * 1024;
/// What a pipe that can be written to takes without waiting: `PIPE_BUF`.
const PIECE: usize = 4096;
/// Between two tries while stdout takes nothing.
const RETRY: Duration = Duration::from_millis(50);

/// Where records go.
pub struct Audit {
    out: OwnedFd,
    /// What stdout has not taken yet.
    kept: Mutex<String>,
    waiting: AtomicUsize,
    lost: AtomicU64,
}

impl Audit {
    /// To a file, a pipe or a terminal.
    #[must_use]
    pub fn to(out: OwnedFd) -> Self {
        let kept = Mutex::new(String::new());
        Self { out, kept, waiting: AtomicUsize::new(0), lost: AtomicU64::new(0) }
    }

    /// Whether a call may be made: its record will have a place.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting() < BACKLOG
    }

    /// Bytes that stdout has not taken yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Records that were lost, since stdout took none of them for too long.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Records calls that came together.
    pub fn record<'a>(&self, way: Way, facts: impl IntoIterator<Item = Fact<'a>>) {
        let now = OffsetDateTime::now_utc();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for fact in facts {
            // calls that were let in together may be more than there was room for
            if kept.len() >= 2 * BACKLOG {
                self.lost.fetch_add(1, Ordering::Relaxed);
            } else {
                record::line(now, way, &fact, &mut kept);
            }
        }
        self.flush(&mut kept);
    }

    /// Writes what stdout takes now.
    fn flush(&self, kept: &mut String) {
        let mut written = 0;
        while written < kept.len() && self.takes() {
            let piece = &kept.as_bytes()[written..kept.len().min(written + PIECE)];
            match rustix::io::write(&self.out, piece) {
                Ok(bytes) => written += bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        kept.drain(..written);
        if kept.is_empty() && kept.capacity() > 4 * PIECE {
            *kept = String::new();
        }
        self.waiting.store(kept.len(), Ordering::Relaxed);
    }

    fn takes(&self) -> bool {
        let mut asked = [PollFd::from_borrowed_fd(self.out.as_fd(), PollFlags::OUT)];
        let ready = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        ready.is_ok() && asked[0].revents().contains(PollFlags::OUT)
    }

    /// Tries again and again while something waits.
    pub async fn run(&self) {
        let mut ticks = interval(RETRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.waiting() > 0 {
                self.flush(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Writes what is left, for so long at most; what then is left is counted as lost, and how many there are.
    pub async fn end(&self, grace: Duration) -> u64 {
        let _ = tokio::time::timeout(grace, async {
            let mut ticks = interval(RETRY);
            while self.waiting() > 0 {
                ticks.tick().await;
                self.flush(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner));
            }
        })
        .await;
        let left = self.kept.lock().unwrap_or_else(PoisonError::into_inner).matches('\n').count();
        self.lost.fetch_add(left as u64, Ordering::Relaxed) + left as u64
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
mod tests {
    use std::io::Read as _;

    use super::super::record::Transport;
    use super::*;

    const WAY: Way = Way {
        connection: 1,
        from: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        transport: Transport::Http2,
    };

    fn fact(method: &str) -> Fact<'_> {
        Fact {
            caller: Some("wallet"),
            method: Some(method),
            reason: None,
            is_allowed: true,
            bytes: (1, 2),
            took: Duration::from_micros(3),
        }
    }

    fn pipe() -> (Audit, std::fs::File) {
        let (out, into) = rustix::pipe::pipe().unwrap();
        (Audit::to(into), std::fs::File::from(out))
    }

    #[test]
    fn a_record_is_there_when_record_returns() {
        let (audit, mut out) = pipe();
        audit.record(WAY, [fact("eth_call"), fact("net_version")]);
        assert_eq!(audit.waiting(), 0);
        drop(audit);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        let methods: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["method"].clone())
            .collect();
        assert_eq!(methods, ["eth_call", "net_version"]);
    }

    #[tokio::test]
    async fn a_reader_that_stops_stops_calls_and_nothing_is_lost() {
        let (audit, mut out) = pipe();
        let mut written = 0;
        while audit.has_room() {
            audit.record(WAY, [fact("eth_call")]);
            written += 1;
        }
        // what was let in before is still recorded
        audit.record(WAY, [fact("eth_late")]);
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(audit.end(Duration::from_secs(20)).await, 0);
        assert!(audit.has_room() && audit.waiting() == 0);
        drop(audit);
        let text = reader.join().unwrap();
        assert_eq!(text.lines().count(), written + 1);
        assert!(text.lines().last().unwrap().contains("eth_late"));
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[tokio::test]
    async fn what_nobody_ever_reads_is_counted() {
        let (audit, _out) = pipe();
        while audit.has_room() {
            audit.record(WAY, [fact("eth_call")]);
        }
        let waiting = audit.waiting();
        let lost = audit.end(Duration::from_millis(100)).await;
        assert!(lost > 1000 && lost < waiting as u64 / 100, "{lost} of {waiting} bytes");
        assert_eq!(audit.lost(), lost);
    }
}
