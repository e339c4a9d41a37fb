//! Records every state of pods and nodes in a namespace with watches, which miss nothing between polls, and notes
//! violations of availability.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufReader,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use serde_json::{Deserializer, Value};

/// Type of the condition that must never be `False`.
const ADVANCING: &str = "ChainAdvancing";

/// Running watches and their observations.
pub(crate) struct Record {
    seen: Arc<Mutex<Seen>>,
    watches: Vec<Child>,
}

/// Observations of the watches.
#[derive(Default)]
pub(crate) struct Seen {
    /// Uid of each existing pod, and whether it serves, by name.
    pods: BTreeMap<String, (String, bool)>,
    /// Groups of pods by name. At most one pod of a group may be unavailable at a time.
    watched: BTreeMap<&'static str, BTreeSet<String>>,
    /// Pods that became unavailable or were replaced, with the time.
    went: Vec<(Instant, String)>,
    /// Pods that a test removes for good.
    leaving: BTreeSet<String>,
    /// Statuses and reasons of each node's `ChainAdvancing`, in order and without repeats.
    said: BTreeMap<String, Vec<String>>,
    /// Violations.
    wrong: Vec<String>,
}

impl Record {
    /// Starts the watches.
    pub(crate) fn begin(namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let watches = [("pods", Seen::pod as Note), ("quorumnodes", Seen::node)];
        let watches = watches.map(|(kind, note)| watch(namespace, kind, Arc::clone(&seen), note));
        Self { seen, watches: watches.into() }
    }

    /// Observations so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            let _ = watch.kill();
            let _ = watch.wait();
        }
    }
}

/// Handler of a watch event.
type Note = fn(&mut Seen, &Value);

