//! Compares the operator's speed and size with a raw client that writes the same objects to the same API server in
//! the same run. `make bench-operator` runs it; docs/performance.md describes the measures and has results.

mod audit;
mod cluster;
mod drift;
mod failover;
mod fleet;
mod process;
mod raw;
#[path = "../report.rs"]
mod report;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::json;

use audit::{Audit, Entry};
use cluster::User;
use failover::{End, Replicas};
use fleet::Fleet;
use process::{Memory, Operator};
use raw::Recording;
use report::{Report, listed, median, percentile};

/// Measures the operator.
#[derive(Parser)]
struct Options {
    /// Number of nodes.
    #[arg(long, env = "N", default_value_t = 200)]
    nodes: usize,
    /// Rounds. In each, the operator and then the raw client write everything.
    #[arg(long, env = "BENCH_SAMPLES", default_value_t = 3)]
    samples: usize,
    /// Number of drift repairs by the operator and by the bare loop.
    #[arg(long, env = "BENCH_DRIFTS", default_value_t = 200)]
    drifts: usize,
    /// Duration of the idle measurement in seconds.
    #[arg(long, env = "BENCH_IDLE", default_value_t = 120)]
    idle: u64,
    /// Number of failovers after a graceful end, and after a crash.
    #[arg(long, env = "BENCH_FAILOVERS", default_value_t = 5)]
    failovers: usize,
    /// Number of restarts with nodes that need no change.
    #[arg(long, env = "BENCH_RESTARTS", default_value_t = 5)]
    restarts: usize,
    /// File for the result as JSON.
    #[arg(long, env = "BENCH_JSON")]
    json: Option<PathBuf>,
    /// The operator's program.
    #[arg(long, env = "BENCH_OPERATOR")]
    operator: PathBuf,
    /// The API server's audit log.
    #[arg(long, env = "BENCH_AUDIT_LOG")]
    audit: PathBuf,
    /// Folder for kubeconfigs and logs.
    #[arg(long, env = "BENCH_WORK")]
    work: PathBuf,
}

/// State that all phases share.
struct Bench {
    options: Options,
    admin: Client,
    raw: Client,
    operator: User,
    standby: User,
    audit: Audit,
    report: Report,
}

/// Time without writes after which the operator counts as settled.
const QUIET: Duration = Duration::from_secs(4);
const AT_A_TIME: usize = 8;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let admin = Client::try_default().await?;
    cluster::grant(&admin).await?;
    let recorder = User::make(&admin, "recorder", &options.work).await?;
    let mut bench = Bench {
        audit: Audit::open(&options.audit)?,
        raw: User::make(&admin, "raw", &options.work).await?.client().await?,
        operator: User::make(&admin, "operator", &options.work).await?,
        standby: User::make(&admin, "standby", &options.work).await?,
        report: Report::default(),
        admin,
        options,
    };
    let recording = bench.record(&recorder).await?;
    bench.rounds(&recording).await?;
    bench.finish()
}

impl Bench {
    fn start(&self, user: &User, fleet: &Fleet) -> anyhow::Result<Operator> {
        Operator::start(&self.options.operator, user, &fleet.namespaces(), &self.options.work)
    }

    async fn fleet(&self, tag: &str) -> anyhow::Result<Fleet> {
        let fleet = Fleet::new(tag, self.options.nodes);
        fleet.prepare(&self.admin).await?;
        Ok(fleet)
    }

    /// Warm-up that records every object that the operator writes.
    async fn record(&mut self, recorder: &User) -> anyhow::Result<Recording> {
        say("warm-up, which records what the operator writes");
        let fleet = self.fleet("rec").await?;
        fleet.create_nodes(&self.admin).await?;
        let nodes = cluster::nodes(&self.admin, &fleet.namespaces()).await?;
        let from = Timestamp::now();
        let operator = self.start(recorder, &fleet)?;
        self.audit.at_rest(recorder.name, from, QUIET).await?;
        operator.stop().await?;
        let entries = self.audit.since(recorder.name, from)?;
        let recording = Recording::of(&entries, &fleet, nodes)?;
        self.audit.forget();
        Ok(recording)
    }

