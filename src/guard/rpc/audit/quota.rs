//! Rate limit of the lines that do not belong to forwarded calls: rejections and opened WebSockets. Aggregates what
//! exceeds the rate into one line a second. Pure.
//!
//! Each caller has a rate of its own, and all unknown callers share one. So a flood of one caller does not suppress
//! lines of another.

use std::time::Duration;

use super::record::{Fact, Sum, Verdict, Way};

/// Lines a second for each caller, and for all unknown callers together.
pub const RATE: u32 = 20;
/// Lines that may follow each other at once after a pause.
pub const BURST: u32 = 50;
/// Combinations of caller and reason that are counted at a time; all others are counted as `other`.
pub const KINDS: usize = 256;
/// Callers with a rate of their own at a time. The operator configures at most 32.
const CALLERS: usize = 256;

/// Reason of the records that exceed [`KINDS`].
pub const OTHER: &str = "other";

/// Remaining lines of each caller, and the counted records.
#[derive(Debug, Default)]
pub struct Quota {
    /// Of unknown callers and of callers beyond [`CALLERS`].
    rest: Bucket,
    callers: Vec<(Box<str>, Bucket)>,
    sums: Vec<Sum>,
}

/// Token bucket of lines: filled at [`RATE`], up to [`BURST`].
#[derive(Debug)]
struct Bucket {
    lines: f64,
    /// Time of the last refill since the process began.
    at: Duration,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { lines: BURST.into(), at: Duration::ZERO }
    }
}

impl Bucket {
    fn fill(&mut self, now: Duration) {
        let gone = now.saturating_sub(self.at).as_secs_f64();
        self.lines = (self.lines + gone * f64::from(RATE)).min(BURST.into());
        self.at = now;
    }

    fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        let may = self.lines >= 1.0;
        if may {
            self.lines -= 1.0;
        }
        may
    }
}

impl Quota {
    /// Whether a line may be written now for this caller; if so, deducts it from the rate. `now` is the time since the
    /// process began.
    pub fn take(&mut self, caller: Option<&str>, now: Duration) -> bool {
        self.bucket(caller, now).take(now)
    }

    fn bucket(&mut self, caller: Option<&str>, now: Duration) -> &mut Bucket {
        let Some(caller) = caller else { return &mut self.rest };
        let at = self.callers.iter().position(|(name, _)| **name == *caller);
        match at {
            Some(at) => &mut self.callers[at].1,
            None if self.callers.len() < CALLERS => {
                self.callers.push((caller.into(), Bucket { at: now, ..Bucket::default() }));
                let last = self.callers.len() - 1;
                &mut self.callers[last].1
            }
            None => &mut self.rest,
        }
    }

    /// Counts a record without a line of its own. `at` is the time since 1970.
    pub fn count(&mut self, way: &Way, fact: &Fact<'_>, at: Duration) {
        let is_kind = |sum: &&mut Sum| {
            sum.reason == fact.reason && sum.verdict == fact.verdict && sum.caller.as_deref() == fact.caller
        };
        if let Some(sum) = self.sums.iter_mut().find(is_kind) {
            return sum.add(way, fact);
        }
        let is_full = self.sums.len() >= KINDS;
        let other = Fact {
            caller: None,
            who: None,
            method: None,
            reason: Some(OTHER),
            verdict: Verdict::Refused,
            ..*fact
        };
        let fact = if is_full { &other } else { fact };
        match self.sums.iter_mut().find(|sum| is_full && sum.reason == Some(OTHER)) {
            Some(sum) => sum.add(way, fact),
            None => self.sums.push(Sum::of(way, fact, at)),
        }
    }

    /// Number of counted records without a line.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.sums.iter().map(|sum| sum.count).sum()
    }

    /// Passes the counted records to `write` and drops those for which it returns true. Deducts each such line from its
    /// caller's rate.
    pub fn give(&mut self, now: Duration, mut write: impl FnMut(&Sum) -> bool) {
        let mut sums = std::mem::take(&mut self.sums);
        sums.retain(|sum| {
            let is_written = write(sum);
            if is_written {
                self.take(sum.caller.as_deref(), now);
            }
            !is_written
        });
        self.sums = sums;
        // a full bucket need not be stored
        self.callers.retain_mut(|(_, bucket)| {
            bucket.fill(now);
            bucket.lines < f64::from(BURST)
        });
    }
}

impl Sum {
    fn of(way: &Way, fact: &Fact<'_>, at: Duration) -> Self {
        Self {
            verdict: fact.verdict,
            reason: fact.reason,
            count: 1,
            bytes: fact.bytes.0,
            since: at,
            caller: fact.caller.map(Into::into),
            who: fact.who.map(Into::into),
            method: fact.method.map(Into::into),
            connection: Some(way.connection),
            from: Some(way.from),
            transport: Some(way.transport),
        }
    }

