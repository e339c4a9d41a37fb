//! Connection slots: a limit for all connections, half of it for connections without a known caller, and an eighth for
//! those of one address. So unknown callers cannot lock known ones out by opening connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::guard::rpc::serve::server_state::ServerState;

/// Counters of open connections.
#[derive(Debug, Default)]
pub struct ConnectionSlots(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    /// Connections whose caller is not known yet, in all and by address.
    unknown: u32,
    of: HashMap<IpAddr, u32>,
}

impl ConnectionSlots {
    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of open connections.
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

/// A connection slot. Dropping it frees the slot.
pub struct ConnectionSlot {
    server_state: Arc<ServerState>,
    from: IpAddr,
    is_known: AtomicBool,
}

impl ConnectionSlot {
    /// Takes a slot for a connection without a known caller; `None` if there is none.
    #[must_use]
    pub fn take(server_state: &Arc<ServerState>, from: IpAddr) -> Option<Self> {
        let most = server_state.rules.borrow().policy.limits.connections;
        if server_state.counts.connections.taken().come(from, most) {
            return Some(Self { server_state: server_state.clone(), from, is_known: AtomicBool::new(false) });
        }
        server_state.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// State shared by all connections.
    #[must_use]
    pub fn server_state(&self) -> &Arc<ServerState> {
        &self.server_state
    }

    /// Address of the peer.
    #[must_use]
    pub fn from(&self) -> IpAddr {
        self.from
    }

    /// Whether the caller is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Marks the caller as known.
    pub fn known(&self) {
        if !self.is_known.swap(true, Ordering::Relaxed) {
            self.server_state.counts.connections.taken().become_known(self.from);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.known();
        self.server_state.counts.connections.taken().all -= 1;
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
        assert!(!taken.come(from(1), 16), "an eighth of the slots");
        for host in 2..=7 {
            assert!(taken.come(from(host), 16));
        }
        assert!(!taken.come(from(8), 16), "half of the slots");
        taken.become_known(from(1));
        assert!(taken.come(from(1), 16));
        taken.become_known(from(1));
        taken.become_known(from(1));
        assert_eq!((taken.all, taken.unknown, taken.of.len()), (9, 6, 6));
        for _ in 0..7 {
            assert!(taken.come(from(9), 16));
            taken.become_known(from(9));
        }
        assert!(!taken.come(from(9), 16), "all slots");
        assert!(Taken::default().come(from(1), 1), "at least one slot");
    }
}
