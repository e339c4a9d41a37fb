//! Hostile payloads against the real client: each tries to have it execute a method that its caller may not
//! call. `make test-guard` builds the client and runs this; the same seed makes the same payloads.
//!
//! Each is sent three times: to the client itself, which shows that the payloads have teeth; as the guard writes
//! it anew; and through the guard. What was executed is what the client itself counts.

mod bodies;
#[path = "../dice.rs"]
mod dice;
mod draft;
mod frames;
mod geth;
mod naive;
mod pure;
mod requests;
mod wire;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use quorum_operator::policy::grants::Grants;
use tokio::net::TcpStream;

use dice::Dice;
use geth::{Counts, Geth, since};

/// So many payloads of an axis show whether it has teeth.
const ENOUGH: u64 = 60;

/// Axes on which what a naive filter passes is known to run what it should not.
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

/// How a payload travels.
enum Sent {
    Body(Vec<u8>),
    Request(requests::Request),
    Frames(frames::Frames),
}

/// Makes payloads of one kind.
#[derive(Clone, Copy)]
enum Make {
    Body(bodies::Body),
    Request(fn(&mut Dice) -> requests::Request),
    Frames(fn(&mut Dice) -> frames::Frames),
}

impl Make {
    fn make(self, dice: &mut Dice) -> Sent {
        match self {
            Self::Body(make) => Sent::Body(make(dice)),
            Self::Request(make) => Sent::Request(make(dice)),
            Self::Frames(make) => Sent::Frames(make(dice)),
        }
    }
}

fn axes() -> Vec<(&'static str, Make)> {
    let bodies = bodies::AXES.map(|(name, make)| (name, Make::Body(make)));
    let requests = requests::AXES.map(|(name, make)| (name, Make::Request(make)));
    let frames = frames::AXES.map(|(name, make)| (name, Make::Frames(make)));
    bodies.into_iter().chain(requests).chain(frames).collect()
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().with_context(|| format!("{name}={text} is not a number"))
        }
        _ => Ok(default),
    }
}

/// What came of the payloads of an axis.
#[derive(Default)]
struct Outcome {
    /// Ran what is not granted, sent as they are.
    bare: u64,
    /// So, and a naive filter would have passed them on.
    naive: u64,
    /// Calls that were granted, and how many of them ran.
    granted: u64,
    ran: u64,
}

struct Suite {
    geth: Geth,
    grants: Grants,
    seed: u64,
    cases: u64,
    faults: Vec<String>,
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
    let program =
        std::env::var("E2E_GUARD_CLIENT").context("E2E_GUARD_CLIENT: this is run by make test-guard")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = number("E2E_GUARD_SEED", now.as_secs())?;
    let cases = number("E2E_GUARD_CASES", 300)?;
    println!(
        "seed {seed}: E2E_GUARD_SEED={seed} E2E_GUARD_CASES={cases} make test-guard sends the same again"
    );
    let genesis = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/genesis.json");
    let geth = Geth::start(&program, &genesis).await?;
    let grants = Grants::read(draft::GRANTED).map_err(|wrong| anyhow::anyhow!("{wrong}"))?;
    let mut suite = Suite { geth, grants, seed, cases, faults: vec![] };
    println!(
        "{:22} {:>6} {:>8} {:>8} {:>9} {:>9} {:>6}",
        "axis", "cases", "bare", "naive", "granted", "executed", "s"
    );
    let only = std::env::var("E2E_GUARD_AXIS").unwrap_or_default();
    for (axis, make) in axes().into_iter().filter(|(axis, _)| only.is_empty() || *axis == only) {
        let from = Instant::now();
        let outcome = suite.axis(axis, make).await.with_context(|| format!("seed {seed}, {axis}"))?;
        let Outcome { bare, naive, granted, ran } = outcome;
        let seconds = from.elapsed().as_secs_f64();
        println!("{axis:22} {cases:>6} {bare:>8} {naive:>8} {granted:>9} {ran:>9} {seconds:>6.1}");
        if naive == 0 && cases >= ENOUGH && KNOWN.contains(&axis) {
            suite.faults.push(format!("{axis}: nothing gets past a naive filter, so this proves nothing"));
        }
    }
    if !suite.faults.is_empty() {
        bail!("seed {seed}: {} faults:\n{}", suite.faults.len(), suite.faults.join("\n"));
    }
    Ok(())
}

impl Suite {
    async fn axis(&mut self, axis: &str, make: Make) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut before = self.geth.executed().await?;
        for case in 0..self.cases {
            let sent = make.make(&mut Dice::new(self.seed, axis, case));
            self.bare(&sent).await?;
            let after = self.geth.executed().await?;
            if !self.stray(&since(&before, &after)).is_empty() {
                outcome.bare += 1;
                outcome.naive += u64::from(self.passes(&sent));
            }
            before = after;
            let Sent::Body(body) = &sent else { continue };
            let Some(written) = pure::written(body, &self.grants) else { continue };
            let post = requests::post(&written.body);
            wire::exchange(&mut TcpStream::connect(self.geth.http).await?, &of_nobody(&post)).await;
            let after = self.geth.executed().await?;
            let ran = since(&before, &after);
            outcome.granted += written.granted.values().sum::<u64>();
            outcome.ran += ran.values().sum::<u64>();
            if ran.iter().any(|(method, count)| written.granted.get(method).is_none_or(|most| count > most)) {
                let body = String::from_utf8_lossy(&written.body);
                self.faults.push(format!(
                    "{axis} {case}: {:?} was granted and {ran:?} ran: {body}",
                    written.granted
                ));
            }
            before = after;
        }
        Ok(outcome)
    }

    /// Those that the caller may not call.
    fn stray(&self, ran: &Counts) -> Counts {
        ran.iter()
            .filter(|(method, _)| !self.grants.allow(method))
            .map(|(method, count)| (method.clone(), *count))
            .collect()
    }

    /// Sends it to the client itself.
    async fn bare(&self, sent: &Sent) -> anyhow::Result<()> {
        match sent {
            Sent::Body(body) => {
                let mut stream = TcpStream::connect(self.geth.http).await?;
                wire::exchange(&mut stream, &of_nobody(&requests::post(body))).await;
            }
            Sent::Request(pieces) => {
                wire::exchange(&mut TcpStream::connect(self.geth.http).await?, &of_nobody(pieces)).await;
            }
            Sent::Frames(frames) => {
                let mut stream = TcpStream::connect(self.geth.socket).await?;
                wire::socket(&mut stream, NOBODY, frames).await?;
            }
        }
        Ok(())
    }

    fn passes(&self, sent: &Sent) -> bool {
        match sent {
            Sent::Body(body) => naive::passes(body, &self.grants),
            Sent::Request(pieces) => naive::passes_request(&pieces.concat(), &self.grants),
            Sent::Frames(frames) => {
                frames::messages(&frames.concat()).iter().all(|it| naive::passes(it, &self.grants))
            }
        }
    }
}

/// The client takes no credentials.
const NOBODY: &str = "Host: localhost\r\n";

fn of_nobody(pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    pieces.iter().map(|piece| wire::signed(piece, NOBODY)).collect()
}
