//! Budget of bytes in flight: bodies, messages and answers. No caller may use more than half of it.
//!
//! A charge is attached to the bytes that it stands for and is released when they are dropped.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;

use super::caller_state::CallerState;

/// Memory limit assumed if there is none, in bytes.
const UNLIMITED: u64 = 128 * 1024 * 1024;
/// Bytes that a connection holds besides: buffers of TLS and HTTP.
const CONNECTION: u64 = 32 * 1024;
/// Minimum of the budget in bytes, so that calls remain possible.
const LEAST: u64 = 4 * 1024 * 1024;

/// A budget of bytes in flight.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    held: AtomicUsize,
    /// Tasks that wait for released bytes.
    waiting: Mutex<VecDeque<Waker>>,
    is_waited_for: AtomicBool,
}

/// Bytes charged to a budget. Dropping it releases them.
pub struct Charge {
    budget: Arc<Budget>,
    of: Arc<CallerState>,
    bytes: usize,
}

impl Budget {
    /// Creates a budget of `most` bytes.
    #[must_use]
    pub fn of(most: usize) -> Arc<Self> {
        let (held, waiting, is_waited_for) = (AtomicUsize::new(0), Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { most, held, waiting, is_waited_for })
    }

    /// Creates a budget of half the memory limit in bytes, less what the connections hold.
    #[must_use]
    pub fn within(limit: Option<u64>, connections: u32) -> Arc<Self> {
        let half = limit.unwrap_or(UNLIMITED) / 2;
        let bytes = half.saturating_sub(u64::from(connections) * CONNECTION).max(LEAST);
        Self::of(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Bytes that may be in flight.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Bytes in flight.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Charges bytes to a caller; `None` if the budget or the caller's half of it is exhausted.
    #[must_use]
    pub fn charge(self: &Arc<Self>, of: &Arc<CallerState>, bytes: usize) -> Option<Charge> {
        let mut charge = Charge::nothing(self, of);
        charge.grow(bytes).then_some(charge)
    }

    /// Charges bytes to a caller as soon as they are available.
    pub fn poll_charge(
        self: &Arc<Self>,
        of: &Arc<CallerState>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Charge> {
        if let Some(charge) = self.charge(of, bytes) {
            return Poll::Ready(charge);
        }
        self.wake_later(cx);
        // bytes released before the waker was registered woke no task
        self.charge(of, bytes).map_or(Poll::Pending, Poll::Ready)
    }

    /// Registers the task to be woken when bytes are released.
    fn wake_later(&self, cx: &mut Context<'_>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push_back(cx.waker().clone());
        }
        self.is_waited_for.store(true, Ordering::SeqCst);
    }

    fn take(&self, bytes: usize, of: &AtomicUsize) -> bool {
        let add = |most: usize| move |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        if of.fetch_update(Ordering::SeqCst, Ordering::Relaxed, add(self.most / 2)).is_err() {
            return false;
        }
        let is_there = self.held.fetch_update(Ordering::SeqCst, Ordering::Relaxed, add(self.most)).is_ok();
        if !is_there {
            of.fetch_sub(bytes, Ordering::SeqCst);
        }
        is_there
    }

    fn give_back(&self, bytes: usize, of: &AtomicUsize) {
        of.fetch_sub(bytes, Ordering::SeqCst);
        self.held.fetch_sub(bytes, Ordering::SeqCst);
        if self.is_waited_for.swap(false, Ordering::SeqCst) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain(..).for_each(Waker::wake);
        }
    }
}

impl Charge {
    /// Creates a charge of zero bytes.
    #[must_use]
    pub fn nothing(budget: &Arc<Budget>, of: &Arc<CallerState>) -> Self {
        Self { budget: budget.clone(), of: of.clone(), bytes: 0 }
    }

    /// Charges more bytes. Returns false if they are not available.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let is_had = more == 0 || self.budget.take(more, &self.of.bytes);
        self.bytes += if is_had { more } else { 0 };
        is_had
    }

