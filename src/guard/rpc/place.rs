//! Places for connections: so many in all, half of them for those that are not known yet, and an eighth for those of one
//! address. So nobody keeps known callers out by dialling.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::shared::Shared;

/// Connections that are there.
#[derive(Debug, Default)]
pub struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    /// Of those that are not known yet.
    unknown: u32,
    of: HashMap<IpAddr, u32>,
}

impl Places {
    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn number(&self) -> u32 {
        self.taken().all
    }
}

impl Taken {
    fn come(&mut self, from: IpAddr, most: u32) -> bool {
        let own = self.of.get(&from).copied().unwrap_or_default();
        let fits = self.all < most && self.unknown < most.div_ceil(2) && own < most.div_ceil(8);
        if fits {
            self.all += 1;
            self.unknown += 1;
            self.of.insert(from, own + 1);
        }
        fits
    }

    fn become_known(&mut self, from: IpAddr) {
        self.unknown -= 1;
        match self.of.get_mut(&from) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(self.of.remove(&from)),
        }
    }
}

/// A place that is taken while this is there.
pub struct Place {
    shared: Arc<Shared>,
    from: IpAddr,
    is_known: AtomicBool,
}

impl Place {
    /// One more, of somebody who is not known yet, if there may be one more.
    #[must_use]
    pub fn take(shared: &Arc<Shared>, from: IpAddr) -> Option<Self> {
        let most = shared.rules.borrow().policy.limits.connections;
        if shared.counts.connections.taken().come(from, most) {
            return Some(Self { shared: shared.clone(), from, is_known: AtomicBool::new(false) });
        }
        shared.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// What all connections have in common.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Who dialled.
    #[must_use]
    pub fn from(&self) -> IpAddr {
        self.from
    }

    /// Whether somebody is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Somebody is known.
    pub fn known(&self) {
        if !self.is_known.swap(true, Ordering::Relaxed) {
            self.shared.counts.connections.taken().become_known(self.from);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.known();
        self.shared.counts.connections.taken().all -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_has_all_places_and_nobody_unknown_has_those_of_the_known() {
        let mut taken = Taken::default();
        let from = |host: u8| IpAddr::from([10, 0, 0, host]);
        assert!(taken.come(from(1), 16) && taken.come(from(1), 16));
        assert!(!taken.come(from(1), 16), "an eighth of them");
        for host in 2..=7 {
            assert!(taken.come(from(host), 16));
        }
        assert!(!taken.come(from(8), 16), "half of them");
        taken.become_known(from(1));
        assert!(taken.come(from(1), 16));
        taken.become_known(from(1));
        taken.become_known(from(1));
        assert_eq!((taken.all, taken.unknown, taken.of.len()), (9, 6, 6));
        for _ in 0..7 {
            assert!(taken.come(from(9), 16));
            taken.become_known(from(9));
        }
        assert!(!taken.come(from(9), 16), "all of them");
        assert!(Taken::default().come(from(1), 1), "one at least");
    }
}
