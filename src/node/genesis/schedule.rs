//! How far blocks are apart, and who makes them, from which block on, as far as the genesis says.

use std::{collections::BTreeSet, time::Duration};

use super::config::Config;
use crate::node::secrets::hex;

/// What a chain does from which block on. Each list begins with block 0 and ascends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    periods: Vec<(u64, Period)>,
    validators: Vec<(u64, Validators)>,
}

/// Seconds between blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    block: u64,
    /// Before an empty block; 0 is the same.
    empty: u64,
}

impl Default for Period {
    /// What the client goes by where nothing is said.
    fn default() -> Self {
        Self { block: 5, empty: 0 }
    }
}

impl Period {
    /// This one with what is said anew. A block period of 0 says nothing to the client.
    pub(super) fn next(self, block: Option<u64>, empty: Option<u64>) -> Self {
        let block = block.filter(|seconds| *seconds != 0).unwrap_or(self.block);
        Self { block, empty: empty.unwrap_or(self.empty) }
    }
}

/// Who makes blocks, before any of them were voted in or out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validators {
    /// These addresses, each 0x and 40 lower-case hexadecimal digits.
    Listed(BTreeSet<String>),
    /// A contract says, or the chain itself.
    Unknown,
}

impl Validators {
    pub(super) fn of(addresses: &[[u8; 20]]) -> Self {
        Self::Listed(addresses.iter().map(|address| format!("0x{}", hex(address))).collect())
    }
}

impl Schedule {
    pub(super) fn of(config: &Config, first: Validators) -> Self {
        let period = config.section().map(|section| section.period).unwrap_or_default();
        let mut schedule = Self { periods: vec![(0, period)], validators: vec![(0, first)] };
        for transition in &config.transitions {
            let [block, empty] = transition.periods;
            let period = at(&schedule.periods, u64::MAX).copied().unwrap_or_default().next(block, empty);
            schedule.periods.push((transition.block, period));
            // the first ones were judged with the genesis block
            if transition.block == 0 {
                continue;
            }
            if !transition.validators.is_empty() {
                schedule.validators.push((transition.block, Validators::of(&transition.validators)));
            } else if transition.from_contract.is_some() || transition.contract.is_some() {
                schedule.validators.push((transition.block, Validators::Unknown));
            }
        }
        schedule
    }

    /// The longest that a chain with this block waits for its next one while all is well.
    #[must_use]
    pub fn longest_period(&self, head: u64) -> Duration {
        let period = at(&self.periods, head.saturating_add(1)).copied().unwrap_or_default();
        Duration::from_secs(period.block.max(period.empty))
    }

    /// The shortest time from a block to the next one.
    #[must_use]
    pub fn shortest_period(&self, head: u64) -> Duration {
        let period = at(&self.periods, head.saturating_add(1)).copied().unwrap_or_default();
        Duration::from_secs(period.block)
    }

    /// Who makes the block after this one, and how many. Of a chain whose head is not known, each list may be in force: who
    /// is on any of them, and as many as are on the shortest. `None` where the genesis does not say.
    #[must_use]
    pub fn listed(&self, head: u64) -> Option<(usize, BTreeSet<String>)> {
        let known = [(head, self.validators(head).clone())];
        let lists = if head == 0 { self.validators.as_slice() } else { &known };
        let lists: Option<Vec<_>> = lists
            .iter()
            .map(|(_, validators)| match validators {
                Validators::Listed(list) => Some(list),
                Validators::Unknown => None,
            })
            .collect();
        let lists = lists?;
        let shortest = lists.iter().map(|list| list.len()).min()?;
        Some((shortest, lists.into_iter().flatten().cloned().collect()))
    }

    /// Who makes the block after this one.
    #[must_use]
    pub fn validators(&self, head: u64) -> &Validators {
        at(&self.validators, head.saturating_add(1)).unwrap_or(&Validators::Unknown)
    }
}

fn at<T>(list: &[(u64, T)], block: u64) -> Option<&T> {
    list.iter().rev().find(|(from, _)| *from <= block).map(|(_, what)| what)
}
