//! Managers that come to a network and leave it: the others are restarted for one that they have not met, one at a time, and
//! for nothing else.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    kubectl::{self, eventually},
    network,
    payloads::{self, Member},
};

const NAMESPACE: &str = "e2e-managers";
const ANN: Member = Member { namespace: NAMESPACE, name: "ann", client: "ann-client-0" };
const BEN: Member = Member { namespace: NAMESPACE, name: "ben", client: "ben-client-0" };
const CLEO: Member = Member { namespace: NAMESPACE, name: "cleo", client: "cleo-client-0" };

/// The manager's pod of each, as far as it is there: which one it is, and whether it serves.
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

/// What was seen of the managers.
struct Seen {
    /// The pods that each had, one after the other.
    pods: [Vec<String>; 2],
    /// What may not be.
    wrong: Vec<String>,
}

/// Looks at the managers until it is told to end.
struct Watch {
    ends: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    looks: thread::JoinHandle<()>,
}

impl Watch {
    fn begin() -> Self {
        // whoever is there now was there before what is done next
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

    /// How many pods each had.
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

/// A volume that stays belongs to a host, and of three hosts a node that comes back may have given that to another part.
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
        payloads::goes(from, to, payload)
    });
}

#[test]
fn a_manager_that_joins_costs_the_others_one_restart_and_one_that_leaves_or_comes_back_none() {
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
