//! Throttles requests while the API server rejects them: at most ten per second from all senders, until one succeeds.
//! A recovering server is thus not flooded by the requests that waited for it. One of the ten belongs to the lease,
//! which has a client of its own: behind other requests, its renewal could come too late.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

/// Number of requests that may go at once after the first rejection. Most rejections concern a few objects while all
/// other requests succeed, and must not slow down the others.
const BURST: u32 = 4;

/// Interval between requests after the burst. Burst and interval together allow at most nine requests in any second.
const GAP: Duration = Duration::from_millis(200);

/// Upper limit for the pause that the server requests, so that its recovery is noticed within this time.
const LONGEST: Duration = Duration::from_secs(30);

/// Timeout for the head of any response. Without it, a watch that is opened on a dead connection would wait forever.
const ANSWER: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// Set for requests of an object whose last reconcile failed: all other requests go first.
    pub static LOW_PRIORITY: ();
}

/// State of the API server as seen by one client.
#[derive(Clone, Debug, Default)]
pub struct Throttle(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    /// Number of waiting requests with normal priority.
    urgent: usize,
}

/// Counts one waiting request with normal priority until it is dropped.
struct Urgent<'a>(&'a Throttle);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.state().urgent -= 1;
    }
}

/// Pacing while every response since the last success was a rejection.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// Requests that may still go without waiting.
    burst: u32,
    /// Time at which the next request after the burst may go.
    next: Instant,
}

/// What a response says about the state of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// The server works.
    Success,
    /// The server rejects requests, and asks for at least this pause.
    Refusal(Duration),
    /// The response says nothing about the server.
    Nothing,
}

impl Throttle {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `None` if the request may go, or else the time to ask again. Nothing is reserved, so a caller that gives
    /// up delays no other request.
    fn wait(&self, now: Instant, patient: bool) -> Option<Instant> {
        let mut state = self.state();
        let others = state.urgent > 0;
        let trouble = state.trouble.as_mut()?;
        let waits = now < trouble.next && (patient || trouble.burst == 0);
        if waits || (patient && others) {
            return Some(trouble.next.max(now) + if patient && others { GAP } else { Duration::ZERO });
        }
        trouble.burst = trouble.burst.saturating_sub(1);
        trouble.next = now + GAP;
        None
    }

    /// Waits until a request may go.
    async fn admitted(&self) {
        let patient = LOW_PRIORITY.try_with(|()| ()).is_ok();
        let Some(mut next) = self.wait(Instant::now(), patient) else { return };
        let _urgent = (!patient).then(|| {
            self.state().urgent += 1;
            Urgent(self)
        });
        loop {
            tokio::time::sleep_until(next).await;
            match self.wait(Instant::now(), patient) {
                Some(later) => next = later,
                None => return,
            }
        }
    }

    fn heard(&self, heard: Heard, now: Instant) {
        let mut state = self.state();
        match heard {
            Heard::Nothing => {}
            Heard::Success => state.trouble = None,
            Heard::Refusal(pause) => {
                let trouble = state.trouble.get_or_insert(Trouble { burst: BURST, next: now });
                if !pause.is_zero() {
                    *trouble = Trouble { burst: 0, next: trouble.next.max(now + pause.min(LONGEST)) };
                }
            }
        }
    }
}

/// Interprets a response status, and the pause that it asks for. Status 429 for an eviction means that a disruption
/// budget does not allow it, not that the server is overloaded.
fn heard(status: StatusCode, headers: &HeaderMap, evicts: bool) -> Heard {
    if evicts && status == StatusCode::TOO_MANY_REQUESTS {
        return Heard::Nothing;
    }
    let refuses = status.is_server_error()
        || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
    if !refuses {
        return Heard::Success;
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    Heard::Refusal(Duration::from_secs(seconds.unwrap_or(0)))
}

impl<S> Layer<S> for Throttle {
    type Service = Throttled<S>;

    fn layer(&self, inner: S) -> Throttled<S> {
        Throttled { inner, pressure: self.clone() }
    }
}

/// Transport of a client, limited by [`Throttle`].
#[derive(Clone, Debug)]
pub struct Throttled<S> {
    inner: S,
    pressure: Throttle,
}

impl<S, Q, B> Service<http::Request<Q>> for Throttled<S>
where
    S: Service<http::Request<Q>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let evicts = request.uri().path().ends_with("/eviction");
        // the request is sent when this future is polled
        let answer = self.inner.call(request);
        let pressure = self.pressure.clone();
        Box::pin(async move {
            pressure.admitted().await;
            let answer = match tokio::time::timeout(ANSWER, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(late) => Err(late.into()),
            };
            let heard = match &answer {
                Ok(answer) => heard(answer.status(), answer.headers(), evicts),
                Err(_) => Heard::Refusal(Duration::ZERO),
            };
            pressure.heard(heard, Instant::now());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: Heard = Heard::Refusal(Duration::ZERO);

    #[test]
    fn nobody_waits_until_a_request_is_refused_and_a_few_go_at_once_then() {
        let (pressure, now) = (Throttle::default(), Instant::now());
        assert_eq!(pressure.wait(now, false), None);
        pressure.heard(REFUSAL, now);
        for _ in 0..BURST {
            assert_eq!(pressure.wait(now, false), None);
            pressure.heard(REFUSAL, now);
        }
        assert_eq!(pressure.wait(now, false), Some(now + GAP));
        assert_eq!(pressure.wait(now + GAP, false), None, "one goes");
        assert_eq!(pressure.wait(now + GAP, false), Some(now + GAP * 2), "the next one waits");
        pressure.heard(Heard::Success, now + GAP);
        assert_eq!(pressure.wait(now + GAP, false), None, "a success ends it");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_nodes_that_fail_go_when_no_other_waits() {
        let pressure = Throttle::default();
        pressure.heard(Heard::Refusal(Duration::from_secs(2)), Instant::now());
        let order = Mutex::new(Vec::new());
        let went = |who: &'static str| order.lock().expect("no panic under it").push(who);
        let failing = LOW_PRIORITY.scope((), async {
            pressure.admitted().await;
            went("failing");
        });
        let new = async {
            for who in ["new", "newer"] {
                pressure.admitted().await;
                went(who);
            }
        };
        tokio::join!(failing, new);
        assert_eq!(order.into_inner().expect("no panic under it"), ["new", "newer", "failing"]);
    }

    #[test]
    fn a_server_that_asks_for_a_pause_is_given_one() {
        let (pressure, now) = (Throttle::default(), Instant::now());
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("7"))]);
        pressure.heard(heard(StatusCode::TOO_MANY_REQUESTS, &headers, false), now);
        assert_eq!(pressure.wait(now, false), Some(now + Duration::from_secs(7)));
        pressure.heard(REFUSAL, now);
        assert_eq!(
            pressure.wait(now, false),
            Some(now + Duration::from_secs(7)),
            "another refusal does not shorten it"
        );
        pressure.heard(Heard::Refusal(Duration::from_secs(86_400)), now);
        assert_eq!(pressure.wait(now, false), Some(now + LONGEST), "nor is it without end");
    }

    #[test]
    fn a_budget_that_allows_no_eviction_says_nothing_about_the_server() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("10"))]);
        assert_eq!(heard(StatusCode::TOO_MANY_REQUESTS, &headers, true), Heard::Nothing);
        assert_eq!(heard(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), true), REFUSAL);
        assert_eq!(heard(StatusCode::NOT_FOUND, &HeaderMap::new(), false), Heard::Success);
    }
}
