//! Open-loop load generator: the schedule of all requests is fixed before the first, so a slow peer gets no fewer
//! requests, and latency counts from the scheduled time.

use std::{
    io,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};

use crate::caller::{Caller, Dial};

/// A load: request, rate, number of requests and connections.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) dial: Dial,
    pub(crate) request: Arc<Vec<u8>>,
    /// Requests per second over all connections.
    pub(crate) rate: f64,
    pub(crate) count: usize,
    pub(crate) connections: usize,
    /// Whether each request uses a new connection.
    pub(crate) is_new_each: bool,
    /// Expected answer: the client's result if true, a rejection if false.
    pub(crate) is_allowed: bool,
}

/// Outcome of a load.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) count: usize,
    /// Latency of each request in milliseconds, from its scheduled time.
    pub(crate) took: Vec<f64>,
    /// Connections that the peer closed after an answer.
    pub(crate) closed: usize,
}

impl Load {
    /// Opens the connections, sends one request on each, and then sends the scheduled requests. Calls `measured` before
    /// the first and after the last of them and returns the difference as their cost.
    pub(crate) fn send(&self, measured: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<(Sent, f64)> {
        let ready = Arc::new(Barrier::new(self.connections + 1));
        let begin = Arc::new(Barrier::new(self.connections + 1));
        let threads: Vec<_> = (0..self.connections)
            .map(|index| {
                let (load, ready, begin) = (self.clone(), ready.clone(), begin.clone());
                thread::spawn(move || {
                    let caller = load.first();
                    ready.wait();
                    begin.wait();
                    load.one(caller?, index, Instant::now())
                })
            })
            .collect();
        ready.wait();
        let before = measured()?;
        begin.wait();
        let started = Instant::now();
        let mut sent = Sent::default();
        for thread in threads {
            let part = thread.join().map_err(|_| anyhow!("a caller panicked"))?.context("a caller failed")?;
            sent.count += part.count;
            sent.closed += part.closed;
            sent.took.extend(part.took);
        }
        let (took, wanted) = (started.elapsed().as_secs_f64(), self.count as f64 / self.rate);
        let cost = measured()? - before;
        ensure!(took < wanted * 1.1 + 0.2, "{took:.1} s for what was due in {wanted:.1} s: lower the rate");
        Ok((sent, cost))
    }

    fn first(&self) -> io::Result<Caller> {
        let mut caller = self.dial.connect()?;
        self.ask(&mut caller)?;
        Ok(caller)
    }

    /// Sends one request. Returns whether the peer closes the connection afterwards.
    fn ask(&self, caller: &mut Caller) -> io::Result<bool> {
        let answer = caller.ask(&self.request)?;
        if answer.is_result() == self.is_allowed && answer.status != 429 {
            return Ok(answer.is_last);
        }
        let text = String::from_utf8_lossy(answer.body).chars().take(200).collect::<String>();
        Err(io::Error::other(format!("answered {} {text}", answer.status)))
    }

    fn one(&self, mut caller: Caller, index: usize, start: Instant) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let step = Duration::from_secs_f64(self.connections as f64 / self.rate);
        let mut due = start + step.mul_f64(index as f64 / self.connections as f64);
        let mut is_open = true;
        for _ in 0..self.count / self.connections {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.is_new_each || !is_open {
                caller.close();
                caller = self.dial.connect()?;
            }
            is_open = !self.ask(&mut caller)?;
            sent.closed += usize::from(!is_open);
            sent.count += 1;
            sent.took.push(due.elapsed().as_secs_f64() * 1e3);
            due += step;
        }
        Ok(sent)
    }
}