    async fn rounds(&mut self, recording: &Recording) -> anyhow::Result<()> {
        let (mut whole, mut working, mut bare, mut writes) = (vec![], vec![], vec![], vec![]);
        for round in 0..self.options.samples {
            say(&format!("round {} of {}", round + 1, self.options.samples));
            let fleet = self.fleet(&format!("op{round}")).await?;
            if round == 0 {
                self.empty(&fleet).await?;
            }
            fleet.create_nodes(&self.admin).await?;
            let from = Timestamp::now();
            let operator = self.start(&self.operator.clone(), &fleet)?;
            let end = self.audit.at_rest(self.operator.name, from, QUIET).await?;
            let entries = self.audit.since(self.operator.name, from)?;
            let work: Vec<&Entry> = entries.iter().copied().filter(|entry| entry.is_work()).collect();
            let first = work.iter().map(|entry| entry.received).min().context("nothing was written")?;
            whole.push(end.duration_since(from).as_secs_f64());
            working.push(end.duration_since(first).as_secs_f64());
            writes.push(work.len() as f64);
            let kinds = Audit::listed(&entries);
            self.report.raw(&format!("requests of the operator, round {}", round + 1), json!(kinds));
            if round + 1 == self.options.samples {
                self.last(operator, &fleet, recording.len()).await?;
            } else {
                operator.stop().await?;
            }

            let fleet = self.fleet(&format!("ra{round}")).await?;
            fleet.create_nodes(&self.admin).await?;
            let nodes = cluster::nodes(&self.admin, &fleet.namespaces()).await?;
            let calls = recording.calls(&fleet, &nodes)?;
            let started = Instant::now();
            cluster::send_all(&self.raw, calls, AT_A_TIME).await?;
            bare.push(started.elapsed().as_secs_f64());
            if round + 1 == self.options.samples {
                let right = recording.config_maps(&fleet, &nodes)?;
                self.bare_drift(&fleet, right).await?;
            }
            self.audit.forget();
        }
        let least = recording.len() as f64;
        let ratios: Vec<f64> = whole.iter().zip(&bare).map(|(operator, raw)| operator / raw).collect();
        let note = format!("operator {} s, raw client {} s", listed(&whole), listed(&bare));
        self.report.row("time over the raw client, from the start", (median(&ratios), "x"), Some(1.6), note);
        let ratios: Vec<f64> = working.iter().zip(&bare).map(|(operator, raw)| operator / raw).collect();
        let note = format!("operator {} s", listed(&working));
        self.report.row("time over the raw client, from first write", (median(&ratios), "x"), None, note);
        let note = format!("{} of at least {least}", listed(&writes));
        self.report.row(
            "mutating requests over the minimum",
            (median(&writes) / least, "x"),
            Some(1.10),
            note,
        );
        Ok(())
    }

    async fn empty(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        let mut operator = self.start(&self.operator, fleet)?;
        operator.ready().await?;
        operator.leads().await?;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let empty = operator.memory()?;
        self.report.row("memory of the empty process", (empty.now, "MB"), Some(20.0), "resident");
        operator.stop().await
    }

    /// Measures everything that needs converged nodes.
    async fn last(&mut self, operator: Operator, fleet: &Fleet, least: usize) -> anyhow::Result<()> {
        say("at rest");
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.memory("the process that wrote everything", operator.memory()?);
        self.resync(&operator, fleet).await?;
        self.idle().await?;
        say("drift");
        let maps = fleet.config_maps();
        let took = drift::repairs(&self.admin, &maps, self.options.drifts).await?;
        self.report.raw("drift repair, operator, ms", json!(took));
        self.report.row("drift repair, p50", (percentile(&took, 0.5), "ms"), None, "operator");
        self.report.row("drift repair, p99", (percentile(&took, 0.99), "ms"), None, "operator");
        operator.stop().await?;
        self.restart(fleet, least).await?;
        self.failovers(fleet).await
    }

    fn memory(&mut self, what: &str, memory: Memory) {
        let empty = self.report.value("memory of the empty process");
        let nodes = self.options.nodes as f64;
        let note = format!("{what}: {:.1} MB at rest, {empty:.1} MB empty", memory.now);
        let per_thousand = (memory.now - empty) * 1000.0 / nodes;
        self.report.row("memory per 1000 nodes", (per_thousand, "MB"), Some(80.0), note);
        let note = format!("{what}: {:.1} MB at most, {:.1} MB at rest", memory.peak, memory.now);
        self.report.row("peak over steady", (memory.peak / memory.now, "x"), Some(1.5), note);
    }

    async fn resync(&mut self, operator: &Operator, fleet: &Fleet) -> anyhow::Result<()> {
        say("forced resync of every node");
        let (from, before) = (Timestamp::now(), operator.reconciles().await?);
        fleet.touch(&self.admin, &from.to_string()).await?;
        let wanted = before + self.options.nodes as u64;
        let started = Instant::now();
        while operator.reconciles().await? < wanted {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(300), "not every node was reconciled");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(QUIET).await;
        let reconciles = (operator.reconciles().await? - before) as f64;
        let entries = self.audit.since(self.operator.name, from)?;
        let work: Vec<&Entry> =
            entries.into_iter().filter(|entry| !entry.is_lease() && entry.verb != "watch").collect();
        let kinds = Audit::listed(&work);
        let writes = work.iter().filter(|entry| entry.mutates()).count() as f64;
        let reads = work.len() as f64 - writes;
        let note = format!("{reconciles} reconciles, {kinds:?}");
        self.report.row("reads per converged pass", (reads / reconciles, ""), Some(0.0), note);
        self.report.row("mutating requests on a forced resync", (writes, ""), Some(0.0), "leases apart");
        Ok(())
    }

