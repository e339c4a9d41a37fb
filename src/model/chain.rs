//! Progress of a network's chain, computed from the figures its clients report: whether the chain makes blocks, and
//! whether each client has caught up since its pod was replaced. Clients may report false figures, so the result only
//! delays voluntary pod replacements. Pure.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::genesis::Schedule;
use crate::protocol::chain_metrics::Figures;

/// A client has caught up when its head is at most this many blocks below the network's head.
const CLOSE: u64 = 3;

/// Figures older than this are ignored.
const FRESH: Duration = Duration::from_secs(100);

/// A chain is stalled after this many block periods without a new block: after [`SHORTEST`] at the earliest and
/// [`LONGEST`] at the latest, or one period and [`SHORTEST`] where a period is longer than that.
const PERIODS: u32 = 5;
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Interval between probes while a change is expected.
pub const SOON: Duration = Duration::from_secs(5);

/// How long to wait for the first figures of a ready pod.
const AWAITED: Duration = Duration::from_secs(60);

/// How long to wait until a client has as many peers as its previous pod. Some of those peers may never come back.
const REUNION: Duration = Duration::from_secs(600);

/// The current time on the monotonic clock and on the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time since the operator began to probe.
    pub steady: Duration,
    /// Wall-clock time, for messages.
    pub wall: Timestamp,
}

/// State of a network's clients. All durations are points on the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    clients: BTreeMap<String, Client>,
    /// Since when at least one client has been observed without a gap.
    seen: Option<(Duration, Timestamp)>,
    /// When the chain was last observed to make a block.
    moved: Option<(Duration, Timestamp)>,
    /// The highest block.
    last: u64,
}

/// State of a client.
#[derive(Clone, Debug, Default)]
struct Client {
    pod: String,
    /// Since when this pod is known to be ready.
    ready: Option<Duration>,
    figures: Option<Figures>,
    /// When the figures were read.
    at: Duration,
    /// When figures of this pod were first read.
    first: Option<Duration>,
    /// When its head was last observed to rise.
    rose: Option<Duration>,
    /// Number of peers that the node's previous pod had.
    before: Option<u32>,
    /// Whether it has had as many peers as its previous pod.
    met: bool,
}

/// Whether a chain makes blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChainProgress {
    /// No client of the network could be observed.
    #[default]
    Unobserved,
    /// The chain has made no block yet.
    AtGenesis,
    /// The chain was not observed for long enough.
    Unknown,
    /// The chain makes blocks.
    Advancing,
    /// The chain is stalled.
    Stalled {
        /// The last block.
        block: u64,
        /// When this block was first observed.
        since: Timestamp,
    },
}

/// State of a client compared with the others of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProgress {
    /// Its pod became ready less than a minute ago and has not reported figures yet.
    Pending,
    /// It cannot be observed.
    Unobserved,
    /// Its head is below the network's head.
    Behind,
    /// It has fewer peers than before its pod was replaced.
    MissingPeers,
    /// It has caught up and has its peers.
    CaughtUp,
}

/// Assessment of a network. A new block alone does not change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainAssessment {
    /// Whether the chain makes blocks.
    pub course: ChainProgress,
    /// Uid of the pod and state of each client, by node.
    pub clients: BTreeMap<String, (String, ClientProgress)>,
}

impl ChainAssessment {
    /// Whether no change is expected soon.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        let settled = [ClientProgress::CaughtUp, ClientProgress::Unobserved];
        !matches!(self.course, ChainProgress::Unknown | ChainProgress::Stalled { .. })
            && self.clients.values().all(|(_, standing)| settled.contains(standing))
    }
}

/// A reconcile's view of its network's chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether the operator has probed every client since it started.
    pub probed: bool,
    /// Assessment of the network.
    pub assessment: ChainAssessment,
    /// The highest known block; 0 where none is known.
    pub head: u64,
}

impl Chain {
    /// Records the client pod of a node.
    pub fn knows(&mut self, node: &str, pod: &str, is_ready: bool, now: Now) {
        let client = self.clients.entry(node.to_owned()).or_default();
        if client.pod != pod {
            let before = client.figures.map(|figures| figures.peers).filter(|_| client.met).or(client.before);
            *client = Client { pod: pod.to_owned(), before, ..Client::default() };
        }
        client.ready = is_ready.then(|| client.ready.unwrap_or(now.steady));
    }

