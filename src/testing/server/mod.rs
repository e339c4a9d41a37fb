//! In-memory API server with resource versions, server-side apply, watches, owner references, pods that start, and
//! a fault at any request. It serves to test faults; the suite on a real cluster shows that a real server agrees.

mod admission;
mod documents;
mod eviction;
mod life;
mod merge;
mod optional_kinds;
mod ownership;
mod refusals;
mod request;
mod state;
mod watching;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{Stream, StreamExt as _, stream};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};
use tower::Layer as _;

use crate::cluster::Throttle;
pub use documents::ISSUER;
pub use merge::merge_patch;
pub use refusals::Delayed;
pub use request::{Call, Target};
pub use state::{Change, Refusal, State};
pub use watching::{Silence, Streaming};

/// Unix time in seconds at which the server's clock starts. The clock then follows tokio's.
pub const START: i64 = 1_800_000_000;

/// Fault of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server refuses it with this code and does nothing.
    Refused(u16),
    /// The server carries it out, then the connection breaks before the answer.
    AnswerLost,
    /// The server does nothing and never answers.
    Hang,
    /// The caller crashes before the server carries it out.
    CrashBefore,
    /// The caller crashes after the server carried it out and before the answer.
    CrashAfter,
}

/// A fault at one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Index of the request, from 0. Watches do not count.
    pub at: usize,
    /// What happens to the request.
    pub fault: Fault,
}

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;
/// Service that carries a client's requests to the server.
pub type Transport = tower::util::BoxService<http::Request<Body>, Answer, std::io::Error>;
type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// The fake API server.
#[derive(Default)]
pub struct Server {
    state: Mutex<State>,
    calls: Mutex<Vec<Call>>,
    used: Mutex<BTreeSet<String>>,
    plan: Mutex<Option<Plan>>,
    refusals: refusals::Refusals,
    served: optional_kinds::ServedCertificates,
    documents: documents::Documents,
    watching: Mutex<watching::Ways>,
    /// Notified when a planned fault crashes the caller.
    pub crashed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// A server with three hosts.
    #[must_use]
    pub fn with_hosts() -> Arc<Self> {
        let server = Arc::new(Self::default());
        for i in 1..=3 {
            let name = format!("host-{i}");
            server.put(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                "status": {"nodeInfo": {"machineID": name, "bootID": name, "architecture": "amd64",
                    "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                    "kubeletVersion": "", "operatingSystem": "linux", "osImage": "", "systemUUID": ""},
                    "conditions": [{"type": "Ready", "status": "True"}]}}));
        }
        server
    }

    /// A client with a default name.
    #[must_use]
    pub fn client(self: &Arc<Self>) -> Client {
        self.client_of("someone")
    }

    /// A client whose calls the server records under this name.
    #[must_use]
    pub fn client_of(self: &Arc<Self>, caller: &str) -> Client {
        Client::new(Throttle::default().layer(self.transport(caller)), "default")
    }

    /// The transport of a client whose calls the server records under this name.
    #[must_use]
    pub fn transport(self: &Arc<Self>, caller: &str) -> Transport {
        let (server, caller) = (Arc::clone(self), caller.to_owned());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (server, caller) = (Arc::clone(&server), caller.clone());
            let call = Call { caller, ..Call::read(request.method(), request.uri(), request.headers()) };
            async move {
                let Some(by) = server.refusals.delay(&call) else { return server.serve(request, call).await };
                // the server carries it out even if the caller no longer waits
                let late = tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    server.serve(request, call).await
                });
                late.await.map_err(std::io::Error::other)?
            }
        });
        Transport::new(service)
    }

    /// Plans one fault, which happens once.
    pub fn plan(&self, plan: Plan) {
        *lock(&self.plan) = Some(plan);
    }

    /// All requests so far except watches.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// Permissions that the requests so far need, as `VERB RESOURCE.GROUP`.
    #[must_use]
    pub fn used(&self) -> BTreeSet<String> {
        lock(&self.used).clone()
    }

    /// Applies an object as a user does with `kubectl apply --server-side`.
    pub fn put(&self, object: &Value) {
        let target = place(object);
        let mut state = lock(&self.state);
        let _ = state.apply((&target, ""), "kubectl", object);
        life::live(&mut state);
    }

    /// Changes an object without applying it, as `kubectl edit` does.
    pub fn edit(&self, target: &Target, manager: &str, change: impl FnOnce(&mut Value)) {
        let mut state = lock(&self.state);
        let mut object = state.get(target).cloned().unwrap_or_else(|| panic!("{target:?} is not there"));
        change(&mut object);
        let _ = state.update(target, manager, object);
        life::live(&mut state);
    }

    /// Deletes an object as a user does.
    pub fn delete(&self, target: &Target, options: &Value) {
        let mut state = lock(&self.state);
        let _ = state.delete(target, options);
        life::live(&mut state);
    }

    /// The current object, if it exists.
    #[must_use]
    pub fn get(&self, target: &Target) -> Option<Value> {
        lock(&self.state).get(target).cloned()
    }

    /// While true, new pods are not ready until [`Self::all_started`].
    pub fn start_slowly(&self, slow: bool) {
        lock(&self.state).slow = slow;
    }

    /// While true, missing pods are not created, as when a quota refuses them.
    pub fn hold_pods(&self, hold: bool) {
        let mut state = lock(&self.state);
        state.no_new_pods = hold;
        life::live(&mut state);
    }

    /// Refuses larger claims with this message, or allows them again.
    pub fn refuse_growth(&self, why: Option<&'static str>) {
        lock(&self.state).no_growth = why;
    }

    /// Registers a mutating admission webhook for every apply and update.
    pub fn mutate(&self, webhook: impl Fn(&Target, &mut Value) + Send + Sync + 'static) {
        lock(&self.state).webhook = Some(Arc::new(webhook));
    }

    /// Makes every starting pod ready.
    pub fn all_started(&self) {
        life::all_started(&mut lock(&self.state));
    }

    /// All objects.
    #[must_use]
    pub fn objects(&self) -> Vec<(Target, Value)> {
        lock(&self.state).all().map(|(target, object)| (target.clone(), object.clone())).collect()
    }

    /// All changes so far, in order.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        lock(&self.state).changes()
    }

    /// Resource version of the last change.
    #[must_use]
    pub fn version(&self) -> u64 {
        lock(&self.state).version()
    }

    async fn serve(&self, request: http::Request<Body>, call: Call) -> Result<Answer, std::io::Error> {
        let call = Call { at: Instant::now(), ..call };
        lock(&self.used).extend(call.permissions());
        let body = request.into_body().collect_bytes().await.map_err(std::io::Error::other)?;
        if let Some(refusal) = self.refusals.of(&call).or_else(|| self.served.unknown(&call)) {
            lock(&self.calls).push(call);
            return Ok(answer(refusal.code, refusal.status()));
        }
        if let Some(object) = self.refusals.garbled(&call) {
            return Ok(answer(200, object));
        }
        if call.verb == "watch" {
            return Ok(match self.watch(&call).await {
                Ok(frames) => respond(200, frames),
                Err(refusal) => answer(refusal.code, refusal.status()),
            });
        }
        let mut call = call;
        if call.verb == "create" && call.target.name.is_empty() {
            call.target.name = name_in(&body);
        }
        let number = {
            let mut calls = lock(&self.calls);
            calls.push(call.clone());
            calls.len() - 1
        };
        let fault = lock(&self.plan).take_if(|plan| plan.at == number).map(|plan| plan.fault);
        match fault {
            Some(Fault::Refused(code)) => {
                let refusal = Refusal::new(code, reason(code), "a fault on purpose");
                return Ok(answer(code, refusal.status()));
            }
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::CrashBefore) => return self.crash().await,
            _ => {}
        }
        let outcome = self.carry_out(&call, &body);
        match fault {
            Some(Fault::AnswerLost) => return Err(std::io::Error::other("connection reset on purpose")),
            Some(Fault::CrashAfter) => return self.crash().await,
            _ => {}
        }
        Ok(match outcome {
            Ok(object) => answer(200, object),
            Err(refusal) => answer(refusal.code, refusal.status()),
        })
    }

    async fn crash<T>(&self) -> T {
        self.crashed.notify_one();
        std::future::pending().await
    }

    fn carry_out(&self, call: &Call, body: &[u8]) -> Result<Value, Refusal> {
        let parsed = |what: &str| {
            serde_json::from_slice::<Value>(body)
                .map_err(|error| Refusal::new(400, "BadRequest", format!("{what}: {error}")))
        };
        let manager = call.query.get("fieldManager").map_or("unknown", String::as_str);
        let mut state = lock(&self.state);
        let target = &call.target;
        let outcome = match (call.verb, call.subresource.as_str()) {
            ("get", _) => state.get(target).cloned().ok_or_else(|| state::not_found(target))?,
            ("discover", _) => return Ok(optional_kinds::resources(&target.group_version)),
            ("read", _) => return self.document(&target.name),
            ("list", _) => {
                let items: Vec<_> =
                    state.selected(call).iter().map(|object| state::shown(call, object)).collect();
                let version = state.version().to_string();
                return Ok(
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
                );
            }
            ("create", "eviction") => eviction::evict(&mut state, target, &parsed("eviction")?)?,
            ("create", _) => {
                let object = parsed("object")?;
                let mut target = target.clone();
                if target.name.is_empty() {
                    target.name = format!(
                        "{}{}",
                        object["metadata"]["generateName"].as_str().unwrap_or_default(),
                        state.version()
                    );
                }
                state.create(&target, manager, object)?
            }
            ("apply", subresource) => {
                state.apply((target, subresource), manager, &parsed("configuration")?)?
            }
            ("patch", _) => {
                let mut object = state.get(target).cloned().ok_or_else(|| state::not_found(target))?;
                let patch = parsed("patch")?;
                for name in ["uid", "resourceVersion"] {
                    let wanted = &patch["metadata"][name];
                    if !wanted.is_null() && object["metadata"][name] != *wanted {
                        return Err(Refusal::new(409, "Conflict", format!("{name} is not {wanted}")));
                    }
                }
                merge_patch(&mut object, &patch);
                state.update(target, manager, object)?
            }
            ("update", _) => state.update(target, manager, parsed("object")?)?,
            ("delete", _) => state.delete(target, &parsed("options").unwrap_or_default())?,
            _ => return Err(Refusal::new(405, "MethodNotAllowed", call.to_string())),
        };
        life::live(&mut state);
        Ok(state::shown(call, &outcome))
    }
}

fn name_in(body: &[u8]) -> String {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn frames(lines: impl Stream<Item = String> + Send + 'static) -> Frames {
    Box::pin(lines.map(|line| Ok(Frame::data(Bytes::from(line)))))
}

fn respond(code: u16, frames: Frames) -> Answer {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

fn answer(code: u16, object: Value) -> Answer {
    let mut response = respond(code, frames(stream::iter([object.to_string()])));
    if code == 429 {
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
    }
    response
}

fn reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Gone",
        422 => "Invalid",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    }
}

/// Address of an object, derived from its kind and metadata.
#[must_use]
pub fn place(object: &Value) -> Target {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = match object["kind"].as_str().unwrap_or_default() {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    Target {
        group_version: text(&object["apiVersion"]),
        resource,
        namespace: text(&object["metadata"]["namespace"]),
        name: text(&object["metadata"]["name"]),
    }
}
