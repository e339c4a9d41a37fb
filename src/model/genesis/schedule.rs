//! Block periods and validators of a chain by block number, as the genesis states them.

use std::{collections::BTreeSet, time::Duration};

use super::config::Config;
use crate::model::secrets::hex;

/// Periods and validators with the block from which they apply. Each list begins with block 0 and ascends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    periods: Vec<(u64, Period)>,
    validators: Vec<(u64, Validators)>,
}

/// Seconds between blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    block: u64,
    /// Seconds before an empty block; 0 means the same as `block`.
    empty: u64,
}

impl Default for Period {
    /// The client's defaults.
    fn default() -> Self {
        Self { block: 5, empty: 0 }
    }
}

impl Period {
    /// This period with the given changes applied. The client ignores a block period of 0.
    pub(super) fn next(self, block: Option<u64>, empty: Option<u64>) -> Self {
        let block = block.filter(|seconds| *seconds != 0).unwrap_or(self.block);
        Self { block, empty: empty.unwrap_or(self.empty) }
    }
}

/// The validators, without later votes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validators {
    /// These addresses, each 0x and 40 lower-case hexadecimal digits.
    Relist(BTreeSet<String>),
    /// Only a contract or the chain itself knows them.
    Unknown,
}

impl Validators {
    pub(super) fn of(addresses: &[[u8; 20]]) -> Self {
        Self::Relist(addresses.iter().map(|address| format!("0x{}", hex(address))).collect())
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
            // those of block 0 were read with the genesis block
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

    /// The longest regular time from block `head` to the next one.
    #[must_use]
    pub fn longest_period(&self, head: u64) -> Duration {
        let period = at(&self.periods, head.saturating_add(1)).copied().unwrap_or_default();
        Duration::from_secs(period.block.max(period.empty))
    }

    /// The shortest regular time from block `head` to the next one.
    #[must_use]
    pub fn shortest_period(&self, head: u64) -> Duration {
        let period = at(&self.periods, head.saturating_add(1)).copied().unwrap_or_default();
        Duration::from_secs(period.block)
    }

    /// Number and addresses of the validators of the block after `head`; `None` where the genesis does not name them.
    /// Where the head is unknown (0), any list may be in force: returns the length of the shortest list and the
    /// addresses of all lists.
    #[must_use]
    pub fn listed(&self, head: u64) -> Option<(usize, BTreeSet<String>)> {
        let known = [(head, self.validators(head).clone())];
        let lists = if head == 0 { self.validators.as_slice() } else { &known };
        let lists: Option<Vec<_>> = lists
            .iter()
            .map(|(_, validators)| match validators {
                Validators::Relist(list) => Some(list),
                Validators::Unknown => None,
            })
            .collect();
        let lists = lists?;
        let shortest = lists.iter().map(|list| list.len()).min()?;
        Some((shortest, lists.into_iter().flatten().cloned().collect()))
    }

    /// The validators of the block after `head`.
    #[must_use]
    pub fn validators(&self, head: u64) -> &Validators {
        at(&self.validators, head.saturating_add(1)).unwrap_or(&Validators::Unknown)
    }
}

fn at<T>(list: &[(u64, T)], block: u64) -> Option<&T> {
    list.iter().rev().find(|(from, _)| *from <= block).map(|(_, what)| what)
}