    /// Charges more bytes as soon as they are available.
    pub fn poll_grow(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.grow(more) {
            return Poll::Ready(());
        }
        self.budget.wake_later(cx);
        if self.grow(more) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Releases the bytes above `to`.
    pub fn shrink(&mut self, to: usize) {
        if let Some(over) = self.bytes.checked_sub(to).filter(|over| *over > 0) {
            self.bytes = to;
            self.budget.give_back(over, &self.of.bytes);
        }
    }

    /// Number of charged bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Attaches the charge to its bytes. It is released when the last clone or slice of them is dropped.
    #[must_use]
    pub fn travel_with(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Charged { bytes, _charge: self })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.bytes, &self.of.bytes);
        }
    }
}

struct Charged<B> {
    bytes: B,
    _charge: Charge,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Charged<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// Returns the memory limit of this process's control group in bytes; `None` if there is none. It is the lowest limit
/// of the group and its ancestors, in cgroup versions 2 and 1, as listed in `/proc/self/cgroup` (cgroups(7)).
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limits(&groups, Path::new("/sys/fs/cgroup"))
}

fn limits(groups: &str, root: &Path) -> Option<u64> {
    let mut lowest = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next()?, parts.next()?);
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            some if some.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            let limit = fs::read_to_string(base.join(above).join(file)).ok();
            // "max" does not parse, and version 1 shows "no limit" as a huge number
            let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
            lowest = limit.filter(|limit| *limit < 1 << 62).into_iter().chain(lowest).min();
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> Arc<CallerState> {
        Arc::new(CallerState::new(name))
    }

    #[test]
    fn a_caller_has_half_and_all_of_them_have_no_more_than_there_is() {
        let (budget, [one, two, three]) = (Budget::of(100), ["a", "b", "c"].map(account));
        let first = budget.charge(&one, 50).unwrap();
        assert!(budget.charge(&one, 1).is_none(), "the caller has used its half");
        let mut second = budget.charge(&two, 40).unwrap();
        assert!(!second.grow(11) && second.grow(10), "up to its half");
        assert!(budget.charge(&three, 1).is_none(), "the budget is exhausted");
        second.shrink(20);
        assert_eq!((budget.held(), second.bytes()), (70, 20));
        let bytes = second.travel_with(vec![7; 20]);
        let part = bytes.slice(3..4);
        drop(bytes);
        assert_eq!(budget.held(), 70, "a slice is still alive");
        drop(part);
        drop(first);
        assert_eq!((budget.held(), one.bytes.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn who_waits_is_woken_when_bytes_are_given_back() {
        let (budget, one) = (Budget::of(100), account("a"));
        let held = budget.charge(&one, 50).unwrap();
        let waits = tokio::spawn({
            let (budget, one) = (budget.clone(), one.clone());
            async move { std::future::poll_fn(|cx| budget.poll_charge(&one, 30, cx)).await.bytes() }
        });
        while !budget.is_waited_for.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        drop(held);
        assert_eq!(waits.await.unwrap(), 30);
    }

    #[test]
    fn the_lowest_limit_of_the_groups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("a/b/memory.max", "max\n");
        put("a/memory.max", "134217728\n");
        assert_eq!(limits("0::/a/b\n", root.path()), Some(134_217_728));
        assert_eq!(limits("0::/\n", root.path()), None);
        put("memory.max", "1000\n");
        assert_eq!(limits("0::/a/b\n", root.path()), Some(1000));
        put("memory/pod/memory.limit_in_bytes", "2000\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limits("7:cpu:/x\n4:hugetlb,memory:/pod\n", root.path()), Some(2000));
        assert_eq!(Budget::within(Some(128 << 20), 512).most(), 48 << 20);
        assert_eq!(Budget::within(Some(1), 512).most(), 4 << 20);
    }
}
