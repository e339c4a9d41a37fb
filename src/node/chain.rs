//! What a network's chain does, from what its clients say of themselves: whether it makes blocks, and which client has come
//! back after its pod was replaced. A client may lie, so this decides when a pod is replaced by choice and nothing else. Pure.

mod told;
mod turn;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::genesis::Schedule;
use crate::figures::Figures;
pub use told::{ADVANCING, Told, stranger, told};
pub use turn::holds_back;

/// A client whose head is so few blocks below that of the others has caught up.
const CLOSE: u64 = 3;

/// Figures that are older say nothing.
const FRESH: Duration = Duration::from_secs(100);

/// A chain without a new block for so many of its periods stands still, but for no less than the next, and no more than the
/// last of these.
const PERIODS: u32 = 5;
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Looks are so far apart where something is awaited.
pub const SOON: Duration = Duration::from_secs(5);

/// So long the figures of a pod that is ready are awaited.
const AWAITED: Duration = Duration::from_secs(60);

/// So long it is awaited that a client has its peers again. Whom it had may be gone for good.
const REUNION: Duration = Duration::from_secs(600);

/// What time it is, on a steady clock and on the wall.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Since the operator began to look.
    pub steady: Duration,
    /// For people to read.
    pub wall: Timestamp,
}

/// What is known of a network's clients. Its times are of the steady clock.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    clients: BTreeMap<String, Client>,
    /// Since when it was seen without a gap, and when it was last seen to make a block.
    seen: Option<(Duration, Timestamp)>,
    moved: Option<(Duration, Timestamp)>,
    /// The highest block.
    last: u64,
}

/// What is known of a client.
#[derive(Clone, Debug, Default)]
struct Client {
    pod: String,
    /// Since when this pod is known to be ready.
    ready: Option<Duration>,
    figures: Option<Figures>,
    /// When it said so.
    at: Duration,
    /// When this pod was first seen.
    first: Option<Duration>,
    /// When its head was last seen to have risen.
    rose: Option<Duration>,
    /// How many peers the node's pod before this one had.
    before: Option<u32>,
    /// Whether it has had its peers again.
    met: bool,
}

/// Whether a chain makes blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// No client of the network was seen.
    #[default]
    Unseen,
    /// It has made none.
    AtGenesis,
    /// It was not seen for long enough.
    Untold,
    /// It does.
    Advances,
    /// It does not, from this block on.
    Stands {
        /// The last block.
        block: u64,
        /// When it was seen to be the last one for the first time.
        since: Timestamp,
    },
}

/// How a client stands among the others of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its pod is new, and its figures are awaited.
    Awaited,
    /// It cannot be seen.
    Unseen,
    /// Its head is below that of the others.
    Behind,
    /// It has fewer peers than before its pod was replaced.
    Alone,
    /// It has caught up and has its peers.
    Back,
}

/// What is to be said of a network. It does not change from one block to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it makes blocks.
    pub course: Course,
    /// Its clients, by node: uid of the pod, and how it stands.
    pub clients: BTreeMap<String, (String, Standing)>,
}

impl Verdict {
    /// Whether nothing of it is awaited.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let settled = [Standing::Back, Standing::Unseen];
        !matches!(self.course, Course::Untold | Course::Stands { .. })
            && self.clients.values().all(|(_, standing)| settled.contains(standing))
    }
}

/// What a pass sees of its network's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether every client was looked at since the operator began to.
    pub looked: bool,
    /// What is to be said.
    pub verdict: Verdict,
    /// The highest block, as far as that is known.
    pub head: u64,
}

impl Chain {
    /// A pod of a node that is there.
    pub fn knows(&mut self, node: &str, pod: &str, is_ready: bool, now: Now) {
        let client = self.clients.entry(node.to_owned()).or_default();
        if client.pod != pod {
            let before = client.figures.map(|figures| figures.peers).filter(|_| client.met).or(client.before);
            *client = Client { pod: pod.to_owned(), before, ..Client::default() };
        }
        client.ready = is_ready.then(|| client.ready.unwrap_or(now.steady));
    }