    /// Adds a record. Members that differ from the earlier ones become `None`.
    fn add(&mut self, way: &Way, fact: &Fact<'_>) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(fact.bytes.0);
        if self.who.as_deref() != fact.who {
            self.who = None;
        }
        if self.method.as_deref() != fact.method {
            self.method = None;
        }
        self.connection = self.connection.filter(|connection| *connection == way.connection);
        self.from = self.from.filter(|from| *from == way.from);
        self.transport = self.transport.filter(|transport| *transport == way.transport);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Transport;
    use super::*;

    fn way(connection: u64, from: &str) -> Way {
        Way { connection, from: from.parse().unwrap(), transport: Transport::Http1 }
    }

    fn refused<'a>(caller: Option<&'a str>, reason: &'static str) -> Fact<'a> {
        Fact {
            caller,
            who: caller.map(|_| ",\"subject\":\"one\""),
            method: Some("eth_call"),
            verdict: Verdict::Refused,
            reason: Some(reason),
            call: None,
            bytes: (10, 0),
            took: Duration::ZERO,
        }
    }

    const BEGUN: Duration = Duration::from_secs(3);

    fn taken(quota: &mut Quota, caller: Option<&str>, now: Duration) -> u32 {
        (0..1000).map(|_| u32::from(quota.take(caller, now))).sum()
    }

    #[test]
    fn a_flood_has_its_burst_and_its_rate_and_takes_nobody_elses() {
        let mut quota = Quota::default();
        assert_eq!(taken(&mut quota, None, BEGUN), BURST);
        assert_eq!(taken(&mut quota, Some("wallet"), BEGUN), BURST);
        assert_eq!(taken(&mut quota, Some("shop"), BEGUN), BURST, "another caller has a burst of its own");
        let later = BEGUN + Duration::from_secs(1);
        assert_eq!(taken(&mut quota, None, later), RATE);
        quota.give(later + Duration::from_secs(1), |_| true);
        assert_eq!(taken(&mut quota, Some("wallet"), later + Duration::from_secs(1)), 2 * RATE);
        // a long pause fills the bucket to the burst and no further
        quota.give(BEGUN * 100, |_| true);
        assert!(quota.callers.is_empty(), "callers without rejections are not stored");
        assert_eq!(taken(&mut quota, Some("wallet"), BEGUN * 100), BURST);
    }

    #[test]
    fn what_is_more_is_counted_by_caller_and_reason_with_what_they_have_in_common() {
        let mut quota = Quota::default();
        let at = |second: u64| Duration::from_secs(1_764_090_300 + second);
        for second in 0..137 {
            let of = Fact { method: None, ..refused(Some("wallet"), "rate") };
            quota.count(&way(second, "10.0.0.1"), &of, at(second));
        }
        quota.count(&way(7, "10.0.0.1"), &refused(None, "path"), at(1));
        quota.count(&way(7, "10.0.0.2"), &Fact { method: Some("eth_sign"), ..refused(None, "path") }, at(2));
        quota.count(&way(7, "10.0.0.2"), &refused(None, "verb"), at(2));
        assert_eq!(quota.counted(), 137 + 2 + 1);
        let mut sums = Vec::new();
        quota.give(BEGUN, |sum| {
            let keeps = sum.reason != Some("verb");
            if keeps {
                sums.push(sum.clone());
            }
            keeps
        });
        assert_eq!(quota.counted(), 1, "what was not written stays counted");
        let [rate, path] = &sums[..] else { panic!("{sums:?}") };
        assert_eq!((rate.count, rate.bytes, rate.since), (137, 1370, at(0)));
        assert_eq!(
            (rate.caller.as_deref(), rate.from, rate.connection),
            (Some("wallet"), Some([10, 0, 0, 1].into()), None)
        );
        assert_eq!(rate.who.as_deref(), Some(",\"subject\":\"one\""));
        assert_eq!((path.count, path.from, path.connection), (2, None, Some(7)));
        assert_eq!((path.caller.as_deref(), path.method.as_deref()), (None, None));
    }

    #[test]
    fn lines_of_several_are_taken_off_the_rate() {
        let mut quota = Quota::default();
        quota.count(&way(1, "10.0.0.1"), &refused(None, "path"), BEGUN);
        quota.give(BEGUN, |_| true);
        assert_eq!(taken(&mut quota, None, BEGUN), BURST - 1);
    }

    #[test]
    fn so_many_kinds_are_kept_and_the_rest_is_one() {
        let mut quota = Quota::default();
        let names: Vec<String> = (0..1000).map(|number| format!("caller-{number}")).collect();
        for name in &names {
            quota.count(&way(1, "10.0.0.1"), &refused(Some(name), "rate"), BEGUN);
            quota.take(Some(name), BEGUN);
        }
        assert_eq!((quota.sums.len(), quota.counted()), (KINDS + 1, 1000));
        let other = quota.sums.last().unwrap();
        assert_eq!((other.reason, other.count), (Some(OTHER), 1000 - KINDS as u64));
        assert!(other.caller.is_none() && other.who.is_none() && other.method.is_none());
        assert_eq!(quota.callers.len(), CALLERS);
        quota.count(&way(1, "10.0.0.1"), &refused(Some(&names[5]), "rate"), BEGUN);
        assert_eq!(quota.sums[5].count, 2, "an existing combination is still counted");
    }
}
