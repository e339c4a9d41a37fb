//! Nothing legal is refused: libraries do the usual work of a wallet, once straight to the client and once through
//! the guard, and what reaches the client is the same, params byte by byte. And the examples of `docs/calling.md` run.

mod examples;
#[path = "../geth.rs"]
#[allow(dead_code, reason = "what is executed is not counted here")]
mod geth;
#[path = "../place.rs"]
#[allow(dead_code, reason = "requests are not made by hand here")]
mod place;
mod recorder;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

use geth::Geth;
use place::Place;
use recorder::Recorder;

/// The libraries, and how each is run.
const SCRIPTS: [(&str, &[&str]); 5] = [
    ("web3.js", &["node", "web3.mjs"]),
    ("ethers", &["node", "ethers.mjs"]),
    ("viem", &["node", "viem.mjs"]),
    ("web3.py", &["python", "wallet.py"]),
    ("go-ethereum", &["wallet"]),
];

/// Fewer calls than these, and a library was not heard.
const ENOUGH: usize = 14;

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
    let setting = |name: &str| {
        std::env::var(name).with_context(|| format!("{name}: this is run by make test-libraries"))
    };
    let home = PathBuf::from(setting("E2E_LIBRARIES")?);
    let genesis = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/genesis.json");
    let geth = Geth::start(&setting("E2E_GUARD_CLIENT")?, &genesis).await?;
    let straight = Recorder::start(geth.http).await?;
    let guarded = Recorder::start(geth.http).await?;
    let program = env!("CARGO_BIN_EXE_quorum-guard");
    let place = Place::start(Path::new(program), guarded.at, geth.socket).await?;
    println!("{:12} {:>6} {:>8} {:>8}", "library", "calls", "batches", "methods");
    let mut faults = Vec::new();
    for (library, command) in SCRIPTS {
        work(&home, command, &[("RPC_URL", format!("http://{}", straight.at))]).await?;
        let token = place.home().join("token").display().to_string();
        let ca = place.home().join("tls.crt").display().to_string();
        let url = format!("https://localhost:{}", place.at.port());
        let guarded_by =
            [("RPC_URL", url), ("RPC_TOKEN", token), ("RPC_CA", ca.clone()), ("NODE_EXTRA_CA_CERTS", ca)];
        work(&home, command, &guarded_by).await?;
        let (wanted, seen) = (straight.take(), guarded.take());
        println!("{library:12} {:>6} {:>8} {:>8}", seen.calls.len(), seen.batches, seen.methods());
        ensure!(wanted.calls.len() >= ENOUGH, "{library}: {} calls: it was not heard", wanted.calls.len());
        faults.extend(wanted.unlike(&seen).into_iter().map(|fault| format!("{library}: {fault}")));
    }
    if !faults.is_empty() {
        bail!("{} calls came otherwise than they were sent:\n{}", faults.len(), faults.join("\n"));
    }
    examples::run(&home, &place).await
}

/// Runs a library's script where the libraries are.
async fn work(home: &Path, command: &[&str], variables: &[(&str, String)]) -> anyhow::Result<()> {
    let program = match command[0] {
        "python" => home.join("venv/bin/python"),
        "wallet" => home.join("wallet"),
        other => PathBuf::from(other),
    };
    let done = Command::new(program)
        .args(&command[1..])
        .current_dir(home)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .status()
        .await
        .with_context(|| command.join(" "))?;
    ensure!(done.success(), "{} ended with {done}", command.join(" "));
    Ok(())
}
