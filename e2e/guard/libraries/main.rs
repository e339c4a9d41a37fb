//! Tests client libraries through the guard: it must not disturb legal traffic. Each library does the usual work of a
//! wallet and sends batches with some rejected calls, once directly to the client and once through the guard. The same
//! calls must reach the client, with the same bytes of params; granted calls must get the same bytes in the same places
//! of the answer; and each library must resolve each call correctly. The examples of `docs/calling.md` run too.

mod examples;
#[path = "../geth.rs"]
#[allow(dead_code, reason = "this suite does not count executions")]
mod geth;
#[path = "../guard_process.rs"]
#[allow(dead_code, reason = "some of it is for the floods")]
mod guard_process;
mod mixed;
mod recorder;
mod replay;
#[path = "../../../src/guard/testing/standin/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this suite uses only its JSON scanner")]
mod standin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use quorum_operator::protocol::policy::grants::Grants;
use tokio::process::Command;
use tokio::time::{Duration, timeout};

use geth::Geth;
use guard_process::Place;
use recorder::Recorder;

/// Name and command of each library.
const SCRIPTS: [(&str, &[&str]); 10] = [
    ("web3.js", &["node", "web3.mjs"]),
    ("web3.js 1", &["node", "web3v1.mjs"]),
    ("ethers", &["node", "ethers.mjs"]),
    ("ethers 5", &["node", "ethers5.mjs"]),
    ("viem", &["node", "viem.mjs"]),
    ("web3.py", &["python", "wallet.py"]),
    ("web3.py socket", &["python", "sockets.py"]),
    ("go-ethereum", &["wallet"]),
    ("go rpc.Client", &["batches"]),
    (
        "jsonrpc4j",
        &["java", "-Dslf4j.internal.verbosity=ERROR", "-cp", "jsonrpc4j/lib/*:jsonrpc4j/classes", "Calls"],
    ),
];

/// Deadline of a script. A script without answers gives up earlier by itself.
const PATIENCE: Duration = Duration::from_secs(240);

/// Minimum number of calls that the recorder must see from a library.
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
    let straight = Recorder::start(geth.http, geth.socket).await?;
    let guarded = Recorder::start(geth.http, geth.socket).await?;
    let program = std::env::var("E2E_GUARD_PROGRAM").ok().filter(|program| !program.is_empty());
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_quorum-guard").to_owned());
    let place = Place::start(Path::new(&program), guarded.http, guarded.ws).await?;
    let grants = Grants::read(guard_process::GRANTED)
        .map_err(|wrong| anyhow::anyhow!("{wrong}"))?
        .with_private_state(true);
    // two runs without the guard must agree: any difference is a fault of the checks
    let is_direct = std::env::var_os("E2E_LIBRARIES_DIRECT").is_some();
    let is_granted = |method: &str| is_direct || grants.allow(method);
    println!("{:14} {:>6} {:>8} {:>8} {:>7}", "library", "calls", "batches", "methods", "faults");
    let mut faults = Vec::new();
    let only = std::env::var("E2E_LIBRARY").ok().filter(|only| !only.is_empty());
    for (library, command) in
        SCRIPTS.into_iter().filter(|(library, _)| only.as_ref().is_none_or(|only| only == library))
    {
        let to_client = [
            ("RPC_URL", format!("http://{}", straight.http)),
            ("RPC_WS", format!("ws://{}", straight.ws)),
            ("RPC_BATCHES", mixed::BATCHES.to_owned()),
        ];
        let of_client = work(&home, command, &to_client).await?;
        let token = place.home().join("token").display().to_string();
        let ca = place.home().join("tls.crt").display().to_string();
        let to_recorder = [
            ("RPC_URL", format!("http://{}", guarded.http)),
            ("RPC_WS", format!("ws://{}", guarded.ws)),
            ("RPC_BATCHES", mixed::BATCHES.to_owned()),
        ];
        let to_guard = [
            ("RPC_URL", format!("https://localhost:{}", place.at.port())),
            ("RPC_WS", format!("wss://localhost:{}", place.at.port())),
            ("RPC_BATCHES", mixed::BATCHES.to_owned()),
            ("RPC_TOKEN", token),
            ("RPC_CA", ca.clone()),
            ("NODE_EXTRA_CA_CERTS", ca),
        ];
        let second = if is_direct { &to_recorder[..] } else { &to_guard[..] };
        let mut found = Vec::new();
        let of_guard = work(&home, command, second).await.unwrap_or_else(|error| {
            found.push(format!("{error:#}"));
            String::new()
        });
        let (wanted, seen) = (straight.take(), guarded.take());
        ensure!(wanted.calls.len() >= ENOUGH, "{library}: {} calls: it was not heard", wanted.calls.len());
        found.extend(wanted.unlike(&seen, is_granted));
        found.extend(mixed::unlike(&mixed::read(&of_client)?, &mixed::read(&of_guard)?, is_granted));
        let [calls, batches, methods] = [wanted.calls.len(), wanted.batches(), wanted.methods()];
        found.extend(replay::run(wanted.sent, (&geth, (!is_direct).then_some(&place)), is_granted).await);
        // discard the requests of the replay
        guarded.take();
        println!("{library:14} {calls:>6} {batches:>8} {methods:>8} {:>7}", found.len());
        faults.extend(found.into_iter().map(|fault| format!("{library}: {fault}")));
    }
    if only.is_none_or(|only| only == "unusual") {
        let found = replay::run(replay::unusual(), (&geth, (!is_direct).then_some(&place)), is_granted).await;
        println!("{:14} {:>6} {:>8} {:>8} {:>7}", "unusual", replay::unusual().count(), "", "", found.len());
        faults.extend(found.into_iter().map(|fault| format!("unusual: {fault}")));
    }
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    examples::run(&home, &place).await
}

/// Runs a library's script in the folder of the libraries. Returns its output.
async fn work(home: &Path, command: &[&str], variables: &[(&str, String)]) -> anyhow::Result<String> {
    let program = match command[0] {
        "python" => home.join("venv/bin/python"),
        own @ ("wallet" | "batches") => home.join(own),
        other => PathBuf::from(other),
    };
    let mut script = Command::new(program);
    script.args(&command[1..]).current_dir(home).kill_on_drop(true);
    let done = script.envs(variables.iter().map(|(name, value)| (name, value))).output();
    let done =
        timeout(PATIENCE, done).await.with_context(|| format!("{} does not end", command.join(" ")))?;
    let done = done.with_context(|| command.join(" "))?;
    let complained = String::from_utf8_lossy(&done.stderr);
    eprint!("{complained}");
    ensure!(done.status.success(), "{} ended with {}: {complained}", command.join(" "), done.status);
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    for line in printed.lines().filter(|line| !line.starts_with("mixed ")) {
        println!("{line}");
    }
    Ok(printed)
}
