//! Checks the load generator against oha: a peer must use the same CPU time under the same load.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{
    caller::{Dial, post},
    load::Load,
    peer::Peer,
    report::{Report, percentile},
    setup::Setup,
    verdicts,
};

const RATE: f64 = 1000.0;
const SECONDS: f64 = 10.0;
const CONNECTIONS: usize = 16;

/// Reports the ratio of a peer's CPU time for a small call under this generator to that under oha.
pub(crate) fn against(oha: &Path, peer: &Peer, setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let load = Load {
        dial: Dial { port: peer.port, config: setup.pki.dials()? },
        request: Arc::new(post(&verdicts::small())),
        rate: RATE,
        count: (RATE * SECONDS) as usize,
        connections: CONNECTIONS,
        is_new_each: false,
        is_allowed: true,
    };
    let (sent, ours) = load.send(|| peer.cpu())?;
    let ours = ours / sent.count as f64;
    let before = peer.cpu()?;
    let file = |name: &str| setup.folder.join(name);
    let output = Command::new(oha)
        .args(["--no-tui", "--output-format", "json", "--latency-correction", "--http-version", "1.1"])
        .args(["-n", &load.count.to_string(), "-q", &RATE.to_string(), "-c", &CONNECTIONS.to_string()])
        .args(["-m", "POST", "-T", "application/json", "-d", &verdicts::small()])
        .args(["-H", "Host: localhost", "--cacert"])
        .arg(file("ca.crt"))
        .arg("--cert")
        .arg(file("caller.crt"))
        .arg("--key")
        .arg(file("caller.key"))
        .arg(format!("https://localhost:{}/", peer.port))
        .output()
        .with_context(|| oha.display().to_string())?;
    let theirs = (peer.cpu()? - before) / load.count as f64;
    ensure!(output.status.success(), "oha: {}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).context("what oha printed")?;
    let answered = result["statusCodeDistribution"]["200"].as_u64();
    ensure!(answered == Some(load.count as u64), "oha: {answered:?} answers of {}", load.count);
    let median = result["latencyPercentiles"]["p50"].as_f64().unwrap_or(f64::NAN) * 1e3;
    let note = format!(
        "{}: {ours:.1} µs, p50 {:.2} ms; under oha {theirs:.1} µs, p50 {median:.2} ms",
        peer.kind.name(),
        percentile(&sent.took, 0.5)
    );
    report.row("generator: a small call, ours over oha's", (ours / theirs, "x"), None, note);
    Ok(())
}
