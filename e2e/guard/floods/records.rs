//! Audit records, read from the guard's stdout as fast as they come.

use std::io::{PipeReader, Read as _};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was read.
#[derive(Default)]
pub(crate) struct Records {
    /// Calls of the well-behaved caller that were passed on.
    passed: AtomicU64,
    lines: AtomicU64,
    bytes: AtomicU64,
    /// Lines that were no record of a call of this caller, for a fault to show.
    last: Mutex<String>,
}

/// What marks a call of the well-behaved caller that was passed on.
const MARKS: [&[u8]; 3] = [br#""caller":"wallet""#, br#""method":"eth_chainId""#, br#""verdict":"allowed""#];

impl Records {
    /// Reads in a thread of its own. What is given is for the guard's stdout.
    pub(crate) fn read() -> anyhow::Result<(Arc<Self>, Stdio)> {
        let (pipe, stdout) = std::io::pipe()?;
        let records = Arc::new(Self::default());
        let to = records.clone();
        std::thread::spawn(move || to.take(pipe));
        Ok((records, stdout.into()))
    }

    fn take(&self, mut pipe: PipeReader) {
        let (mut bytes, mut line) = (vec![0; 256 * 1024], Vec::new());
        while let Ok(read @ 1..) = pipe.read(&mut bytes) {
            self.bytes.fetch_add(read as u64, Ordering::Relaxed);
            for piece in bytes[..read].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.last() == Some(&b'\n') {
                    self.put(&line);
                    line.clear();
                }
            }
        }
    }

    fn put(&self, line: &[u8]) {
        let lines = self.lines.fetch_add(1, Ordering::Relaxed);
        let has = |mark: &&[u8]| line.windows(mark.len()).any(|part| part == *mark);
        // the first mark stands near the beginning
        if MARKS.iter().all(has) {
            self.passed.fetch_add(1, Ordering::Relaxed);
        } else if lines.is_multiple_of(1000) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
                String::from_utf8_lossy(line).trim().to_owned();
        }
    }

    /// Records so far, and their bytes.
    pub(crate) fn volume(&self) -> (u64, u64) {
        (self.lines.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// A record of somebody else.
    pub(crate) fn sample(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of the well-behaved caller's answered calls have no record, after a moment in which it may come.
    pub(crate) async fn missing(&self, answered: u64) -> u64 {
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            let missing = answered.saturating_sub(self.passed.load(Ordering::Relaxed));
            if missing == 0 || Instant::now() > end {
                return missing;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
