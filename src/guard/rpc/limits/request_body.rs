//! Reads the whole body of a request, limited in size and time, and charges it from its first byte.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::{Instant, timeout_at};

use super::{
    caller_state::CallerState,
    memory_budget::{Budget, Charge},
};
use crate::{guard::rpc::decide::rejection::Rejection, protocol::policy::Limits};

/// Allocation step of a small body in bytes.
const SMALL: usize = 16 * 1024;
/// Allocation step of a large body in bytes. The charge equals the allocated memory.
const STEP: usize = 64 * 1024;

/// A body with its charge.
pub struct Held {
    /// The whole body.
    pub body: Bytes,
    /// The charge of the body.
    pub charge: Charge,
}

/// Reads a body to its end.
///
/// # Errors
/// If the body is too large or too slow, or the budget is exhausted.
pub async fn read(
    mut body: Incoming,
    limits: &Limits,
    budget: &Arc<Budget>,
    account: &Arc<CallerState>,
) -> Result<Held, Rejection> {
    let most = u64::from(limits.body_bytes);
    if body.size_hint().lower() > most {
        return Err(Rejection::body_too_large(limits.body_bytes));
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
            Ok(Some(Err(_))) | Err(_) => return Err(Rejection::body_too_slow()),
        };
        let Ok(data) = frame.into_data() else { continue };
        let size = there + data.len();
        if size as u64 > most {
            return Err(Rejection::body_too_large(limits.body_bytes));
        }
        let room = if there == 0 { size } else { room(&rest, size, declared) };
        if !charge.grow(room.saturating_sub(charge.bytes())) {
            return Err(Rejection::memory());
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

/// Returns the capacity for a body of `size` bytes: the present one if it suffices, otherwise the next step. A small
/// body gets four times its size, so that it is copied only once as it grows.
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

/// Returns when the next byte must have arrived: after one second plus the time that the required rate gives for the
/// bytes received so far, and at most `bodySeconds` after the start.
fn due(began: Instant, there: usize, limits: &Limits) -> Instant {
    let earned = there as f64 / f64::from(limits.body_bytes_per_second);
    let bound = Duration::from_secs(limits.body_seconds.into());
    began + bound.min(Duration::from_secs(1) + Duration::try_from_secs_f64(earned).unwrap_or(bound))
}
