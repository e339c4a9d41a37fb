//! The body of a request: whole, bounded in size and time and in what all of them hold together.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;
use crate::policy::Limits;

/// Bodies under this size are not counted: the number of connections bounds them.
const SMALL: usize = 16 * 1024;
/// Bytes by which a body's memory grows: what is counted is what is held.
const STEP: usize = 64 * 1024;
/// KiB that bodies may hold together, of all callers.
const TOGETHER: usize = 12 * 1024;

/// What bodies may hold together.
#[derive(Debug)]
pub struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOGETHER)))
    }
}

/// A body, which counts while this is there.
#[derive(Debug)]
pub struct Held {
    /// All of it.
    pub body: Bytes,
    _counted: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// Where it is too large or too slow, or there is no memory for it.
    pub async fn read(&self, mut body: Incoming, limits: &Limits) -> Result<Held, Refusal> {
        let most = u64::from(limits.body_bytes);
        if body.size_hint().lower() > most {
            return Err(Refusal::body_too_large(limits.body_bytes));
        }
        let declared = body.size_hint().exact();
        let began = Instant::now();
        let (mut first, mut rest) = (Bytes::new(), Vec::new());
        let mut counted: Option<OwnedSemaphorePermit> = None;
        loop {
            let there = first.len() + rest.len();
            let frame = match timeout_at(due(began, there, limits), body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                Ok(Some(Err(_))) | Err(_) => return Err(Refusal::body_too_slow()),
            };
            let Ok(data) = frame.into_data() else { continue };
            let size = there + data.len();
            if size as u64 > most {
                return Err(Refusal::body_too_large(limits.body_bytes));
            }
            let room = if there == 0 { size } else { room(&rest, size, declared) };
            if room > SMALL {
                self.count(&mut counted, room)?;
            }
            if there == 0 {
                first = data;
            } else {
                rest.reserve_exact(room - rest.len());
                rest.extend_from_slice(&std::mem::take(&mut first));
                rest.extend_from_slice(&data);
            }
            if body.is_end_stream() {
                break;
            }
        }
        Ok(Held { body: if rest.is_empty() { first } else { rest.into() }, _counted: counted })
    }

    fn count(&self, counted: &mut Option<OwnedSemaphorePermit>, size: usize) -> Result<(), Refusal> {
        let there = counted.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(size.div_ceil(1024).saturating_sub(there)).unwrap_or(u32::MAX);
        let more = self.0.clone().try_acquire_many_owned(more).map_err(|_| Refusal::memory())?;
        match counted {
            Some(counted) => counted.merge(more),
            None => *counted = Some(more),
        }
        Ok(())
    }
}

/// Bytes of memory for a body that has come to this size: as many as there are already, or the next step.
fn room(there: &Vec<u8>, size: usize, declared: Option<u64>) -> usize {
    if size <= there.capacity() {
        return there.capacity();
    }
    let step = size.next_multiple_of(if size < STEP { SMALL } else { STEP });
    declared
        .and_then(|all| usize::try_from(all).ok())
        .filter(|all| *all >= size)
        .map_or(step, |all| all.min(step))
}

/// When the next byte must have come: a second is given, and then the bytes must keep their rate.
fn due(began: Instant, there: usize, limits: &Limits) -> Instant {
    let earned = there as f64 / f64::from(limits.body_bytes_per_second);
    let bound = Duration::from_secs(limits.body_seconds.into());
    began + bound.min(Duration::from_secs(1) + Duration::try_from_secs_f64(earned).unwrap_or(bound))
}
