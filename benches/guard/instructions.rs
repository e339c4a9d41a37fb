//! Counts the guard's instructions for a small call with callgrind. Counting starts after some calls, because start and
//! handshake vary by more than a call costs. The instructions of an idle guard in the same time are subtracted.

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

/// Calls before the count, and counted calls.
const FEW: usize = 100;
const MANY: usize = 1000;

/// Duration of the idle measurement.
const REST: Duration = Duration::from_secs(10);

/// Goal: maximum number of instructions for a small call.
pub(crate) const GOAL: f64 = 50_000.0;

/// Instructions measured for a small call, and the accepted ratio to that number.
const KNOWN: f64 = 45_000.0;
const MARGIN: f64 = 1.02;

/// Instructions of the guard for a small call, including libraries and excluding the kernel.
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

/// Instructions since the last dump.
fn dumped(peer: &Peer, out: &Path, number: u32) -> anyhow::Result<f64> {
    let asked = Command::new("vgdb").arg(format!("--pid={}", peer.pid())).arg("dump").output()?;
    ensure!(asked.status.success(), "vgdb: {}", String::from_utf8_lossy(&asked.stderr));
    let file = out.with_extension(format!("out.{number}"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:")).context("no totals")?;
    Ok(totals.trim().parse()?)
}

/// Fails if a small call takes more instructions than [`KNOWN`], with a margin.
pub(crate) fn check(setup: Setup) -> anyhow::Result<()> {
    let count = count(setup)?;
    println!("instructions of a small call: {count:.0}, of {KNOWN:.0} known; the goal is {GOAL:.0}");
    ensure!(
        count <= KNOWN * MARGIN,
        "the guard has become more expensive: make it cheaper, or say in KNOWN what it takes, and why in the commit"
    );
    Ok(())
}
