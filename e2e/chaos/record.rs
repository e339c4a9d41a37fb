//! Record of every request of the operator, and the safety rules that are checked before a request is forwarded.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::api_server::{ApiServer, path};

/// Namespace and name of the replicas' lease.
pub(crate) const LEASE: (&str, &str) = ("quorum-system", "quorum-operator");

pub(crate) struct Record {
    began: Instant,
    state: Mutex<State>,
    file: Mutex<File>,
    judges: bool,
}

#[derive(Default)]
struct State {
    next: u64,
    asked: BTreeMap<&'static str, u64>,
    faults: BTreeMap<String, u64>,
    broken: Vec<String>,
    writes: Vec<(Duration, String)>,
    /// When another client last changed an object, by namespace and name.
    touched: BTreeMap<(String, String), Duration>,
}

/// A request, as far as the rules need it.
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) replica: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// Resource, namespace and name with subresource.
    fn object(&self) -> (&str, &str, &str) {
        let Some((_, rest)) = self.path.split_once("/namespaces/") else { return ("", "", "") };
        let mut parts = rest.splitn(3, '/');
        let (namespace, resource) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        (resource, namespace, parts.next().unwrap_or_default())
    }

    /// Whether it is a write other than to leases and events.
    pub(crate) fn changes_nodes(&self) -> bool {
        self.is_write() && !["leases", "events"].contains(&self.object().0)
    }
}

impl Record {
    pub(crate) fn new(file: &str) -> anyhow::Result<Self> {
        let file = Mutex::new(File::create(file)?);
        Ok(Self { began: Instant::now(), state: Mutex::default(), file, judges: true })
    }

    /// Checks only [`SECOND_WRITER`], for the replica without faults.
    pub(crate) fn without_rules(mut self) -> Self {
        self.judges = false;
        self
    }

    pub(crate) fn number(&self) -> u64 {
        let mut state = self.state.lock().expect("no panic under it");
        state.next += 1;
        state.next
    }