    /// Removes nodes that no longer exist. Returns whether any remain.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        self.clients.retain(|node, _| is_there(node));
        !self.clients.is_empty()
    }

    /// Records the figures that a known client reports.
    pub fn saw(&mut self, node: &str, figures: Figures, now: Now) {
        if !self.clients.values().any(|client| client.is_seen(now)) {
            // observation was interrupted, so it starts again
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
        self.update_moved(now);
    }

    /// Records progress once more clients near the head report a rise than may report false figures.
    fn update_moved(&mut self, now: Now) {
        let Some(head) = self.head(now) else { return };
        let last = head.head();
        let close = |client: &&Client| client.head().saturating_add(CLOSE) >= head.head();
        let mut rose: Vec<_> = self.seen(now).filter(close).map(|client| client.rose).collect();
        rose.sort_unstable_by(|a, b| b.cmp(a));
        self.last = last;
        let Some(Some(rose)) = rose.get(max_faulty(self.clients.len())).copied() else { return };
        if self.moved.is_none_or(|(moved, _)| moved < rose) {
            let ago = SignedDuration::try_from(now.steady.saturating_sub(rose)).unwrap_or_default();
            self.moved = Some((rose, now.wall.checked_sub(ago).unwrap_or(now.wall)));
        }
    }

    fn seen(&self, now: Now) -> impl Iterator<Item = &Client> {
        self.clients.values().filter(move |client| client.is_seen(now))
    }

    /// The client with the highest head, after the [`max_faulty`] highest are skipped.
    fn head(&self, now: Now) -> Option<&Client> {
        let mut seen: Vec<_> = self.seen(now).collect();
        seen.sort_unstable_by_key(|client| std::cmp::Reverse((client.head(), client.at)));
        seen.get(max_faulty(self.clients.len())).copied()
    }

    /// The head that a client last reported; `None` where its figures are too old.
    #[must_use]
    pub fn head_of(&self, node: &str, now: Now) -> Option<u64> {
        self.clients.get(node).filter(|client| client.is_seen(now)).map(Client::head)
    }

    /// Number of the highest block at the last observation.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Assesses the network by the block periods of its genesis.
    #[must_use]
    pub fn judge(&self, schedule: &Schedule, now: Now) -> ChainAssessment {
        let head = self.head(now);
        let standing = |client: &Client| match head {
            Some(head) if client.is_seen(now) => match client.is_close(head, schedule) {
                false => ClientProgress::Behind,
                true if client.met => ClientProgress::CaughtUp,
                true => ClientProgress::MissingPeers,
            },
            Some(_) if client.is_awaited(now) => ClientProgress::Pending,
            _ => ClientProgress::Unobserved,
        };
        let clients =
            self.clients.iter().map(|(node, client)| (node.clone(), (client.pod.clone(), standing(client))));
        ChainAssessment { course: self.course(schedule, now), clients: clients.collect() }
    }

    fn course(&self, schedule: &Schedule, now: Now) -> ChainProgress {
        let (Some(head), Some(seen)) = (self.head(now), self.seen) else { return ChainProgress::Unobserved };
        if head.head() == 0 {
            return ChainProgress::AtGenesis;
        }
        let last = self.seen(now).map(|client| client.at).max().unwrap_or_default();
        let (moved, since) = self.moved.unwrap_or(seen);
        let period = schedule.longest_period(head.head());
        let longest = LONGEST.max(period.saturating_add(SHORTEST));
        let limit = period.saturating_mul(PERIODS).clamp(SHORTEST, longest).saturating_add(SOON * 3);
        if last.saturating_sub(moved) > limit {
            ChainProgress::Stalled { block: head.head(), since }
        } else if self.moved.is_some() {
            ChainProgress::Advancing
        } else {
            ChainProgress::Unknown
        }
    }
}

/// Number of clients, out of this many, whose false figures must not change the result.
fn max_faulty(clients: usize) -> usize {
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

    /// When the client itself produced its figures.
    fn said(&self) -> Duration {
        let age = self.figures.map_or(0, |figures| figures.age);
        self.at.saturating_sub(Duration::from_secs(age.into()))
    }

    /// Whether its head is close to `head`. Blocks made after this client reported do not count against it.
    fn is_close(&self, head: &Self, schedule: &Schedule) -> bool {
        let later = head.said().saturating_sub(self.said());
        let blocks = later.as_secs() / schedule.shortest_period(head.head()).as_secs().max(1);
        self.head().saturating_add(CLOSE).saturating_add(blocks) >= head.head()
    }
}

#[cfg(test)]
mod tests;
