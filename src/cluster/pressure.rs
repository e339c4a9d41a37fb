//! Requests while the API server refuses them: a few a second in all, whoever sends them, until one succeeds.
//! A server that comes back must not be met by everything that has waited for it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;
use tower::{Layer, Service};

/// Between two requests while they are refused: eight a second.
const GAP: Duration = Duration::from_millis(125);

/// What one client has heard of its server.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Set by a refusal: when the next request may go.
    next: Option<Instant>,
}

impl Pressure {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: go. Otherwise when to ask again; nothing is reserved, so whoever gives up holds up nobody.
    fn wait(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        match state.next {
            Some(next) if now < next => Some(next),
            Some(_) => {
                state.next = Some(now + GAP);
                None
            }
            None => None,
        }
    }

    fn heard(&self, refused: bool, now: Instant) {
        let mut state = self.state();
        match (refused, state.next) {
            (false, _) => state.next = None,
            (true, None) => state.next = Some(now + GAP),
            (true, Some(_)) => {}
        }
    }
}

/// Refusals that have nothing to do with what was asked.
fn refuses(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
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
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        // a future does nothing before it is polled
        let answer = self.inner.call(request);
        let pressure = self.pressure.clone();
        Box::pin(async move {
            while let Some(next) = pressure.wait(Instant::now()) {
                tokio::time::sleep_until(next).await;
            }
            let answer = answer.await;
            let refused = answer.as_ref().map_or(true, |answer| refuses(answer.status()));
            pressure.heard(refused, Instant::now());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_until_a_request_is_refused_and_everybody_does_then() {
        let (pressure, now) = (Pressure::default(), Instant::now());
        assert_eq!(pressure.wait(now), None);
        pressure.heard(true, now);
        assert_eq!(pressure.wait(now), Some(now + GAP));
        assert_eq!(pressure.wait(now + GAP), None, "one goes");
        assert_eq!(pressure.wait(now + GAP), Some(now + GAP * 2), "the next one waits");
        pressure.heard(false, now + GAP);
        assert_eq!(pressure.wait(now + GAP), None, "a success ends it");
    }
}
