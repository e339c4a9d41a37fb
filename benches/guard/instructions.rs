//! Instructions of a small call, counted by callgrind in one process once it has answered a few: start and handshake
//! vary by more than a call takes. What it does in that time without being asked is counted too, and taken off.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    caller::{Dial, post},
    peer::{Kind, Peer},
    setup::Setup,
    verdicts,
};

/// Calls before the first count, and those that are counted.
const FEW: usize = 100;
const MANY: usize = 1000;

/// How long the guard is watched doing nothing.
const REST: Duration = Duration::from_secs(10);

/// What a small call may take.
pub(crate) const GOAL: f64 = 50_000.0;

/// What it took when this was written down, and what it may be over that.
const KNOWN: f64 = 45_000.0;
const MARGIN: f64 = 1.02;

/// Instructions of the guard for a small call, of the library code that it calls too, and not of the kernel.
pub(crate) fn count(mut setup: Setup) -> anyhow::Result<f64> {
    let out = setup.folder.join("callgrind.out");
    let flag = format!("--callgrind-out-file={}", out.display());
    setup.guard.splice(..0, ["valgrind".into(), "--tool=callgrind".into(), flag.into()]);
    let peer = Peer::start(Kind::Guard, &setup)?;
    let mut caller = Dial { port: peer.port, config: setup.pki.dials()? }.connect()?;
    let request = post(&verdicts::small());
    let mut ask = |count: usize| -> anyhow::Result<()> {
        for _ in 0..count {
            ensure!(caller.ask(&request)?.is_result(), "a call was not answered");
        }
        Ok(())
    };
    ask(FEW)?;
    dumped(&peer, &out, 1)?;
    let started = Instant::now();
    ask(MANY)?;
    let took = started.elapsed();
    let busy = dumped(&peer, &out, 2)?;
    thread::sleep(REST);
    let idle = dumped(&peer, &out, 3)?;
    Ok((busy - idle * took.as_secs_f64() / REST.as_secs_f64()) / MANY as f64)
}

/// What was counted since it was last asked.
fn dumped(peer: &Peer, out: &Path, number: u32) -> anyhow::Result<f64> {
    let asked = Command::new("vgdb").arg(format!("--pid={}", peer.pid())).arg("dump").output()?;
    ensure!(asked.status.success(), "vgdb: {}", String::from_utf8_lossy(&asked.stderr));
    let file = out.with_extension(format!("out.{number}"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:")).context("no totals")?;
    Ok(totals.trim().parse()?)
}

/// Refuses a guard that takes more than it is known to take.
pub(crate) fn check(setup: Setup) -> anyhow::Result<()> {
    let count = count(setup)?;
    println!("instructions of a small call: {count:.0}, of {KNOWN:.0} known; the goal is {GOAL:.0}");
    ensure!(
        count <= KNOWN * MARGIN,
        "the guard has become more expensive: make it cheaper, or say in KNOWN what it takes, and why in the commit"
    );
    Ok(())
}
