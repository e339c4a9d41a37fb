//! May this process write? Only while its lease is sure to hold until a request sent now has ended.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// How long one request may take, reads included. Watches are not requests of this kind.
pub const REQUEST: Duration = Duration::from_secs(5);
/// What must be left of the lease when a write is sent.
const MARGIN: Duration = Duration::from_secs(6);

/// The end of the lease, as far as this process can be sure of it.
#[derive(Clone, Debug)]
pub struct Fence(watch::Receiver<Option<Instant>>);

/// A write was not sent, since another replica may lead by the time it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

impl std::fmt::Display for Fenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing is written: the lease is not sure to hold for long enough")
    }
}

impl std::error::Error for Fenced {}

impl Fence {
    /// A fence, and where the end of the lease is told: `None` while it is not held.
    #[must_use]
    pub fn new() -> (watch::Sender<Option<Instant>>, Self) {
        let (end, seen) = watch::channel(None);
        (end, Self(seen))
    }

    /// Whether a write may be sent now.
    ///
    /// # Errors
    /// [`Fenced`] where it may not.
    pub fn check(&self) -> Result<(), Fenced> {
        let end = *self.0.borrow();
        if allows(end, Instant::now()) { Ok(()) } else { Err(Fenced) }
    }

    /// Whether the lease is held at all.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.borrow().is_some_and(|end| Instant::now() < end)
    }

    /// Waits until the lease is held. `false` where it never will be.
    pub async fn held(&mut self) -> bool {
        self.0.wait_for(Option::is_some).await.is_ok()
    }
}

fn allows(end: Option<Instant>, now: Instant) -> bool {
    end.is_some_and(|end| now + MARGIN < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_needs_more_of_the_lease_than_it_may_take() {
        assert!(MARGIN > REQUEST);
        let now = Instant::now();
        assert!(allows(Some(now + MARGIN + Duration::from_millis(1)), now));
        assert!(!allows(Some(now + MARGIN), now));
        assert!(!allows(Some(now), now));
        assert!(!allows(None, now));
    }
}
