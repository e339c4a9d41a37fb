//! Decides who may lead, from the observed Lease and this replica's monotonic clock. Clocks of different machines are
//! never compared: another replica's lease has expired when it was not renewed for its whole duration *while this
//! replica watched*.

use std::time::Duration;

use tokio::time::Instant;

/// How long a lease holds without renewal.
pub(super) const DURATION: Duration = Duration::from_secs(15);
/// Interval of renewals and reads of the lease.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// A Lease as the server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Identity of its holder; empty after a release.
    pub(super) holder: String,
    /// How long its holder may go without renewing it.
    pub(super) duration: Duration,
    /// Resource version; changes with each write.
    pub(super) version: String,
}

/// The Lease as a replica has observed it.
#[derive(Debug, Default)]
pub(super) struct Watched {
    last: Option<(Record, Instant)>,
}

/// What to do about the Lease now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaseAction {
    /// No Lease exists: create it.
    Create,
    /// This replica holds it, or it was released or has expired: write this replica as holder over this version.
    Take(String),
    /// Another replica holds it.
    Wait,
}

impl Watched {
    /// Action that the Lease, as just read, allows.
    pub(super) fn next(&mut self, seen: Option<Record>, identity: &str, now: Instant) -> LeaseAction {
        let Some(record) = seen else {
            self.last = None;
            return LeaseAction::Create;
        };
        let since = match &self.last {
            Some((last, since)) if last.version == record.version => *since,
            _ => now,
        };
        let ours = record.holder == identity;
        let ended = now.saturating_duration_since(since) >= record.duration;
        let take = LeaseAction::Take(record.version.clone());
        let free = record.holder.is_empty();
        self.last = Some((record, since));
        if ours || free || ended { take } else { LeaseAction::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, version: &str) -> Option<Record> {
        Some(Record { holder: holder.into(), duration: DURATION, version: version.into() })
    }

    #[test]
    fn another_ones_lease_is_taken_only_when_it_stood_still_for_its_whole_duration() {
        let (mut watched, start) = (Watched::default(), Instant::now());
        assert_eq!(watched.next(held_by("a", "1"), "b", start), LeaseAction::Wait);
        assert_eq!(watched.next(held_by("a", "1"), "b", start + DURATION - RETRY), LeaseAction::Wait);
        assert_eq!(
            watched.next(held_by("a", "2"), "b", start + DURATION),
            LeaseAction::Wait,
            "it was renewed"
        );
        assert_eq!(watched.next(held_by("a", "2"), "b", start + DURATION * 2 - RETRY), LeaseAction::Wait);
        assert_eq!(watched.next(held_by("a", "2"), "b", start + DURATION * 2), LeaseAction::Take("2".into()));
    }

    #[test]
    fn a_lease_that_was_given_back_is_free_at_once() {
        assert_eq!(
            Watched::default().next(held_by("", "7"), "b", Instant::now()),
            LeaseAction::Take("7".into())
        );
        assert_eq!(Watched::default().next(None, "b", Instant::now()), LeaseAction::Create);
    }

    #[test]
    fn our_own_lease_is_renewed() {
        assert_eq!(
            Watched::default().next(held_by("b", "3"), "b", Instant::now()),
            LeaseAction::Take("3".into())
        );
    }

    /// A new replica does not know the age of a lease, and ignores the time in it.
    #[test]
    fn a_lease_is_never_taken_at_first_sight() {
        assert_eq!(Watched::default().next(held_by("a", "1"), "b", Instant::now()), LeaseAction::Wait);
    }
}
