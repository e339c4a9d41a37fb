//! Hostile payloads against the real client: each tries to make it execute a method that the caller may not call.
//! `make test-guard` builds the client and runs this. The same seed generates the same payloads.
//!
//! Each payload is sent three times: directly to the client, which shows that the payloads can do harm; as the guard
//! rewrites it; and through a running guard. The client's own metrics count what it executed.

mod floods;
mod geth;
mod guard_process;
mod guard_server;
mod hostile_bodies;
mod hostile_frames;
mod hostile_http2;
mod hostile_requests;
mod in_process;
mod misbehaving_client;
mod naive_filters;
mod payload_draft;
mod payload_kinds;
#[path = "../support/rng.rs"]
mod rng;
mod stand_in_parity;
#[path = "../../src/guard/testing/standin/mod.rs"]
#[allow(dead_code, reason = "unit tests use more of it")]
mod standin;
mod suite;
mod wire;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quorum_operator::protocol::policy::grants::Grants;

use floods::Programs;
use geth::Geth;
use guard_server::Guard;
use suite::{Outcome, Suite};

/// Number of payloads of an axis that must include some that get past a naive filter.
const ENOUGH: u64 = 60;

/// Axes whose payloads are known to get past a naive filter and run methods that are not granted.
const KNOWN: [&str; 20] = [
    "key case",
    "key fold",
    "escape",
    "duplicate",
    "order",
    "value types",
    "whitespace",
    "BOM and NUL",
    "invalid UTF-8",
    "batch shapes",
    "trailing data",
    "sizes, spread",
    "sizes, whole",
    "verbs",
    "content types",
    "encodings",
    "HTTP/1.1",
    "WebSocket text",
    "WebSocket binary",
    "WebSocket fragmented",
];

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().with_context(|| format!("{name}={text} is not a number"))
        }
        _ => Ok(default),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let setting = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let client = setting("E2E_GUARD_CLIENT").context("E2E_GUARD_CLIENT: this is run by make test-guard")?;
    let program =
        setting("E2E_GUARD_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_quorum-guard").to_owned());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = number("E2E_GUARD_SEED", now.as_secs())?;
    let cases = number("E2E_GUARD_CASES", 300)?;
    println!("seed {seed}: E2E_GUARD_SEED={seed} E2E_GUARD_CASES={cases} make test-guard repeats this run");
    let genesis = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/genesis.json");
    let only = setting("E2E_GUARD_AXIS");
    let each = Duration::from_secs(number("E2E_GUARD_FLOOD_SECONDS", cases.clamp(60, 600) / 20)?);
    let programs =
        Programs { guard: program.clone().into(), client: client.clone(), genesis: genesis.clone() };
    if let Some(flood) = only.as_deref().filter(|only| *only == "floods" || floods::has(only)) {
        let faults = floods::run(&programs, each, Some(flood).filter(|flood| *flood != "floods")).await?;
        return found(seed, &faults);
    }
    let geth = Geth::start(&client, &genesis).await?;
    let guard = Guard::start(Path::new(&program), &geth).await?;
    let grants = Grants::read(guard_process::GRANTED)
        .map_err(|wrong| anyhow::anyhow!("{wrong}"))?
        .with_private_state(true);
    let mut suite = Suite { geth, guard, grants, seed, cases, faults: vec![] };
    println!(
        "{:22} {:>6} {:>6} {:>6} {:>8} {:>9} {:>7} {:>6}",
        "kind", "cases", "bare", "naive", "granted", "executed", "behind", "s"
    );
    for (axis, make) in
        payload_kinds::all().into_iter().filter(|(axis, _)| only.as_ref().is_none_or(|only| only == axis))
    {
        let from = Instant::now();
        let outcome = suite.axis(axis, make).await.with_context(|| format!("seed {seed}, {axis}"))?;
        let Outcome { bare, naive, granted, ran, behind } = outcome;
        let seconds = from.elapsed().as_secs_f64();
        println!(
            "{axis:22} {cases:>6} {bare:>6} {naive:>6} {granted:>8} {ran:>9} {behind:>7} {seconds:>6.1}"
        );
        if naive == 0 && cases >= ENOUGH && KNOWN.contains(&axis) {
            suite.faults.push(format!("{axis}: nothing gets past a naive filter, so this proves nothing"));
        }
    }
    if only.as_ref().is_none_or(|only| only == "stand-in") {
        suite.faults.extend(stand_in_parity::run(&suite.geth).await?);
    }
    if only.is_none() {
        suite.unknown().await?;
        suite.faults.extend(floods::run(&programs, each, None).await?);
    }
    found(seed, &suite.faults)
}

fn found(seed: u64, faults: &[String]) -> anyhow::Result<()> {
    if !faults.is_empty() {
        bail!("seed {seed}: {} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}