    pub(crate) fn fault(&self, kind: &str) {
        let mut state = self.state.lock().expect("no panic under it");
        *state.faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// Writes a line to the log, without the request's body.
    pub(crate) fn line(&self, asked: &Asked, what: &str) {
        let at = self.began.elapsed().as_millis();
        let Asked { number, replica, method, path, .. } = asked;
        let mut file = self.file.lock().expect("no panic under it");
        let _ = writeln!(file, "{at:>8} ms {number:>6} {replica} {method} {path} {what}");
    }

    pub(crate) fn note(&self, what: &str) {
        println!("{:>5} s  {what}", self.began.elapsed().as_secs());
        let mut file = self.file.lock().expect("no panic under it");
        let _ = writeln!(file, "{:>8} ms -------- {what}", self.began.elapsed().as_millis());
    }

    /// Notes that another client changes this object now.
    pub(crate) fn touches(&self, namespace: &str, name: String) {
        let at = self.began.elapsed();
        self.state.lock().expect("no panic under it").touched.insert((namespace.to_owned(), name), at);
    }

    /// Checks that a reported field conflict names an object that another client changed recently.
    fn contested(&self, asked: &Asked, namespace: &str) {
        let conditions = asked.body["status"]["conditions"].as_array();
        let fight = conditions
            .into_iter()
            .flatten()
            .find(|it| it["type"] == "FieldConflict" && it["status"] == "True");
        let message = fight.and_then(|fight| fight["message"].as_str());
        let since = self.began.elapsed().saturating_sub(FOUGHT);
        let holds = message.is_none_or(|message| {
            let state = self.state.lock().expect("no panic under it");
            let touched = state.touched.iter().filter(|((there, _), at)| there == namespace && **at >= since);
            touched.into_iter().any(|((_, name), _)| message.contains(name.as_str()))
        });
        self.rule(SECOND_WRITER, asked, Some(holds));
    }

    pub(crate) fn breaks(&self, what: String) {
        self.note(&format!("BROKEN: {what}"));
        self.state.lock().expect("no panic under it").broken.push(what);
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.state.lock().expect("no panic under it").broken.clone()
    }

    /// Number of checks by rule, of faults by kind, and of requests.
    pub(crate) fn counts(&self) -> (BTreeMap<&'static str, u64>, BTreeMap<String, u64>, u64) {
        let state = self.state.lock().expect("no panic under it");
        (state.asked.clone(), state.faults.clone(), state.next)
    }

    /// Writes to the nodes in the last `time`.
    pub(crate) fn writes_within(&self, time: Duration) -> Vec<String> {
        let since = self.began.elapsed().saturating_sub(time);
        let state = self.state.lock().expect("no panic under it");
        state.writes.iter().filter(|(at, _)| *at >= since).map(|(_, what)| what.clone()).collect()
    }

    /// Records a check of a rule. `None` means that the API server did not answer, so that the rule was not checked.
    fn rule(&self, name: &'static str, asked: &Asked, holds: Option<bool>) {
        let Some(holds) = holds else { return };
        *self.state.lock().expect("no panic under it").asked.entry(name).or_default() += 1;
        if !holds {
            self.breaks(format!(
                "{name}: request {} of {}: {} {}",
                asked.number, asked.replica, asked.method, asked.path
            ));
        }
    }

    /// Checks the rules for a request that is about to be forwarded.
    pub(crate) async fn judge(&self, api_server: &ApiServer, asked: &Asked) {
        let (resource, namespace, name) = asked.object();
        if resource == "quorumnodes" && asked.is_write() && name.ends_with("/status") {
            self.contested(asked, namespace);
        }
        if !self.judges {
            return;
        }
        if asked.changes_nodes() {
            let at = self.began.elapsed();
            let what = format!("{} {}", asked.method, asked.path);
            self.state.lock().expect("no panic under it").writes.push((at, what));
            self.rule(WRITER, asked, holds_lease(api_server, &asked.replica).await);
        }
        let method = asked.method.as_str();
        match (resource, method) {
            ("secrets", "PUT" | "PATCH" | "POST" | "DELETE") => {
                let key = name.ends_with("-nodekey") || name.ends_with("-ca");
                // metadata such as finalizers and labels may change
                let content =
                    ["data", "stringData", "immutable"].iter().any(|part| !asked.body[*part].is_null());
                let rewrites = method == "PUT" || method == "PATCH" && content;
                self.rule(KEY, asked, Some(!(key && rewrites)));
                self.rule(LOSS, asked, Some(method != "DELETE"));
            }
            ("persistentvolumeclaims", "DELETE" | "PUT" | "PATCH") => self.rule(LOSS, asked, Some(false)),
            ("statefulsets", "PUT" | "PATCH" | "POST") => {
                let deny = path("networkpolicies", namespace, &format!("{}-deny", node_of(name)));
                self.rule(DENY_FIRST, asked, api_server.find(&deny).await.ok().map(|found| found.is_some()));
            }
            ("networkpolicies", "DELETE" | "PATCH")
                if name.ends_with("-deny") && (method == "DELETE" || is_release(&asked.body)) =>
            {
                let node = name.trim_end_matches("-deny");
                let pods = path("pods", namespace, "") + "?labelSelector=quorum.security/node%3D" + node;
                let left = api_server.list(&pods).await.ok();
                // after a deletion by another client the finalizer may go, since the operator creates the policy again
                let stays = |node: Option<Value>| {
                    node.is_some_and(|node| node["metadata"]["deletionTimestamp"].is_null())
                };
                let own = api_server.find(&path("quorumnodes", namespace, node)).await.ok();
                let remade = method == "PATCH" && own.is_some_and(stays);
                self.rule(DENY_LAST, asked, left.map(|left| remade || left.is_empty()));
            }
            _ => {}
        }
    }

    /// Checks the rules for an eviction that the API server has allowed.
    pub(crate) fn evicted(&self, asked: &Asked, before: &[String]) {
        let (_, _, name) = asked.object();
        let pod = name.trim_end_matches("/eviction");
        let left = before.iter().filter(|ready| *ready != pod).count();
        self.rule(QUORUM, asked, Some(before.is_empty() || left >= 3));
    }
}

/// Ready validators of the namespace; `None` if the request does not evict a validator.
pub(crate) async fn before_eviction(api_server: &ApiServer, asked: &Asked) -> Option<Vec<String>> {
    let (_, namespace, name) = asked.object();
    if !name.ends_with("/eviction") {
        return None;
    }
    let pods = path("pods", namespace, "")
        + "?labelSelector=quorum.security/role%3DValidator,quorum.security/component%3Dclient";
    let pods = api_server.list(&pods).await.ok()?;
    let names: Vec<String> = pods
        .iter()
        .filter(|pod| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        })
        .map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    // `None` if the pod is not a validator's
    let pod = name.trim_end_matches("/eviction");
    pods.iter().any(|found| found["metadata"]["name"] == pod).then_some(names)
}

pub(crate) const WRITER: &str = "only the replica that holds the lease writes";
pub(crate) const KEY: &str = "a key is written once";
pub(crate) const LOSS: &str = "no claim and no Secret is deleted";
pub(crate) const DENY_FIRST: &str = "the deny policy is there before a workload";
pub(crate) const DENY_LAST: &str = "the deny policy goes after the pods";
pub(crate) const QUORUM: &str = "three of four validators stay Ready through an eviction";
pub(crate) const SECOND_WRITER: &str =
    "a field conflict is reported only for an object that another client changed";
/// All rules. A run reports those that it never checked.
pub(crate) const RULES: [&str; 7] = [WRITER, KEY, LOSS, DENY_FIRST, DENY_LAST, QUORUM, SECOND_WRITER];
/// How long after the last change by another client a field conflict may be reported.
const FOUGHT: Duration = Duration::from_secs(180);

async fn holds_lease(api_server: &ApiServer, replica: &str) -> Option<bool> {
    let lease = api_server.find(&path("leases", LEASE.0, LEASE.1)).await.ok()?;
    Some(lease.is_some_and(|lease| lease["spec"]["holderIdentity"] == replica))
}

fn node_of(workload: &str) -> &str {
    ["-tm-db", "-client", "-tm"].iter().find_map(|end| workload.strip_suffix(end)).unwrap_or(workload)
}

fn is_release(body: &Value) -> bool {
    body["kind"].is_null() && body["metadata"]["finalizers"].as_array().is_some_and(Vec::is_empty)
}
