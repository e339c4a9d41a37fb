//! The body of a request: whole, bounded in size and time, and charged from its first byte.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

use super::account::Account;
use super::budget::{Budget, Charge};
use super::refusal::Refusal;
use crate::policy::Limits;

/// Bytes by which a small body's memory grows.
const SMALL: usize = 16 * 1024;
/// Bytes by which a large one's grows: what is charged is what is held.
const STEP: usize = 64 * 1024;

/// A body, and what it is charged.
pub struct Held {
    /// All of it.
    pub body: Bytes,
    /// Its own.
    pub charge: Charge,
}

/// Reads a body to its end.
///
/// # Errors
/// Where it is too large or too slow, or there is no memory for it.
pub async fn read(
    mut body: Incoming,
    limits: &Limits,
    budget: &Arc<Budget>,
    account: &Arc<Account>,
) -> Result<Held, Refusal> {
    let most = u64::from(limits.body_bytes);
    if body.size_hint().lower() > most {
        return Err(Refusal::body_too_large(limits.body_bytes));
    }
    let declared = body.size_hint().exact();
    let began = Instant::now();
    let (mut first, mut rest) = (Bytes::new(), Vec::new());
    let mut charge = Charge::nothing(budget, account);
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
        if !charge.grow(room.saturating_sub(charge.bytes())) {
            return Err(Refusal::memory());
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
    Ok(Held { body: if rest.is_empty() { first } else { rest.into() }, charge })
}

/// Bytes of memory for a body that has come to this size: as many as there are already, or the next step. A small one
/// is given four times what has come, so that it is copied once as it grows and not again and again.
fn room(there: &Vec<u8>, size: usize, declared: Option<u64>) -> usize {
    if size <= there.capacity() {
        return there.capacity();
    }
    let step =
        if size < STEP { (4 * size).next_multiple_of(SMALL).min(STEP) } else { size.next_multiple_of(STEP) };
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
