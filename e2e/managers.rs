//! Transaction managers that join and leave a network: the others restart once for a new manager, one at a time, and
//! not when one leaves or returns.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    kubectl::{self, eventually},
    network,
    private_payloads::{self, Member},
};

const NAMESPACE: &str = "e2e-managers";
const ANN: Member = Member { namespace: NAMESPACE, name: "ann", client: "ann-client-0" };
const BEN: Member = Member { namespace: NAMESPACE, name: "ben", client: "ben-client-0" };
const CLEO: Member = Member { namespace: NAMESPACE, name: "cleo", client: "cleo-client-0" };

/// Uid of each manager's pod, empty if there is none, and whether it serves.
fn managers() -> [(String, bool); 2] {
    [ANN, BEN].map(|member| {
        let pod = kubectl::find(&["-n", NAMESPACE, "pod", &format!("{}-tm-0", member.name)]);
        let pod = pod.unwrap_or_default();
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
        let serves = pod["metadata"]["deletionTimestamp"].is_null() && conditions.iter().any(is_ready);
        (pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), serves)
    })
}

/// Observations of the managers.
struct Seen {
    /// Uids of each manager's pods, in order.
    pods: [Vec<String>; 2],
    /// Violations.
    wrong: Vec<String>,
}

/// Polls the managers until it is ended.
struct Watch {
    ends: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    looks: thread::JoinHandle<()>,
}

impl Watch {
    fn begin() -> Self {
        // read the current pods first, so that later ones count as new
        let first = managers().map(|(uid, _)| vec![uid]);
        let seen = Arc::new(Mutex::new(Seen { pods: first, wrong: vec![] }));
        let ends = Arc::new(AtomicBool::new(false));
        let (end, note) = (Arc::clone(&ends), Arc::clone(&seen));
        let looks = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let now = managers();
                let Seen { pods, wrong } = &mut *note.lock().expect("seen");
                for (pods, (uid, _)) in pods.iter_mut().zip(&now) {
                    if !uid.is_empty() && !pods.contains(uid) {
                        pods.push(uid.clone());
                    }
                }
                if now.iter().all(|(_, serves)| !serves) {
                    wrong.push(format!("both are away: {now:?}"));
                }
                thread::park_timeout(Duration::from_millis(500));
            }
        });
        Self { ends, seen, looks }
    }

    /// Number of pods that each manager has had.
    fn pods(&self) -> [usize; 2] {
        let seen = self.seen.lock().expect("seen");
        [seen.pods[0].len(), seen.pods[1].len()]
    }

    fn end(self) -> [usize; 2] {
        self.ends.store(true, Ordering::Relaxed);
        self.looks.join().expect("it looked");
        let seen = self.seen.lock().expect("seen");
        assert_eq!(seen.wrong, [""; 0]);
        [seen.pods[0].len(), seen.pods[1].len()]
    }
}

/// Deletes volumes with the node: a retained local volume ties its pod to a host, which another component may use when
/// the node returns.
fn node(member: Member) -> Value {
    let mut node = network::member(NAMESPACE, member.name);
    node["spec"]["deletionPolicy"] = json!({"data": "Delete"});
    node
}

fn ready(member: Member) {
    kubectl::wait_condition(NAMESPACE, member.name, "Ready", "True", "");
}

fn sent(from: Member, to: Member, payload: &str) {
    eventually(&format!("{payload} of {} reaches {}", from.name, to.name), Duration::from_secs(60), || {
        private_payloads::goes(from, to, payload)
    });
}

#[test]
fn a_joining_manager_restarts_the_others_once_and_a_leaving_or_returning_one_does_not() {
    network::prepare(NAMESPACE, &["ann", "ben", "cleo"]);
    kubectl::apply(&[ANN, BEN].map(node));
    [ANN, BEN].into_iter().for_each(ready);
    sent(ANN, BEN, "before");

    let watch = Watch::begin();
    kubectl::apply(&[node(CLEO)]);
    ready(CLEO);
    eventually("both have met the newcomer", Duration::from_secs(400), || match (watch.pods(), managers()) {
        ([2, 2], [(_, true), (_, true)]) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    sent(ANN, CLEO, "hello from ann");
    sent(CLEO, BEN, "hello from cleo");
    assert_eq!(watch.end(), [2, 2], "one restart each");

    let watch = Watch::begin();
    kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", CLEO.name, "--timeout=120s"]);
    sent(BEN, ANN, "without cleo");
    kubectl::apply(&[node(CLEO)]);
    ready(CLEO);
    sent(CLEO, ANN, "cleo is back");
    sent(BEN, CLEO, "welcome");
    assert_eq!(watch.end(), [1, 1], "nobody was restarted");
    for member in [ANN, BEN, CLEO] {
        kubectl::text(&["-n", NAMESPACE, "delete", "quorumnode", member.name, "--wait=false"]);
    }
}
