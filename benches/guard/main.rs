//! Compares the guard's cost with that of nginx with Lua, HAProxy and Envoy, in front of the same upstream with the
//! same certificates, policy, audit records and limits. `make bench-guard` runs it; docs/performance.md describes the
//! measures and has results.

mod caller;
mod check;
mod instructions;
mod load;
mod measures;
mod memory;
mod peer;
mod pki;
mod policy;
#[path = "../report.rs"]
mod report;
mod setup;
#[path = "../../src/guard/testing/standin/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this program uses only the encoding of answers")]
mod standin;
mod upstream;
mod verdicts;

use std::{fs, path::PathBuf, sync::Arc};

use clap::{Parser, Subcommand};
use serde_json::json;

use peer::{Kind, Peer};
use pki::Pki;
use report::Report;
use setup::Setup;
use upstream::Upstream;

/// Measures the cost of the guard and of comparable proxies.
#[derive(Parser)]
struct Options {
    /// Rounds. Each round takes each measure once for each peer.
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 5)]
    rounds: usize,
    /// Duration of each measure in seconds.
    #[arg(long, env = "BENCH_SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Factor for all request rates. Use less than 1 on a busy machine.
    #[arg(long, env = "BENCH_RATE", default_value_t = 1.0)]
    rate: f64,
    /// Number of idle connections for the memory measure.
    #[arg(long, env = "BENCH_IDLE_CONNECTIONS", default_value_t = 1000)]
    idle: usize,
    /// Programs to compare.
    #[arg(long, env = "BENCH_PEERS", value_delimiter = ',', default_value = "guard,nginx,haproxy,envoy")]
    peers: Vec<Kind>,
    /// File for the result as JSON.
    #[arg(long, env = "BENCH_JSON", global = true)]
    json: Option<PathBuf>,
    /// The guard's program.
    #[arg(long, env = "BENCH_GUARD", global = true, default_value = "target/release/quorum-guard")]
    guard: PathBuf,
    /// Envoy's program.
    #[arg(long, env = "BENCH_ENVOY", default_value = "envoy")]
    envoy: PathBuf,
    /// Path of oha, to check the load generator against it.
    #[arg(long, env = "BENCH_OHA")]
    oha: Option<PathBuf>,
    /// Configurations of the peers.
    #[arg(long, env = "BENCH_CONFIGS", global = true, default_value = "benches/guard/peers")]
    configs: PathBuf,
    /// Folder for certificates, configurations and records.
    #[arg(long, env = "BENCH_WORK", global = true, default_value = "target/bench-guard")]
    work: PathBuf,
    /// Processor on which the peers run. Run this program on another.
    #[arg(long, env = "BENCH_PROCESSOR", global = true)]
    processor: Option<usize>,
    #[command(subcommand)]
    only: Option<Only>,
}

#[derive(Subcommand)]
enum Only {
    /// Counts the guard's instructions for a small call and fails if it exceeds the known number.
    Instructions,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    verdicts::sizes()?;
    fs::create_dir_all(&options.work)?;
    let setup = Setup {
        folder: options.work.canonicalize()?,
        peers: options.configs.canonicalize()?,
        guard: vec![options.guard.clone().into()],
        envoy: options.envoy.clone(),
        pki: Pki::new()?,
        upstream: Arc::new(Upstream::start()?),
        processor: options.processor,
    };
    setup.pki.write(&setup.folder)?;
    if let Some(Only::Instructions) = options.only {
        return instructions::check(setup);
    }
    let mut report = Report::default();
    run(&options, setup, &mut report)?;
    println!("\n{}", report.table());
    if let Some(path) = &options.json {
        let about = json!({"rounds": options.rounds, "seconds": options.seconds});
        fs::write(path, serde_json::to_vec_pretty(&report.json(about))?)?;
    }
    Ok(())
}

fn run(options: &Options, setup: Setup, report: &mut Report) -> anyhow::Result<()> {
    say("memory");
    memory::measure(&options.peers, &setup, options.idle, report)?;
    say("verdicts");
    let peers: Vec<Peer> =
        options.peers.iter().map(|kind| Peer::start(*kind, &setup)).collect::<anyhow::Result<_>>()?;
    for peer in &peers {
        let count = verdicts::check(peer, &setup)?;
        let batches =
            if peer.kind.reads_batches() { "" } else { "; cannot inspect batches, and refuses them" };
        println!("{}: {count} verdicts are correct{batches}", peer.kind.name());
    }
    measures::rounds(&peers, options, &setup, report)?;
    if let Some(oha) = &options.oha {
        say("another generator");
        check::against(oha, &peers[peers.len() - 1], &setup, report)?;
    }
    drop(peers);
    if options.peers.contains(&Kind::Guard) {
        say("instructions");
        let count = instructions::count(setup)?;
        report.row("instructions of a small call", (count, ""), Some(instructions::GOAL), "callgrind");
    }
    Ok(())
}

fn say(what: &str) {
    println!("-- {what}");
}
