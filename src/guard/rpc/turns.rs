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
#[derive(Debug, Default)]
pub struct Turns {
    all: Arc<All>,
    waiting: AtomicU32,
}

#[derive(Debug)]
struct All {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
}

impl Default for All {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(0)), size: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Size {
    /// How many there are.
    number: u32,
    /// How many more are taken, since there were more: they are not free again.
    over: u32,
}

/// A turn that is taken while this is there.
#[derive(Debug)]
pub struct Taken {
    of: Arc<All>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut size = self.of.size();
        if size.over > 0 {
            size.over -= 1;
            self.turn.take().into_iter().for_each(OwnedSemaphorePermit::forget);
        }
    }
}

impl All {
    fn size(&self) -> std::sync::MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There are so many from now on; those under way keep theirs until they end.
    fn resize(&self, number: u32) {
        let mut size = self.size();
        if number >= size.number {
            let more = number - size.number;
            let kept = more.min(size.over);
            size.over -= kept;
            self.free.add_permits((more - kept) as usize);
        } else {
            let fewer = (size.number - number) as usize;
            let gone = self.free.forget_permits(fewer);
            size.over += u32::try_from(fewer - gone).unwrap_or(u32::MAX);
        }
        size.number = number;
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
        let size = self.all.size();
        let free = u32::try_from(self.all.free.available_permits()).unwrap_or(u32::MAX);
        (self.waiting.load(Ordering::Relaxed), (size.number + size.over).saturating_sub(free))
    }

    /// A turn, if there is one now.
    pub fn take_now(&self, share: Share) -> Option<Taken> {
        self.resize(share.turns);
        self.all.free.clone().try_acquire_owned().ok().map(|turn| self.taken(turn))
    }

    /// A turn, which ends when what is given is dropped.
    ///
    /// # Errors
    /// Where too many wait already, or there was none in time.
    pub async fn take(&self, share: Share) -> Result<Taken, Refusal> {
        if let Some(turn) = self.take_now(share) {
            return Ok(turn);
        }
        let waits = Waits(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= share.waiting {
            return Err(Refusal::client_busy());
        }
        let turn = timeout(share.patience, self.all.free.clone().acquire_owned()).await;
        drop(waits);
        turn.ok().and_then(Result::ok).map(|turn| self.taken(turn)).ok_or_else(Refusal::client_busy)
    }

    fn taken(&self, turn: OwnedSemaphorePermit) -> Taken {
        Taken { of: self.all.clone(), turn: Some(turn) }
    }

    fn resize(&self, number: u32) {
        if self.all.size().number != number {
            self.all.resize(number);
        }
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

    #[tokio::test]
    async fn with_another_number_there_are_never_more_than_the_larger_of_both() {
        let turns = Turns::default();
        let share = |turns| Share { turns, waiting: 0, patience: Duration::from_secs(5) };
        let mut taken: Vec<_> = (0..4).filter_map(|_| turns.take_now(share(4))).collect();
        assert_eq!(turns.load(), (0, 4));
        assert!(turns.take_now(share(2)).is_none(), "four are taken");
        for left in [3, 2] {
            taken.pop();
            assert!(turns.take_now(share(2)).is_none());
            assert_eq!(turns.load(), (0, left));
        }
        taken.pop();
        taken.extend(turns.take_now(share(2)));
        assert_eq!((taken.len(), turns.load()), (2, (0, 2)));
        taken.extend((0..9).filter_map(|_| turns.take_now(share(3))));
        assert_eq!((taken.len(), turns.load()), (3, (0, 3)));
        assert!(turns.take_now(share(1)).is_none());
        taken.extend((0..9).filter_map(|_| turns.take_now(share(5))));
        assert_eq!((taken.len(), turns.load()), (5, (0, 5)));
        drop(taken);
        assert_eq!(turns.load(), (0, 0));
        assert_eq!((0..9).filter_map(|_| turns.take_now(share(5))).collect::<Vec<_>>().len(), 5);
    }
}
