//! Format of a client's missing peer connections, as lines of the metrics sidecar's page `/chain`.

use std::fmt;

/// Maximum number of peers that a page names, so that it fits into
/// [`BYTES`](crate::protocol::chain_metrics::BYTES).
pub const NAMED: usize = 8;

/// Connections of a client to the peers on its list, as the metrics sidecar observes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Number of peers on the client's list.
    pub listed: u32,
    /// Minimum number of them without a connection.
    pub missing: u32,
    /// Seconds since any peer has been missing without interruption.
    pub seconds: u32,
    /// Peers that may be the missing ones, at most [`NAMED`].
    pub suspects: Vec<Suspect>,
}

/// A peer that may have no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suspect {
    /// Id of the peer.
    pub id: ShortId,
    /// Result of the last test connection from the client's pod to the peer's address.
    pub trial: Trial,
}

/// The first 16 hexadecimal digits of a peer's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortId(u64);

/// Result of the last test connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trial {
    /// Nothing listens there, or a policy refuses.
    Refused,
    /// No answer arrived in time.
    TimedOut,
    /// There is no route to the address.
    NoRoute,
    /// No test connection was made yet.
    Untried,
    /// The connection succeeded.
    Reached,
}

impl Trial {
    const ALL: [Self; 5] = [Self::Refused, Self::TimedOut, Self::NoRoute, Self::Untried, Self::Reached];

    /// Whether a test connection was made and failed.
    #[must_use]
    pub fn is_failed(self) -> bool {
        matches!(self, Self::Refused | Self::TimedOut | Self::NoRoute)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::NoRoute => "no_route",
            Self::Untried => "untried",
            Self::Reached => "reached",
        }
    }
}

impl ShortId {
    /// Short id of a public key; `None` if the key does not begin with 16 hexadecimal digits.
    #[must_use]
    pub fn of(public_key: &str) -> Option<Self> {
        let digits = public_key.get(..16)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(digits, 16).ok().map(Self))?
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listed, missing, seconds, suspects } = self;
        write!(f, "peers_listed {listed}\npeers_missing {missing}\npeers_missing_seconds {seconds}\n")?;
        suspects
            .iter()
            .take(NAMED)
            .try_for_each(|suspect| writeln!(f, "peer {} {}", suspect.id, suspect.trial.word()))
    }
}

impl Connections {
    /// Parses a page; `None` if a number is missing, given twice or not a number, or if a peer is malformed or too
    /// many are listed.
    #[must_use]
    pub fn read(page: &str) -> Option<Self> {
        let number = |name: &str| u32::try_from(crate::protocol::chain_metrics::figure(page, name)?).ok();
        let named = page.lines().filter_map(|line| line.strip_prefix("peer "));
        let suspects: Vec<_> = named.map(suspect).collect::<Option<_>>()?;
        let seen = Self {
            listed: number("peers_listed")?,
            missing: number("peers_missing")?,
            seconds: number("peers_missing_seconds")?,
            suspects,
        };
        (seen.suspects.len() <= NAMED && seen.missing <= seen.listed).then_some(seen)
    }
}

fn suspect(line: &str) -> Option<Suspect> {
    let (id, word) = line.split_once(' ')?;
    let id = ShortId::of(id).filter(|_| id.len() == 16)?;
    let trial = Trial::ALL.into_iter().find(|trial| trial.word() == word)?;
    Some(Suspect { id, trial })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::chain_metrics::{BYTES, Figures, HIGHEST};

    fn connections() -> impl Strategy<Value = Connections> {
        let trial = (0..Trial::ALL.len()).prop_map(|at| Trial::ALL[at]);
        let suspect = (any::<u64>(), trial).prop_map(|(id, trial)| Suspect { id: ShortId(id), trial });
        let suspects = prop::collection::vec(suspect, 0..=NAMED);
        (any::<(u32, u32)>(), any::<u32>(), suspects).prop_map(|((one, other), seconds, suspects)| {
            Connections { listed: one.max(other), missing: one.min(other), seconds, suspects }
        })
    }

    proptest! {
        #[test]
        fn what_one_writes_the_other_reads(seen in connections()) {
            prop_assert_eq!(Connections::read(&seen.to_string()), Some(seen));
        }

        #[test]
        fn whatever_is_sent_is_read_or_refused(page in "[peraslitdmng_ 0-9a-f\n]{0,80}") {
            let _ = Connections::read(&page);
        }
    }

    #[test]
    fn the_longest_page_is_one_that_operators_of_before_read() {
        let suspect = Suspect { id: ShortId(u64::MAX), trial: Trial::TimedOut };
        let seen = Connections {
            listed: u32::MAX,
            missing: u32::MAX,
            seconds: u32::MAX,
            suspects: vec![suspect; NAMED + 3],
        };
        let figures = Figures { head: HIGHEST, peers: u32::MAX, age: u32::MAX };
        let page = format!("{figures}{seen}");
        assert!(page.len() <= BYTES, "{}", page.len());
        assert_eq!(Figures::read(page.as_bytes()), Some(figures));
        assert_eq!(Connections::read(&page).expect("read").suspects.len(), NAMED);
    }

    #[test]
    fn a_page_with_a_line_that_cannot_be_read_says_nothing_of_peers() {
        let good =
            "peers_listed 3\npeers_missing 1\npeers_missing_seconds 130\npeer 00000000000000ab refused\n";
        let suspect = Suspect { id: ShortId(0xab), trial: Trial::Refused };
        let seen = Connections { listed: 3, missing: 1, seconds: 130, suspects: vec![suspect] };
        assert_eq!(Connections::read(&format!("head 4\n{good}later 7\n")), Some(seen));
        for (from, to) in [
            ("peers_listed 3\n", ""),
            ("peers_listed 3", "peers_listed 0"),
            ("peers_missing 1\n", "peers_missing 1\npeers_missing 1\n"),
            ("seconds 130", "seconds -1"),
            ("00ab refused", "00ab Refused"),
            ("00ab refused", "00ab0 refused"),
            ("00ab refused", "00a refused"),
            ("00ab refused", "00xy refused"),
            ("00ab refused", "00ab"),
        ] {
            assert_eq!(Connections::read(&good.replace(from, to)), None, "{to}");
        }
        assert_eq!(
            Connections::read(&format!("{good}{}", "peer 00000000000000ab refused\n".repeat(8))),
            None
        );
    }

    #[test]
    fn a_short_id_is_the_beginning_of_the_key_in_any_case() {
        let key = "AB".repeat(64);
        assert_eq!(ShortId::of(&key).map(|id| id.to_string()).as_deref(), Some("abababababababab"));
        assert_eq!(ShortId::of("+123456789abcdef"), None);
        assert_eq!(ShortId::of("abc"), None);
    }
}
