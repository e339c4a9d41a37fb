//! Write fence: writes are allowed only while the leader lease is certain to outlast the request.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// Deadline of one request, including reads. It does not apply to watches.
pub const REQUEST: Duration = Duration::from_secs(5);
/// Minimum remaining time of the lease when a write is sent.
const MARGIN: Duration = Duration::from_secs(6);

/// The time until which this process is certain to hold the lease.
#[derive(Clone, Debug)]
pub struct Fence(watch::Receiver<Option<Instant>>);

/// Error: a write was not sent, because another replica may lead by the time it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

impl std::fmt::Display for Fenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the write was not sent: the leader lease may expire before it ends")
    }
}

impl std::error::Error for Fenced {}

impl Fence {
    /// Creates a fence, and the sender for the end of the lease: `None` while the lease is not held.
    #[must_use]
    pub fn new() -> (watch::Sender<Option<Instant>>, Self) {
        let (end, seen) = watch::channel(None);
        (end, Self(seen))
    }

    /// Checks that a write may be sent now.
    ///
    /// # Errors
    /// [`Fenced`] if it may not.
    pub fn check(&self) -> Result<(), Fenced> {
        let end = *self.0.borrow();
        if allows(end, Instant::now()) { Ok(()) } else { Err(Fenced) }
    }

    /// Whether the lease is held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.borrow().is_some_and(|end| Instant::now() < end)
    }

    /// Waits until the lease is held. Returns `false` if it never will be.
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
