//! Turns at the client: so many at a time, and so many that wait for theirs. There are some for all callers together,
//! and half as many for each, so that none has all of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refusal::Refusal;

/// How many there are, who waits, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// At a time.
    pub turns: u32,
    /// That wait for one; one more is refused at once.
    pub waiting: u32,
    /// For so long.
    pub patience: Duration,
}

impl Share {
    /// What each caller may have of it: half, and one at least.
    #[must_use]
    pub fn of_one(self) -> Self {
        Self { turns: self.turns.div_ceil(2), waiting: self.waiting.div_ceil(2), ..self }
    }
}

/// Turns that can be had.
#[derive(Debug)]
pub struct Turns {
    /// How many there are, and those that are free.
    free: Mutex<(u32, Arc<Semaphore>)>,
    waiting: AtomicU32,
}

impl Default for Turns {
    fn default() -> Self {
        Self { free: Mutex::new((0, Arc::new(Semaphore::new(0)))), waiting: AtomicU32::new(0) }
    }
}

/// Counts who waits, also where the wait is given up.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// How many wait, and how many have a turn.
    pub fn load(&self) -> (u32, u32) {
        let turns = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = u32::try_from(turns.1.available_permits()).unwrap_or(u32::MAX);
        (self.waiting.load(Ordering::Relaxed), turns.0.saturating_sub(free))
    }

    /// A turn, if there is one now.
    pub fn take_now(&self, share: Share) -> Option<OwnedSemaphorePermit> {
        self.free(share.turns).try_acquire_owned().ok()
    }

    /// A turn, which ends when what is given is dropped.
    ///
    /// # Errors
    /// Where too many wait already, or there was none in time.
    pub async fn take(&self, share: Share) -> Result<OwnedSemaphorePermit, Refusal> {
        let free = self.free(share.turns);
        if let Ok(turn) = free.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let waits = Waits(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= share.waiting {
            return Err(Refusal::client_busy());
        }
        let turn = timeout(share.patience, free.acquire_owned()).await;
        drop(waits);
        turn.ok().and_then(Result::ok).ok_or_else(Refusal::client_busy)
    }

    /// With another number of turns, those under way keep theirs until they end.
    fn free(&self, number: u32) -> Arc<Semaphore> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.0 != number {
            *free = (number, Arc::new(Semaphore::new(number as usize)));
        }
        free.1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_had_waited_for_and_given_back() {
        let (turns, share) =
            (Turns::default(), Share { turns: 2, waiting: 1, patience: Duration::from_secs(5) });
        let (first, _second) = (turns.take(share).await.unwrap(), turns.take(share).await.unwrap());
        let (third, fourth) = tokio::join!(turns.take(share), turns.take(share));
        assert_eq!(third.unwrap_err().reason, "client_busy", "it has waited for its time");
        assert_eq!(fourth.unwrap_err().reason, "client_busy", "nobody else may wait");
        assert_eq!(turns.load(), (0, 2));
        let (third, ()) = tokio::join!(turns.take(share), async { drop(first) });
        assert!(third.is_ok());
        assert_eq!(share.of_one().turns, 1);
    }
}