    /// Forgets nodes that are not there any more. Whether any is left.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        self.clients.retain(|node, _| is_there(node));
        !self.clients.is_empty()
    }

    /// What a client has said of itself; it is one that is known.
    pub fn saw(&mut self, node: &str, figures: Figures, now: Now) {
        if !self.clients.values().any(|client| client.is_seen(now)) {
            // what happened meanwhile is not known
            (self.seen, self.moved) = (Some((now.steady, now.wall)), None);
        }
        let others = self.clients.iter().filter(|(name, other)| *name != node && other.is_seen(now)).count();
        let Some(client) = self.clients.get_mut(node) else { return };
        if client.figures.is_some_and(|before| before.head < figures.head) {
            client.rose = Some(now.steady);
        }
        let first = *client.first.get_or_insert(now.steady);
        let wanted = client.before.unwrap_or(1).min(u32::try_from(others).unwrap_or(u32::MAX));
        client.met |= figures.peers >= wanted || now.steady.saturating_sub(first) >= REUNION;
        client.figures = Some(figures);
        client.at = now.steady;
        self.notice(now);
    }

    /// That the chain moves is believed where enough of those say so who are at its head.
    fn notice(&mut self, now: Now) {
        let Some(head) = self.head(now) else { return };
        let last = head.head();
        let close = |client: &&Client| client.head().saturating_add(CLOSE) >= head.head();
        let mut rose: Vec<_> = self.seen(now).filter(close).map(|client| client.rose).collect();
        rose.sort_unstable_by(|a, b| b.cmp(a));
        self.last = last;
        let Some(Some(rose)) = rose.get(doubted(self.clients.len())).copied() else { return };
        if self.moved.is_none_or(|(moved, _)| moved < rose) {
            let ago = SignedDuration::try_from(now.steady.saturating_sub(rose)).unwrap_or_default();
            self.moved = Some((rose, now.wall.checked_sub(ago).unwrap_or(now.wall)));
        }
    }

    fn seen(&self, now: Now) -> impl Iterator<Item = &Client> {
        self.clients.values().filter(move |client| client.is_seen(now))
    }

    /// The client with the highest block that is to be believed: not everybody's word is.
    fn head(&self, now: Now) -> Option<&Client> {
        let mut seen: Vec<_> = self.seen(now).collect();
        seen.sort_unstable_by_key(|client| std::cmp::Reverse((client.head(), client.at)));
        seen.get(doubted(self.clients.len())).copied()
    }

    /// The head that a client was last seen at.
    #[must_use]
    pub fn head_of(&self, node: &str, now: Now) -> Option<u64> {
        self.clients.get(node).filter(|client| client.is_seen(now)).map(Client::head)
    }

    /// The number of the highest block that was seen last.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What is to be said, by the genesis's periods.
    #[must_use]
    pub fn judge(&self, schedule: &Schedule, now: Now) -> Verdict {
        let head = self.head(now);
        let standing = |client: &Client| match head {
            Some(head) if client.is_seen(now) => match client.is_close(head, schedule) {
                false => Standing::Behind,
                true if client.met => Standing::Back,
                true => Standing::Alone,
            },
            Some(_) if client.is_awaited(now) => Standing::Awaited,
            _ => Standing::Unseen,
        };
        let clients =
            self.clients.iter().map(|(node, client)| (node.clone(), (client.pod.clone(), standing(client))));
        Verdict { course: self.course(schedule, now), clients: clients.collect() }
    }

    fn course(&self, schedule: &Schedule, now: Now) -> Course {
        let (Some(head), Some(seen)) = (self.head(now), self.seen) else { return Course::Unseen };
        if head.head() == 0 {
            return Course::AtGenesis;
        }
        let last = self.seen(now).map(|client| client.at).max().unwrap_or_default();
        let (moved, since) = self.moved.unwrap_or(seen);
        let period = schedule.longest_period(head.head());
        let longest = LONGEST.max(period.saturating_add(SHORTEST));
        let patience = period.saturating_mul(PERIODS).clamp(SHORTEST, longest).saturating_add(SOON * 3);
        if last.saturating_sub(moved) > patience {
            Course::Stands { block: head.head(), since }
        } else if self.moved.is_some() {
            Course::Advances
        } else {
            Course::Untold
        }
    }
}

/// How many of so many may say what is not so without being believed.
fn doubted(clients: usize) -> usize {
    if clients < 3 { 0 } else { ((clients - 1) / 3).max(1) }
}

impl Client {
    fn head(&self) -> u64 {
        self.figures.map_or(0, |figures| figures.head)
    }

    fn is_seen(&self, now: Now) -> bool {
        self.figures.is_some() && now.steady.saturating_sub(self.at) <= FRESH
    }

    fn is_awaited(&self, now: Now) -> bool {
        self.ready.is_some_and(|ready| now.steady.saturating_sub(ready) < AWAITED)
    }

    /// When the client itself said what was seen.
    fn said(&self) -> Duration {
        let age = self.figures.map_or(0, |figures| figures.age);
        self.at.saturating_sub(Duration::from_secs(age.into()))
    }

    /// Blocks that were made since it was asked are none that it lacks.
    fn is_close(&self, head: &Self, schedule: &Schedule) -> bool {
        let later = head.said().saturating_sub(self.said());
        let blocks = later.as_secs() / schedule.shortest_period(head.head()).as_secs().max(1);
        self.head().saturating_add(CLOSE).saturating_add(blocks) >= head.head()
    }
}

#[cfg(test)]
mod tests;
