//! Sends payloads and checks what the client executed.

use std::time::{Duration, Instant};

use quorum_operator::protocol::policy::grants::Grants;
use tokio::net::TcpStream;

use crate::{
    geth::{Counts, Geth, since},
    guard_server::Guard,
    hostile_frames, hostile_requests, in_process, naive_filters, payload_draft,
    payload_kinds::{self, Make, Sent},
    rng::Rng,
    wire::{self, Who},
};

/// Deadline for the record of an executed call.
const RECORDED: Duration = Duration::from_secs(5);

/// Results of an axis.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Payloads that ran methods that are not granted when sent directly.
    pub(crate) bare: u64,
    /// Those of them that a naive filter would forward.
    pub(crate) naive: u64,
    /// Granted calls in rewritten payloads, and how many of them ran.
    pub(crate) granted: u64,
    pub(crate) ran: u64,
    /// Calls that ran behind the guard, all granted.
    pub(crate) behind: u64,
}

pub(crate) struct Suite {
    pub(crate) geth: Geth,
    pub(crate) guard: Guard,
    pub(crate) grants: Grants,
    pub(crate) seed: u64,
    pub(crate) cases: u64,
    pub(crate) faults: Vec<String>,
}

impl Suite {
    pub(crate) async fn axis(&mut self, axis: &str, make: Make) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let payload = |case| move |seed| make.make(&mut Rng::new(seed, axis, case));
        for case in 0..self.cases {
            let sent = payload(case)(self.seed);
            self.bare(&sent, &mut outcome).await?;
            if let Sent::Body(body) = &sent {
                self.anew(&format!("{axis} {case}"), body, &mut outcome).await?;
            }
        }
        self.guard.answers().await?;
        self.guard.passed()?;
        let begin = self.geth.executed().await?;
        let mut before = begin.clone();
        for case in 0..self.cases {
            let sent = payload(case)(self.seed);
            self.guard.send(&sent, &self.guard.caller).await?;
            let after = self.geth.executed().await?;
            let stray = strays(&since(&before, &after));
            if !stray.is_empty() {
                self.faults.push(format!("{axis} {case}: {stray:?} ran behind the guard"));
            }
            before = after;
        }
        outcome.behind = self.recorded(axis, &begin).await?;
        self.guard.answers().await?;
        Ok(outcome)
    }

    /// Sends payloads without a token or with an invalid one: the client must execute nothing.
    pub(crate) async fn unknown(&mut self) -> anyhow::Result<()> {
        let host = &self.guard.caller.host;
        let strangers =
            [None, Some(""), Some("e30.e30.e30"), Some("eyJhbGciOiJub25lIiwia2lkIjoib25lIn0.e30.")]
                .map(|token| Who { host: host.clone(), bearer: token.map(str::to_owned) });
        let before = self.geth.executed().await?;
        let mut rng = Rng::new(self.seed, "unknown", 0);
        let all = payload_kinds::all();
        for _ in 0..self.cases {
            let which = rng.below(all.len() as u64) as usize;
            let who = rng.below(strangers.len() as u64) as usize;
            let sent = all[which].1.make(&mut rng);
            // fails for a WebSocket, which the guard does not open
            let _ = self.guard.send(&sent, &strangers[who]).await;
        }
        let ran = since(&before, &self.geth.executed().await?);
        if !ran.is_empty() {
            self.faults.push(format!("{ran:?} ran for an unknown caller"));
        }
        println!("{:22} {:>6}", "unknown callers", self.cases);
        Ok(())
    }

    /// Sends a payload directly to the client, which does not speak HTTP/2.
    async fn bare(&mut self, sent: &Sent, outcome: &mut Outcome) -> anyhow::Result<()> {
        let nobody = Who { host: "localhost".to_owned(), bearer: None };
        let before = self.geth.executed().await?;
        let passes = match sent {
            Sent::Body(body) => {
                let mut stream = TcpStream::connect(self.geth.http).await?;
                wire::exchange(&mut stream, &nobody.signed(&hostile_requests::post(body))).await;
                naive_filters::passes(body, &self.grants)
            }
            Sent::Request(pieces) => {
                let mut stream = TcpStream::connect(self.geth.http).await?;
                wire::exchange(&mut stream, &nobody.signed(pieces)).await;
                naive_filters::passes_request(&pieces.concat(), &self.grants)
            }
            Sent::Frames(frames) => {
                let mut stream = TcpStream::connect(self.geth.socket).await?;
                wire::socket(&mut stream, &nobody, frames).await?;
                hostile_frames::messages(&frames.concat())
                    .iter()
                    .all(|it| naive_filters::passes(it, &self.grants))
            }
            Sent::Streams(_) => return Ok(()),
        };
        if !strays(&since(&before, &self.geth.executed().await?)).is_empty() {
            outcome.bare += 1;
            outcome.naive += u64::from(passes);
        }
        Ok(())
    }

    /// Sends a body as the guard rewrites it.
    async fn anew(&mut self, name: &str, body: &[u8], outcome: &mut Outcome) -> anyhow::Result<()> {
        let Some(written) = in_process::written(body, &self.grants) else { return Ok(()) };
        let before = self.geth.executed().await?;
        let nobody = Who { host: "localhost".to_owned(), bearer: None };
        for body in &written.bodies {
            let mut stream = TcpStream::connect(self.geth.http).await?;
            wire::exchange(&mut stream, &nobody.signed(&hostile_requests::post(body))).await;
        }
        let ran = since(&before, &self.geth.executed().await?);
        outcome.granted += written.granted.values().sum::<u64>();
        outcome.ran += ran.values().sum::<u64>();
        let more = beyond(&ran, &written.granted);
        if !more.is_empty() || !strays(&ran).is_empty() {
            let body = String::from_utf8_lossy(&written.bodies.concat()).into_owned();
            self.faults.push(format!("{name}: {ran:?} ran of what was written: {body}"));
        }
        Ok(())
    }

    /// Checks that every executed call is recorded as forwarded. Returns the number of executed calls.
    async fn recorded(&mut self, axis: &str, begin: &Counts) -> anyhow::Result<u64> {
        let end = Instant::now() + RECORDED;
        let mut passed = Counts::new();
        loop {
            for (method, count) in self.guard.passed()? {
                *passed.entry(method).or_default() += count;
            }
            let ran = since(begin, &self.geth.executed().await?);
            let more = beyond(&ran, &passed);
            if more.is_empty() {
                return Ok(ran.values().sum());
            }
            if Instant::now() > end {
                self.faults.push(format!("{axis}: {more:?} ran and no record says so"));
                return Ok(ran.values().sum());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Executed methods that the caller may not call, independently of the guard's decision.
fn strays(ran: &Counts) -> Counts {
    let mut stray = ran.clone();
    stray.retain(|method, _| !payload_draft::is_open(method));
    stray
}

/// Counts in `ran` that exceed those in `most`.
fn beyond(ran: &Counts, most: &Counts) -> Counts {
    let mut more = ran.clone();
    more.retain(|method, count| most.get(method).is_none_or(|most| *count > *most));
    more
}
