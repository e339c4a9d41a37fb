//! Format of the page `/chain` of the metrics sidecar: figures of a client's chain, one name and number per line.

use std::fmt;

use crate::protocol::peer_connections::Connections;

/// Figures that a client reports. A client may lie, so nothing but the time of voluntary pod replacements may
/// depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Number of its highest block.
    pub head: u64,
    /// Number of its peers.
    pub peers: u32,
    /// Age of the figures in seconds.
    pub age: u32,
}

/// Maximum size of a page in bytes; longer pages are rejected.
pub const BYTES: usize = 512;

/// Maximum block number. A floating-point number does not represent every integer above it.
pub const HIGHEST: u64 = 1 << 53;

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head {}\npeers {}\nsampled_seconds_ago {}\n", self.head, self.peers, self.age)
    }
}

impl Figures {
    /// Parses a page; `None` if a figure is missing, given twice or not a number. Lines with other names are
    /// ignored, so that later versions may add some.
    #[must_use]
    pub fn read(page: &[u8]) -> Option<Self> {
        let page = std::str::from_utf8(page).ok().filter(|page| page.len() <= BYTES)?;
        Some(Self {
            head: figure(page, "head").filter(|head| *head <= HIGHEST)?,
            peers: u32::try_from(figure(page, "peers")?).ok()?,
            age: u32::try_from(figure(page, "sampled_seconds_ago")?).ok()?,
        })
    }
}

/// The number of a name on a page; `None` if it is missing, given twice or not a number.
#[must_use]
pub fn figure(page: &str, name: &str) -> Option<u64> {
    let mut given = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let digits = given.next().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.filter(|_| given.next().is_none())?.parse::<u64>().ok()
}

/// Everything that a metrics sidecar reports about its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Figures that the client reports.
    pub figures: Figures,
    /// Connections that the sidecar observes; `None` if it does not observe them.
    pub connections: Option<Connections>,
}

impl Said {
    /// Parses a page; `None` if it has no valid figures.
    #[must_use]
    pub fn read(page: &[u8]) -> Option<Self> {
        let figures = Figures::read(page)?;
        let connections = std::str::from_utf8(page).ok().and_then(Connections::read);
        Some(Self { figures, connections })
    }
}

impl From<Figures> for Said {
    fn from(figures: Figures) -> Self {
        Self { figures, connections: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_one_writes_the_other_reads(head in 0..=HIGHEST, peers: u32, age: u32) {
            let figures = Figures { head, peers, age };
            prop_assert_eq!(Figures::read(figures.to_string().as_bytes()), Some(figures));
        }

        #[test]
        fn whatever_is_sent_is_read_or_refused(page in "[hepadrs_ 0-9\n.-]{0,60}", bytes: Vec<u8>) {
            let _ = (Figures::read(page.as_bytes()), Figures::read(&bytes));
        }
    }

    #[test]
    fn what_is_no_figure_is_refused_and_other_lines_are_not() {
        let good = "head 46\npeers 3\nsampled_seconds_ago 2\n";
        let read = |page: &str| Figures::read(page.as_bytes());
        let figures = Some(Figures { head: 46, peers: 3, age: 2 });
        assert_eq!(read(good), figures);
        assert_eq!(read(&format!("{good}round 7\nheads 9\n")), figures);
        for (from, to) in [
            ("head 46", "head NaN"),
            ("head 46", "head -1"),
            ("head 46", "head +46"),
            ("head 46", "head 4.6"),
            ("head 46", "head 1e3"),
            ("head 46", "head "),
            ("head 46", "head 9007199254740993"),
            ("head 46", "head 46\nhead 47"),
            ("peers 3", "peers 4294967296"),
            ("peers 3\n", ""),
            ("sampled_seconds_ago 2", "sampled_seconds_ago -2"),
            ("head 46", "HEAD 46"),
        ] {
            assert_eq!(read(&good.replace(from, to)), None, "{to}");
        }
        assert_eq!(read(&format!("{good}{}", "x\n".repeat(BYTES / 2))), None, "too large");
        assert_eq!(Figures::read(b"head 46\xff\n"), None);
    }
}
