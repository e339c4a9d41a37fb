//! `/livez` and `/readyz` for the kubelet, which dials the pod's address and shows no certificate.

use hyper::{Method, Request, StatusCode};

use crate::guard::server::{Answer, not_found, text};
use std::time::Duration;

/// Results older than this no longer count.
pub const FRESH: Duration = Duration::from_secs(20);

/// Time between two checks.
pub const EVERY: Duration = Duration::from_secs(5);

/// Answers `/livez` with `ok`, and `/readyz` with `ok` or 503 and one line on what is missing. Any other path or
/// method, or a query, gets 404.
pub fn answer<B>(request: &Request<B>, ready: impl FnOnce() -> Result<(), String>) -> Answer {
    if request.method() != Method::GET || request.uri().query().is_some() {
        return not_found();
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok"),
        "/readyz" => match ready() {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, &missing),
        },
        _ => not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, uri: &str) -> u16 {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        answer(&request, || Err("p2p_peers is 0, 1 needed".to_owned())).status().as_u16()
    }

    #[test]
    fn only_two_paths_answer() {
        assert_eq!(status("GET", "/livez"), 200);
        assert_eq!(status("GET", "/readyz"), 503);
        for uri in ["/", "/livez/", "/readyz?verbose", "/metrics", "//livez", "/healthz", "/%6civez"] {
            assert_eq!(status("GET", uri), 404, "{uri}");
        }
        assert_eq!((status("POST", "/livez"), status("HEAD", "/readyz")), (404, 404));
    }
}
