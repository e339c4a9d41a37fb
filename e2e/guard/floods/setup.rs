//! Setup of a flood: guard and client with the memory limits of their containers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use quorum_operator::protocol::policy::Policy;
use tokio::time::{Instant, timeout};

use super::caller::{Caller, call};
use super::cgroup::Cgroup;
use super::records::Records;
use crate::{
    geth::{Chain, Counts, Geth},
    guard_process::{Place, Run},
    misbehaving_client::MisbehavingClient,
};

/// Default memory limits of the containers in MiB.
const GUARD: u64 = 128;
const CLIENT: u64 = 2048;
/// Deadline for the guard to release memory after a flood.
const SETTLES: Duration = Duration::from_secs(5);
/// Memory setting of Go that the operator gives to the client.
const GARBAGE: &str = "GOMEMLIMIT=1843MiB";
/// Interval between memory samples.
const LOOK: Duration = Duration::from_millis(20);

/// Paths of the programs and of the genesis.
pub(crate) struct Programs {
    pub(crate) guard: PathBuf,
    pub(crate) client: String,
    pub(crate) genesis: PathBuf,
}

/// Client behind the guard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The misbehaving stand-in.
    MisbehavingClient,
    /// The real client.
    Real,
    /// The real client with a block a second.
    Blocks,
}

/// A running guard and client, which end on drop.
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) records: Arc<Records>,
    pub(crate) moody: Option<MisbehavingClient>,
    pub(crate) geth: Option<Geth>,
    /// Where the client listens for HTTP.
    pub(crate) client_at: SocketAddr,
    /// Declared after the programs, which must end before their cgroups can be removed.
    guard: Cgroup,
    client: Cgroup,
}

impl Stage {
    pub(crate) async fn new(
        programs: &Programs,
        behind: Behind,
        policy: fn(&mut Policy),
    ) -> anyhow::Result<Arc<Self>> {
        let (guard, client) = (Cgroup::new("guard", GUARD)?, Cgroup::new("client", CLIENT)?);
        let within = [client.enter(), vec!["env".to_owned(), GARBAGE.to_owned()]].concat();
        let start = async |chain| Geth::within(&within, &programs.client, chain).await.map(Some);
        let (moody, geth) = match behind {
            Behind::MisbehavingClient => (Some(MisbehavingClient::start()?), None),
            Behind::Real => (None, start(Chain::Still(&programs.genesis)).await?),
            Behind::Blocks => (None, start(Chain::BlockEachSecond).await?),
        };
        let at = match (&moody, &geth) {
            (Some(moody), _) => moody.at,
            (None, Some(geth)) => [geth.http, geth.socket],
            (None, None) => unreachable!("one of them was started"),
        };
        let (records, stdout) = Records::read()?;
        let run = Run { program: &programs.guard, within: &guard.enter(), client: at, policy };
        let place = Place::run(run, |_: &Path| Ok(stdout)).await?;
        Ok(Arc::new(Self { place, records, moody, geth, client_at: at[0], guard, client }))
    }

    /// How often the client has received each method.
    pub(crate) async fn asked(&self) -> anyhow::Result<Counts> {
        match (&self.moody, &self.geth) {
            (Some(moody), _) => Ok(moody.load.methods()),
            (None, Some(geth)) => geth.executed().await,
            (None, None) => Ok(Counts::new()),
        }
    }

    /// The well-behaved caller and two misbehaving ones.
    pub(crate) fn callers(&self) -> anyhow::Result<[Caller; 3]> {
        Ok([Caller::of(&self.place, 0)?, Caller::of(&self.place, 1)?, Caller::of(&self.place, 2)?])
    }

    /// Waits until the guard answers. Returns its memory in bytes.
    pub(crate) async fn quiet(&self) -> anyhow::Result<u64> {
        let caller = Caller::of(&self.place, 0)?;
        let once = async || {
            let answered = async { caller.call(&mut caller.http1().await?, call("eth_chainId")).await };
            timeout(Duration::from_secs(10), answered).await.unwrap_or_else(|late| Err(late.into()))
        };
        let end = Instant::now() + Duration::from_secs(20);
        while let Err(failed) = once().await {
            held(self.place.process()).context("the guard has ended")?;
            anyhow::ensure!(Instant::now() < end, "the guard answers nobody any more: {failed:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        held(self.place.process()).context("the guard has ended")
    }

    /// Waits until the guard holds at most `most` bytes, for at most [`SETTLES`], since it notices after a moment that
    /// callers have left. Returns its memory in bytes.
    pub(crate) async fn settled(&self, most: u64) -> anyhow::Result<u64> {
        let end = Instant::now() + SETTLES;
        loop {
            let held = self.quiet().await?;
            if held <= most || Instant::now() > end {
                return Ok(held);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Samples the memory of guard and client until the result is dropped.
    pub(crate) fn look(self: &Arc<Self>) -> Look {
        let look = Look::default();
        let (to, guard) = (look.clone(), self.place.process());
        let client = self.geth.as_ref().map(Geth::process);
        std::thread::spawn(move || {
            while !to.stop.load(Ordering::Relaxed) {
                for (held_at, most) in [(held(guard), &to.guard), (client.and_then(held), &to.client)] {
                    most.fetch_max(held_at.unwrap_or_default(), Ordering::Relaxed);
                }
                std::thread::sleep(LOOK);
            }
        });
        look
    }

    /// Memory faults of guard and client: exceeded limits and ended processes.
    pub(crate) fn faults(&self, look: &Look) -> anyhow::Result<Vec<String>> {
        let mut faults = Vec::new();
        let guard = ("guard", &self.guard, Some(self.place.process()), &look.guard, GUARD);
        let client = ("client", &self.client, self.geth.as_ref().map(Geth::process), &look.client, CLIENT);
        for (what, group, process, most, limit) in [guard, client] {
            let kills = group.kills()?;
            if kills > 0 {
                faults.push(format!("the {what} was killed for memory: it has {limit} MiB"));
            } else if process.is_some_and(|process| held(process).is_none()) {
                faults.push(format!("the {what} has ended"));
            }
            let all = most.load(Ordering::Relaxed) + group.sockets()?;
            if all > limit * 1024 * 1024 {
                let all = all / 1024 / 1024;
                faults.push(format!("the {what} held {all} MiB with its sockets, of {limit}"));
            }
        }
        Ok(faults)
    }

    /// Peak bytes of the guard with its files, and of its sockets.
    pub(crate) fn peaks(&self) -> anyhow::Result<[u64; 2]> {
        Ok([self.guard.peak()?, self.guard.sockets()?])
    }
}

/// Peak bytes of guard and client, without files.
#[derive(Clone, Default)]
pub(crate) struct Look {
    pub(crate) guard: Arc<AtomicU64>,
    pub(crate) client: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Anonymous memory of a process in bytes; `None` if it has ended.
fn held(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}
