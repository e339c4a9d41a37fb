//! A client's figures of its chain, as the page `/chain` of the metrics sidecar has them: a name and a number a line.

use std::fmt;

use crate::connections::Connections;

/// What a client says of itself. It may lie: nothing but when a pod is replaced by choice may hang on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Number of its highest block.
    pub head: u64,
    /// How many peers it has.
    pub peers: u32,
    /// How many seconds ago it said so.
    pub age: u32,
}

/// Longer pages are not read.
pub const BYTES: usize = 512;

/// Higher numbers of blocks are no heights: a floating-point number does not hold each of them.
pub const HIGHEST: u64 = 1 << 53;

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head {}\npeers {}\nsampled_seconds_ago {}\n", self.head, self.peers, self.age)
    }
}

impl Figures {
    /// Reads a page. `None` where a figure is missing, given twice or no number. Lines of other names are for later
    /// versions.
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

/// The number that a page gives by a name. `None` where it is missing, given twice or no number.
#[must_use]
pub fn figure(page: &str, name: &str) -> Option<u64> {
    let mut given = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let digits = given.next().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.filter(|_| given.next().is_none())?.parse::<u64>().ok()
}

/// All that a metrics sidecar says of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What the client says of itself.
    pub figures: Figures,
    /// What the sidecar sees of its connections; `None` from one that does not look.
    pub connections: Option<Connections>,
}

impl Said {
    /// Reads a page. `None` where that has no figures.
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
