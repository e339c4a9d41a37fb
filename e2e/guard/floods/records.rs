//! Reads audit records from the guard's standard output as fast as they come.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts of the records that were read.
#[derive(Default)]
pub(crate) struct Records {
    /// Forwarded calls of the well-behaved caller.
    passed: AtomicU64,
    lines: AtomicU64,
    bytes: AtomicU64,
    /// Bytes that were read and not yet parsed.
    unseen: AtomicU64,
    /// A sample of the other records, for fault messages.
    last: Mutex<String>,
}

/// Parts of the record of a forwarded call of the well-behaved caller.
const MARKS: [&[u8]; 2] = [br#""caller":"wallet""#, br#""verdict":"allowed""#];

impl Records {
    /// Starts a thread that reads and another, possibly slower, that parses. Returns the counts and the pipe for the
    /// guard's standard output.
    pub(crate) fn read() -> anyhow::Result<(Arc<Self>, Stdio)> {
        let (mut pipe, stdout) = std::io::pipe()?;
        let records = Arc::new(Self::default());
        let (to, (put, pieces)) = (records.clone(), channel());
        std::thread::spawn(move || {
            let mut bytes = vec![0; 256 * 1024];
            while let Ok(read @ 1..) = pipe.read(&mut bytes) {
                to.bytes.fetch_add(read as u64, Ordering::Relaxed);
                to.unseen.fetch_add(read as u64, Ordering::Relaxed);
                let _ = put.send(bytes[..read].to_vec());
            }
        });
        let to = records.clone();
        std::thread::spawn(move || to.look(&pieces));
        Ok((records, stdout.into()))
    }

    fn look(&self, pieces: &Receiver<Vec<u8>>) {
        let mut line = Vec::new();
        while let Ok(bytes) = pieces.recv() {
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.last() == Some(&b'\n') {
                    self.put(&line);
                    line.clear();
                }
            }
            self.unseen.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        }
    }

    fn put(&self, line: &[u8]) {
        let lines = self.lines.fetch_add(1, Ordering::Relaxed);
        let has = |mark: &&[u8]| line.windows(mark.len()).any(|part| part == *mark);
        if MARKS.iter().all(has) {
            self.passed.fetch_add(1, Ordering::Relaxed);
        } else if lines.is_multiple_of(1000) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
                String::from_utf8_lossy(line).trim().to_owned();
        }
    }

    /// Number of records parsed and of bytes read so far.
    pub(crate) fn volume(&self) -> (u64, u64) {
        (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// The same, once all bytes that were read are parsed.
    pub(crate) async fn all(&self) -> (u64, u64) {
        while self.unseen.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.volume()
    }

    /// A record of another caller.
    pub(crate) fn sample(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of answered calls of the well-behaved caller without a record, after waiting for late ones.
    pub(crate) async fn missing(&self, answered: u64) -> u64 {
        let (mut since, begun) = (Instant::now(), Instant::now());
        loop {
            if self.unseen.load(Ordering::Relaxed) > 0 && begun.elapsed() < Duration::from_secs(60) {
                since = Instant::now();
            }
            let missing = answered.saturating_sub(self.passed.load(Ordering::Relaxed));
            if missing == 0 || since.elapsed() > Duration::from_secs(2) {
                return missing;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
