//! Instructions of a small call, counted by callgrind: of two runs that differ in how often it is asked, the
//! difference.

use std::{fs, path::Path};

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

/// Instructions of the guard for a small call, of the library code that it calls too, and not of the kernel.
pub(crate) fn count(setup: Setup) -> anyhow::Result<f64> {
    let guard = setup.guard.clone();
    let mut setup = setup;
    let mut run = |calls: usize| -> anyhow::Result<f64> {
        let out = setup.folder.join(format!("callgrind.{calls}"));
        setup.guard = vec![
            "valgrind".into(),
            "--tool=callgrind".into(),
            format!("--callgrind-out-file={}", out.display()).into(),
        ];
        setup.guard.extend(guard.iter().cloned());
        let peer = Peer::start(Kind::Guard, &setup)?;
        let mut caller = Dial { port: peer.port, config: setup.pki.dials()? }.connect()?;
        let request = post(&verdicts::small());
        for _ in 0..calls {
            ensure!(caller.ask(&request)?.is_result(), "a call was not answered");
        }
        caller.close();
        drop(peer);
        total(&out)
    };
    Ok((run(MANY)? - run(FEW)?) / (MANY - FEW) as f64)
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
