//! Who may lead, decided from the Lease as it was seen and from this replica's own steady clock. Clocks of
//! different machines are never compared: another's lease has ended when it was not renewed for its whole
//! duration *while we watched*.

use std::time::Duration;

use tokio::time::Instant;

/// How long a lease holds without renewal.
pub(super) const DURATION: Duration = Duration::from_secs(15);
/// How often the lease is renewed, or looked at.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// A Lease as the server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; empty where it was given back.
    pub(super) holder: String,
    /// How long its holder may go without renewing it.
    pub(super) duration: Duration,
    /// Changes with each write.
    pub(super) version: String,
}

/// What a replica has seen of the Lease.
#[derive(Debug, Default)]
pub(super) struct Watched {
    last: Option<(Record, Instant)>,
}

/// What to do about the Lease now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// There is none: create it.
    Create,
    /// It is ours, was given back, or has ended: write ourselves in, on top of this version.
    Take(String),
    /// Another replica holds it.
    Wait,
}

impl Watched {
    /// What the Lease, as just seen, allows.
    pub(super) fn next(&mut self, seen: Option<Record>, identity: &str, now: Instant) -> Move {
        let Some(record) = seen else {
            self.last = None;
            return Move::Create;
        };
        let since = match &self.last {
            Some((last, since)) if last.version == record.version => *since,
            _ => now,
        };
        let ours = record.holder == identity;
        let ended = now.saturating_duration_since(since) >= record.duration;
        let take = Move::Take(record.version.clone());
        let free = record.holder.is_empty();
        self.last = Some((record, since));
        if ours || free || ended { take } else { Move::Wait }
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
        assert_eq!(watched.next(held_by("a", "1"), "b", start), Move::Wait);
        assert_eq!(watched.next(held_by("a", "1"), "b", start + DURATION - RETRY), Move::Wait);
        assert_eq!(watched.next(held_by("a", "2"), "b", start + DURATION), Move::Wait, "it was renewed");
        assert_eq!(watched.next(held_by("a", "2"), "b", start + DURATION * 2 - RETRY), Move::Wait);
        assert_eq!(watched.next(held_by("a", "2"), "b", start + DURATION * 2), Move::Take("2".into()));
    }

    #[test]
    fn a_lease_that_was_given_back_is_free_at_once() {
        assert_eq!(Watched::default().next(held_by("", "7"), "b", Instant::now()), Move::Take("7".into()));
        assert_eq!(Watched::default().next(None, "b", Instant::now()), Move::Create);
    }

    #[test]
    fn our_own_lease_is_renewed() {
        assert_eq!(Watched::default().next(held_by("b", "3"), "b", Instant::now()), Move::Take("3".into()));
    }

    /// A newcomer cannot know how old a lease is, whatever the time in it says.
    #[test]
    fn a_lease_is_never_taken_at_first_sight() {
        assert_eq!(Watched::default().next(held_by("a", "1"), "b", Instant::now()), Move::Wait);
    }
}
