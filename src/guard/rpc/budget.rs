//! One budget of bytes for everything in flight: bodies, messages, answers. No caller has more than half of it.
//!
//! A charge travels with the bytes that it stands for, and is given back when they are gone.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;

use super::account::Account;

/// What is taken as the memory limit where there is none.
const UNLIMITED: u64 = 128 * 1024 * 1024;
/// What a connection holds besides: buffers of TLS and of what is spoken over it.
const CONNECTION: u64 = 32 * 1024;
/// Fewer bytes than these would let nobody ask anything.
const LEAST: u64 = 4 * 1024 * 1024;

/// Bytes that may be in flight.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    held: AtomicUsize,
    /// Who waits for bytes to be given back.
    waiting: Mutex<VecDeque<Waker>>,
    is_waited_for: AtomicBool,
}

/// Bytes of a budget, which are given back when this is dropped.
pub struct Charge {
    budget: Arc<Budget>,
    of: Arc<Account>,
    bytes: usize,
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn of(most: usize) -> Arc<Self> {
        let (held, waiting, is_waited_for) = (AtomicUsize::new(0), Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { most, held, waiting, is_waited_for })
    }

    /// Half of a memory limit in bytes, less what connections hold besides.
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

    /// Bytes that are in flight.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// So many bytes for a caller, if there are as many and it has not had its half.
    #[must_use]
    pub fn charge(self: &Arc<Self>, of: &Arc<Account>, bytes: usize) -> Option<Charge> {
        let mut charge = Charge::nothing(self, of);
        charge.grow(bytes).then_some(charge)
    }

    /// Waits for the same.
    pub fn poll_charge(
        self: &Arc<Self>,
        of: &Arc<Account>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Charge> {
        if let Some(charge) = self.charge(of, bytes) {
            return Poll::Ready(charge);
        }
        self.wake_later(cx);
        // what was given back before the waker was there woke nobody
        self.charge(of, bytes).map_or(Poll::Pending, Poll::Ready)
    }

    /// Wakes the task when bytes are given back.
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
    /// Nothing yet.
    #[must_use]
    pub fn nothing(budget: &Arc<Budget>, of: &Arc<Account>) -> Self {
        Self { budget: budget.clone(), of: of.clone(), bytes: 0 }
    }

    /// So many bytes more, if they can be had.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let is_had = more == 0 || self.budget.take(more, &self.of.bytes);
        self.bytes += if is_had { more } else { 0 };
        is_had
    }

    /// Waits for so many bytes more.
    pub fn poll_grow(&mut self, more: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.grow(more) {
            return Poll::Ready(());
        }
        self.budget.wake_later(cx);
        if self.grow(more) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives back what is over so many bytes.
    pub fn shrink(&mut self, to: usize) {
        if let Some(over) = self.bytes.checked_sub(to).filter(|over| *over > 0) {
            self.bytes = to;
            self.budget.give_back(over, &self.of.bytes);
        }
    }

    /// Bytes that it stands for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes that it stands for: it is given back when the last of them is gone.
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

/// The memory limit of this process's control group, in bytes; `None` where there is none. The lowest of the group and
/// those above it, for groups of version 2 and 1, as `/proc/self/cgroup` (cgroups(7)) has them.
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
            // "max", and what version 1 says of no limit, is none
            let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
            lowest = limit.filter(|limit| *limit < 1 << 62).into_iter().chain(lowest).min();
        }
    }
    lowest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> Arc<Account> {
        Arc::new(Account::new(name))
    }

    #[test]
    fn a_caller_has_half_and_all_of_them_have_no_more_than_there_is() {
        let (budget, [one, two, three]) = (Budget::of(100), ["a", "b", "c"].map(account));
        let first = budget.charge(&one, 50).unwrap();
        assert!(budget.charge(&one, 1).is_none(), "it has its half");
        let mut second = budget.charge(&two, 40).unwrap();
        assert!(!second.grow(11) && second.grow(10), "up to its half");
        assert!(budget.charge(&three, 1).is_none(), "there is no more");
        second.shrink(20);
        assert_eq!((budget.held(), second.bytes()), (70, 20));
        let bytes = second.travel_with(vec![7; 20]);
        let part = bytes.slice(3..4);
        drop(bytes);
        assert_eq!(budget.held(), 70, "a part of them is there still");
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