    async fn idle(&mut self) -> anyhow::Result<()> {
        say(&format!("idle for {} s", self.options.idle));
        let from = Timestamp::now();
        tokio::time::sleep(Duration::from_secs(self.options.idle)).await;
        let minutes = self.options.idle as f64 / 60.0;
        let entries = self.audit.since(self.operator.name, from)?;
        let lease = entries.iter().filter(|entry| entry.is_lease()).count() as f64;
        let watches = entries.iter().filter(|entry| entry.verb == "watch").count() as f64;
        let other = entries.len() as f64 - lease - watches;
        let kinds = Audit::listed(&entries);
        self.report.row("idle: requests but lease and watches", (other / minutes, "/min"), Some(0.0), "");
        self.report.row("idle: watches opened again", (watches / minutes, "/min"), None, "");
        self.report.row(
            "idle: requests for the lease",
            (lease / minutes, "/min"),
            None,
            format!("{kinds:?}"),
        );
        Ok(())
    }

    async fn restart(&mut self, fleet: &Fleet, least: usize) -> anyhow::Result<()> {
        say("restart");
        let (mut filled, mut passed) = (vec![], vec![]);
        for _ in 1..self.options.restarts {
            let (operator, ready, looked) = self.started_again(fleet).await?;
            filled.push(ready);
            passed.push(looked);
            operator.stop().await?;
        }
        let from = Timestamp::now();
        let (operator, ready, looked) = self.started_again(fleet).await?;
        filled.push(ready);
        passed.push(looked);
        tokio::time::sleep(Duration::from_secs(12)).await;
        self.memory("after a restart", operator.memory()?);
        let entries = self.audit.since(self.operator.name, from)?;
        let writes = entries.iter().filter(|entry| entry.is_work()).count() as f64;
        let reads = entries.iter().filter(|entry| entry.verb == "get" && !entry.is_lease()).count();
        let kinds = Audit::listed(&entries);
        self.report.row("restart: mutating requests", (writes, ""), Some(0.0), format!("of {least} objects"));
        let note = format!(
            "{} s; {reads} contents read, caches filled after {:.2} s",
            listed(&passed),
            median(&filled)
        );
        self.report.row("restart: every node looked at", (median(&passed), "s"), None, note);
        self.report.raw("requests on restart", json!(kinds));
        operator.stop().await
    }

    /// Starts the operator. Returns it with the seconds until its caches were filled and until it had reconciled every
    /// node.
    async fn started_again(&self, fleet: &Fleet) -> anyhow::Result<(Operator, f64, f64)> {
        let started = Instant::now();
        let mut operator = self.start(&self.operator, fleet)?;
        operator.ready().await?;
        let ready = started.elapsed().as_secs_f64();
        while operator.reconciles().await? < self.options.nodes as u64 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((operator, ready, started.elapsed().as_secs_f64()))
    }

    async fn failovers(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        for (what, end, goal) in [
            ("failover when asked to end, worst", End::Graceful, 2.5),
            ("failover after a crash, worst", End::Crash, 15.0 + 1.2 * 2.0 + 1.0),
        ] {
            say(what);
            let replicas = Replicas {
                admin: &self.admin,
                program: &self.options.operator,
                folder: &self.options.work,
                fleet,
                users: [&self.operator, &self.standby],
            };
            let took = replicas.lead_changes(&mut self.audit, end, self.options.failovers).await?;
            let note = format!("{} s", listed(&took));
            self.report.row(what, (percentile(&took, 1.0), "s"), Some(goal), note);
        }
        Ok(())
    }

    async fn bare_drift(&mut self, fleet: &Fleet, right: raw::Right) -> anyhow::Result<()> {
        say("drift, repaired by the bare loop");
        let maps = fleet.config_maps();
        let took = tokio::select! {
            took = drift::repairs(&self.admin, &maps, self.options.drifts) => took?,
            ended = raw::keep_right(self.raw.clone(), right) => return ended,
        };
        self.report.raw("drift repair, bare loop, ms", json!(took));
        for (share, goal, name) in [(0.5, 3.0, "p50"), (0.99, 8.0, "p99")] {
            let (bare, what) = (percentile(&took, share), format!("drift repair, {name}"));
            let ratio = self.report.value(&what) / bare;
            let note = format!("bare loop {bare:.2} ms");
            self.report.row(&format!("{what}, over the bare loop"), (ratio, "x"), Some(goal), note);
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        println!("\n{}", self.report.table());
        if let Some(path) = &self.options.json {
            let about = json!({"nodes": self.options.nodes, "samples": self.options.samples,
                "drifts": self.options.drifts, "idle_seconds": self.options.idle,
                "at": Timestamp::now().to_string()});
            std::fs::write(path, format!("{:#}\n", self.report.json(about)))?;
        }
        Ok(())
    }
}

fn say(what: &str) {
    println!("==> {what}");
}
