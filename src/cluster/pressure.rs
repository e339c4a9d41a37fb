//! Requests while the API server refuses them: ten in any second, whoever sends them, until one succeeds. A
//! server that comes back must not be met by everything that has waited for it. One of the ten is the lease's,
//! which has a client of its own: waiting its turn among the others could cost it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

/// How many go at once when refusals begin. Most come from a few objects in trouble, while all else succeeds:
/// those must not slow down the others.
const BURST: u32 = 4;

/// Between two requests after that. With the burst no second sees more than nine.
const GAP: Duration = Duration::from_millis(200);

/// The longest pause that the server can ask for. An answer to anything is seen as quickly as that.
const LONGEST: Duration = Duration::from_secs(30);

/// How long the head of an answer may take, of whatever request: a watch that is opened on a connection that
/// nobody holds at the other end would wait for ever.
const ANSWER: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// Set where requests are made for an object whose last pass failed: all others go first.
    pub static PATIENT: ();
}

/// What one client has heard of its server.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    /// How many wait that are not patient.
    urgent: usize,
}

/// One that waits and is not patient; until it is dropped.
struct Urgent<'a>(&'a Pressure);

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.state().urgent -= 1;
    }
}

/// Nothing but refusals since the last success.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// How many may still go at once.
    burst: u32,
    /// When the next one may go after those.
    next: Instant,
}

/// What an answer says about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It works.
    Success,
    /// It refuses whatever it is asked, for at least so long.
    Refusal(Duration),
    /// Nothing.
    Nothing,
}

impl Pressure {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: go. Otherwise when to ask again; nothing is reserved, so whoever gives up holds up nobody.
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
        let patient = PATIENT.try_with(|()| ()).is_ok();
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

/// What a status says, and how long it asks to wait. An eviction that a disruption budget does not allow is
/// refused by the very code that otherwise means that the server has too much to do.
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

impl<S> Layer<S> for Pressure {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        Paced { inner, pressure: self.clone() }
    }
}

/// A client's transport that keeps to [`Pressure`].
#[derive(Clone, Debug)]
pub struct Paced<S> {
    inner: S,
    pressure: Pressure,
}

impl<S, Q, B> Service<http::Request<Q>> for Paced<S>
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
        // a future does nothing before it is polled
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
        let (pressure, now) = (Pressure::default(), Instant::now());
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
        let pressure = Pressure::default();
        pressure.heard(Heard::Refusal(Duration::from_secs(2)), Instant::now());
        let order = Mutex::new(Vec::new());
        let went = |who: &'static str| order.lock().expect("no panic under it").push(who);
        let failing = PATIENT.scope((), async {
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
        let (pressure, now) = (Pressure::default(), Instant::now());
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
