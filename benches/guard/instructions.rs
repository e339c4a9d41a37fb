//! Instructions of a small call, counted by callgrind: of two runs that differ in how often it is asked, the
//! difference, less what the guard does in that time without being asked.

use std::{
    ffi::OsString,
    fs,
    path::Path,
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

const FEW: usize = 200;
const MANY: usize = 1200;

/// What a small call may take.
pub(crate) const GOAL: f64 = 55_000.0;

/// What it took when this was written down, and what it may be over that.
const KNOWN: f64 = 55_000.0;
const MARGIN: f64 = 1.02;

/// How long the guard is watched doing nothing.
const REST: Duration = Duration::from_secs(10);

/// A run: instructions, and seconds.
struct Run {
    count: f64,
    seconds: f64,
}

/// Instructions of the guard for a small call, of the library code that it calls too, and not of the kernel.
pub(crate) fn count(mut setup: Setup) -> anyhow::Result<f64> {
    let out = setup.folder.join("callgrind.out");
    let flag = format!("--callgrind-out-file={}", out.display());
    let valgrind: [OsString; 3] = ["valgrind".into(), "--tool=callgrind".into(), flag.into()];
    setup.guard.splice(..0, valgrind);
    let run = |calls, rest| one(&setup, &out, calls, rest);
    let (few, rested, many) = (run(FEW, Duration::ZERO)?, run(FEW, REST)?, run(MANY, Duration::ZERO)?);
    let in_a_second = (rested.count - few.count) / (rested.seconds - few.seconds);
    let aside = (many.seconds - few.seconds) * in_a_second;
    Ok((many.count - few.count - aside) / (MANY - FEW) as f64)
}

fn one(setup: &Setup, out: &Path, calls: usize, rest: Duration) -> anyhow::Result<Run> {
    let peer = Peer::start(Kind::Guard, setup)?;
    let started = Instant::now();
    let mut caller = Dial { port: peer.port, config: setup.pki.dials()? }.connect()?;
    let request = post(&verdicts::small());
    for _ in 0..calls {
        ensure!(caller.ask(&request)?.is_result(), "a call was not answered");
    }
    thread::sleep(rest);
    caller.close();
    let seconds = started.elapsed().as_secs_f64();
    drop(peer);
    Ok(Run { count: total(out)?, seconds })
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

fn total(out: &Path) -> anyhow::Result<f64> {
    let text = fs::read_to_string(out).with_context(|| out.display().to_string())?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:")).context("no totals")?;
    Ok(totals.trim().parse()?)
}
