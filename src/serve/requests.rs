//! Counts requests to the API server by verb and status code, and records when it last answered for each watch.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Method;
use tower::{Layer, Service};

use super::Metrics;

/// Layer that counts requests.
#[derive(Clone)]
pub struct Counted(pub Arc<Metrics>);

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { inner, metrics: Arc::clone(&self.0) }
    }
}

/// A client's transport that counts requests.
#[derive(Clone)]
pub struct Counting<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

/// A request that was sent. It is counted when it is dropped: a cancelled one has no code.
struct Sent {
    verb: &'static str,
    code: Option<u16>,
    metrics: Arc<Metrics>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.metrics.asked(self.verb, self.code);
    }
}

impl<S, Q, B> Service<http::Request<Q>> for Counting<S>
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
        let (verb, path) = (verb(request.method(), request.uri()), request.uri().path().to_owned());
        let collection = matches!(verb, "list" | "watch");
        let answer = self.inner.call(request);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move {
            let mut sent = Sent { verb, code: None, metrics };
            let answer = answer.await?;
            sent.code = Some(answer.status().as_u16());
            if collection && answer.status().is_success() {
                sent.metrics.staleness.hear(&path);
            }
            Ok(answer)
        })
    }
}

/// The verb of a request, as in RBAC rules.
fn verb(method: &Method, uri: &http::Uri) -> &'static str {
    let mut queries = uri.query().unwrap_or_default().split('&');
    match *method {
        Method::GET if queries.any(|query| matches!(query, "watch=true" | "watch=1")) => "watch",
        Method::GET if is_collection(uri.path()) => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// Whether a path is that of all objects of a kind, in a namespace or in the cluster.
fn is_collection(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        _ => return false,
    };
    matches!(rest, [_] | ["namespaces", _, _])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_verb_that_it_needs_permission_for() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/namespaces/ledger/secrets?watch=true&timeoutSeconds=85", "watch"),
            (Method::GET, "/api/v1/namespaces/ledger/secrets?limit=500", "list"),
            (Method::GET, "/api/v1/nodes", "list"),
            (Method::GET, "/apis/apps/v1/statefulsets?limit=500", "list"),
            (Method::GET, "/api/v1/namespaces/ledger/secrets/qn-alice-ca", "get"),
            (Method::GET, "/api/v1/namespaces/ledger", "get"),
            (Method::GET, "/apis/quorum.security/v1alpha1", "get"),
            (Method::GET, "/version", "get"),
            (Method::POST, "/api/v1/namespaces/ledger/pods/alice-client-0/eviction", "create"),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/q/leases/quorum-operator", "update"),
            (Method::PATCH, "/api/v1/namespaces/ledger/services/alice-p2p?force=true", "patch"),
            (Method::DELETE, "/api/v1/namespaces/ledger/services/alice-p2p", "delete"),
            (Method::OPTIONS, "/", "other"),
        ] {
            assert_eq!(verb(&method, &uri.parse().expect("a path")), expected, "{method} {uri}");
        }
    }
}