fn watch(namespace: &str, kind: &str, seen: Arc<Mutex<Seen>>, note: Note) -> Child {
    let mut child = Command::new("kubectl")
        .args(["-n", namespace, "get", kind, "--watch", "--output-watch-events", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl is on the path");
    let events = BufReader::new(child.stdout.take().expect("piped"));
    let kind = kind.to_owned();
    thread::spawn(move || {
        let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
        for event in Deserializer::from_reader(events).into_iter::<Value>().map_while(Result::ok) {
            note(&mut lock(), &event);
        }
        lock().wrong.push(format!("the watch of {kind} has ended"));
    });
    child
}

impl Seen {
    /// Adds pods to a group. From now on at most one pod of the group may be unavailable at a time.
    pub(crate) fn expect(&mut self, called: &'static str, pods: impl IntoIterator<Item = String>) {
        self.watched.entry(called).or_default().extend(pods);
        self.judge();
    }

    /// Announces that a pod will be removed for good. It counts in its groups until it is gone.
    pub(crate) fn leaves(&mut self, pod: String) {
        self.leaving.insert(pod);
    }

    /// Uid of a pod if it serves.
    pub(crate) fn serving(&self, pod: &str) -> Option<&str> {
        self.pods.get(pod).filter(|(_, serves)| *serves).map(|(uid, _)| uid.as_str())
    }

    /// Pods that became unavailable or were replaced since then.
    pub(crate) fn went(&self, since: Instant) -> impl Iterator<Item = (Instant, &str)> {
        self.went.iter().filter(move |(at, _)| *at >= since).map(|(at, pod)| (*at, pod.as_str()))
    }

    /// Statuses and reasons of each node's `ChainAdvancing`.
    pub(crate) fn said(&self) -> &BTreeMap<String, Vec<String>> {
        &self.said
    }

    /// Violations so far.
    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    fn pod(&mut self, event: &Value) {
        let Some((kind, name, object)) = read(event) else {
            return self.wrong.push(format!("the watch of pods says {event}"));
        };
        let before = self.serving(name).map(str::to_owned);
        if kind == "DELETED" {
            self.pods.remove(name);
            if self.leaving.contains(name) {
                self.watched.values_mut().for_each(|pods| pods.retain(|pod| pod != name));
            }
        } else {
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let is_ready =
                conditions.into_iter().any(|found| found["type"] == "Ready" && found["status"] == "True");
            let serves = is_ready && object["metadata"]["deletionTimestamp"].is_null();
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            self.pods.insert(name.to_owned(), (uid, serves));
        }
        if before.is_some() && before.as_deref() != self.serving(name) {
            self.went.push((Instant::now(), name.to_owned()));
        }
        self.judge();
    }

    fn judge(&mut self) {
        for (called, pods) in &self.watched {
            let away: Vec<_> = pods.iter().filter(|pod| self.serving(pod).is_none()).cloned().collect();
            let told = format!("{} {called} are away at once: {}", away.len(), away.join(", "));
            if away.len() > 1 && self.wrong.last() != Some(&told) {
                self.wrong.push(told);
                break;
            }
        }
    }

    fn node(&mut self, event: &Value) {
        let Some((_, name, object)) = read(event) else {
            return self.wrong.push(format!("the watch of nodes says {event}"));
        };
        let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let Some(found) = conditions.find(|found| found["type"] == ADVANCING) else { return };
        let word = |field: &str| found[field].as_str().unwrap_or_default();
        let said = format!("{}/{}", word("status"), word("reason"));
        let before = self.said.entry(name.to_owned()).or_default();
        if before.last() != Some(&said) {
            if found["status"] == "False" {
                self.wrong.push(format!("{name}: {ADVANCING}={said} {}", found["message"]));
            }
            before.push(said);
        }
    }
}

/// Kind, name and object of an event.
fn read(event: &Value) -> Option<(&str, &str, &Value)> {
    let kind = event["type"].as_str().filter(|kind| *kind != "ERROR")?;
    Some((kind, event["object"]["metadata"]["name"].as_str()?, &event["object"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(kind: &str, name: &str, ready: bool) -> Value {
        let status = if ready { "True" } else { "False" };
        json!({"type": kind, "object": {
            "metadata": {"name": name, "uid": name},
            "status": {"conditions": [{"type": "Ready", "status": status}]},
        }})
    }

    /// Two pods that serve.
    fn seen() -> Seen {
        let mut seen = Seen::default();
        for name in ["a", "b"] {
            seen.pod(&pod("ADDED", name, true));
        }
        seen.expect("letters", ["a", "b"].map(str::to_owned));
        assert_eq!(seen.wrong(), [""; 0]);
        seen
    }

    #[test]
    fn two_unavailable_pods_are_recorded_once_whatever_the_cause() {
        let mut ending = pod("MODIFIED", "b", true);
        ending["object"]["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        for second in [ending, pod("DELETED", "b", true), pod("MODIFIED", "b", false)] {
            let mut seen = seen();
            seen.pod(&pod("MODIFIED", "a", false));
            assert_eq!(seen.wrong(), [""; 0], "one alone");
            seen.pod(&second);
            seen.pod(&second);
            seen.pod(&pod("MODIFIED", "a", true));
            assert_eq!(seen.wrong(), ["2 letters are away at once: a, b"]);
        }
    }

    #[test]
    fn one_unavailable_pod_after_another_is_allowed_and_recorded_with_its_time() {
        let (mut seen, since) = (seen(), Instant::now());
        for name in ["a", "b"] {
            seen.pod(&pod("MODIFIED", name, false));
            seen.pod(&pod("DELETED", name, false));
            seen.pod(&pod("ADDED", name, false));
            seen.pod(&pod("MODIFIED", name, true));
        }
        assert_eq!(seen.wrong(), [""; 0]);
        assert_eq!(seen.went(since).map(|(_, pod)| pod).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(seen.went(Instant::now()).count(), 0);
        seen.leaves("a".to_owned());
        seen.pod(&pod("MODIFIED", "a", false));
        seen.pod(&pod("DELETED", "a", false));
        seen.pod(&pod("DELETED", "b", false));
        assert_eq!(seen.wrong(), [""; 0], "nobody waits for the first any more");
    }

    #[test]
    fn a_leaving_pod_counts_until_it_is_gone() {
        let mut seen = seen();
        seen.leaves("a".to_owned());
        seen.pod(&pod("MODIFIED", "a", false));
        seen.pod(&pod("MODIFIED", "b", false));
        assert_eq!(seen.wrong(), ["2 letters are away at once: a, b"]);
    }

    #[test]
    fn a_stalled_chain_is_recorded_and_statuses_stay_in_order() {
        let mut seen = Seen::default();
        for (status, reason) in [("Unknown", "AtGenesis"), ("True", "Advancing"), ("True", "Advancing")] {
            let condition =
                json!({"type": ADVANCING, "status": status, "reason": reason, "message": "it is so"});
            let node = json!({"metadata": {"name": "a"}, "status": {"conditions": [condition]}});
            seen.node(&json!({"type": "MODIFIED", "object": node}));
        }
        assert_eq!(seen.wrong(), [""; 0]);
        assert_eq!(seen.said()["a"], ["Unknown/AtGenesis", "True/Advancing"]);
        let stands =
            json!({"type": ADVANCING, "status": "False", "reason": "HeadStalled", "message": "since"});
        let node = json!({"metadata": {"name": "a"}, "status": {"conditions": [stands]}});
        seen.node(&json!({"type": "MODIFIED", "object": node}));
        assert_eq!(seen.wrong().len(), 1);
        seen.node(&json!({"type": "ERROR", "object": {"code": 410}}));
        assert_eq!(seen.wrong().len(), 2, "a watch that tells nothing any more");
    }
}
