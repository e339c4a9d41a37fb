use serde_json::{Value, json};

use super::*;
use crate::testing::specs;

fn node(name: &str, change: impl FnOnce(&mut Value)) -> DecodedNode {
    let mut object = specs::smallest(name);
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["uid"] = json!(name);
    change(&mut object);
    serde_json::from_value(object).expect("guarded")
}

/// The nodes and networks that an event triggers.
fn woken(seen: &mut SeenNodes, event: &Event<DecodedNode>) -> Vec<String> {
    let woken = woken_by_node(seen, event).into_iter();
    woken
        .map(|woken| match woken {
            Trigger::Node(node) => node.name,
            Trigger::Claim(node) => format!("claim of {}", node.name),
            Trigger::Network { network, .. } => format!("all of {network}"),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_node_wakes_itself_by_what_people_write_and_others_by_what_they_read() {
    let mut seen = SeenNodes::default();
    let event = |change: &dyn Fn(&mut Value)| Event::Apply(node("alice", change));
    let told = |node: &mut Value| node["status"] = json!({"conditions": []});
    let pinned = |node: &mut Value| {
        node["status"] = json!({"identity": {"publicKey": "ab", "address": "0x1", "secretName": "s"},
            "conditions": []});
    };
    assert_eq!(woken(&mut seen, &event(&|_| {})), ["alice", "all of acme"]);
    assert_eq!(woken(&mut seen, &event(&|_| {})), [""; 0], "nothing new");
    assert_eq!(woken(&mut seen, &event(&told)), [""; 0], "its own status");
    let stalls = |node: &mut Value| {
        node["status"] = json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "NameConflict",
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    };
    assert_eq!(woken(&mut seen, &event(&stalls)), ["all of acme"], "new ones no longer wait for it");
    assert_eq!(woken(&mut seen, &event(&told)), ["all of acme"], "and do again");
    assert_eq!(
        woken(&mut seen, &event(&pinned)),
        ["claim of alice", "all of acme"],
        "what the other nodes wait for, and what it may run with"
    );
    let serves = |status: &'static str| {
        move |node: &mut Value| {
            pinned(node);
            node["status"]["conditions"] = json!([{"type": "TransactionManagerAvailable", "status": status,
                "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        }
    };
    assert_eq!(woken(&mut seen, &event(&serves("False"))), [""; 0]);
    assert_eq!(
        woken(&mut seen, &event(&serves("True"))),
        ["all of acme"],
        "others' managers can meet its own"
    );
    assert_eq!(woken(&mut seen, &event(&serves("False"))), ["all of acme"]);
    let noted = |node: &mut Value| {
        pinned(node);
        node["metadata"]["annotations"] = json!({"quorum.security/renew-certs-at": "now"});
    };
    assert_eq!(woken(&mut seen, &event(&noted)), ["alice"], "what it claims it did before");
}

#[test]
fn a_node_that_is_ready_again_wakes_its_network() {
    let mut seen = SeenNodes::default();
    let is = |kind: &str, status: &str, reason: &str| {
        let condition = json!({"type": kind, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"});
        Event::Apply(node("alice", |node| node["status"] = json!({"conditions": [condition]})))
    };
    woken(&mut seen, &is("Ready", "False", "Starting"));
    assert_eq!(woken(&mut seen, &is("Ready", "Unknown", "NotScheduled")), [""; 0]);
    assert_eq!(woken(&mut seen, &is("Ready", "True", "Ready")), ["all of acme"]);
    assert_eq!(woken(&mut seen, &is("Ready", "True", "Outdated")), [""; 0]);
    assert_eq!(woken(&mut seen, &is("ClientAvailable", "True", "Available")), ["all of acme"]);
}

#[test]
fn a_node_that_goes_is_heard_of_whether_its_end_is_told_or_it_is_missing_from_a_list() {
    let mut seen = SeenNodes::default();
    let here = |name: &str| Event::Apply(node(name, |_| {}));
    for name in ["alice", "bob", "carol"] {
        woken(&mut seen, &here(name));
    }
    assert_eq!(woken(&mut seen, &Event::Delete(node("alice", |_| {}))), ["alice", "all of acme"]);
    assert_eq!(
        woken(&mut seen, &here("alice")),
        ["alice", "all of acme"],
        "the state of a deleted object is forgotten"
    );
    // an interrupted list that starts again
    for event in [Event::Init, Event::InitApply(node("bob", |_| {})), Event::Init] {
        assert_eq!(woken(&mut seen, &event), [""; 0]);
    }
    for name in ["alice", "carol"] {
        assert_eq!(woken(&mut seen, &Event::InitApply(node(name, |_| {}))), [""; 0]);
    }
    assert_eq!(woken(&mut seen, &Event::InitDone), ["bob"]);
}

#[test]
fn a_host_wakes_all_when_what_is_kept_of_it_changes_or_it_goes() {
    let mut seen = Relist::default();
    let host = |cordoned: bool| -> Node {
        let host = json!({"metadata": {"name": "host-1"}, "spec": {"unschedulable": cordoned}});
        serde_json::from_value(host).expect("a host")
    };
    let mut wakes = |event: Event<Node>| woken_by_host(&mut seen, &event).is_some();
    assert!(wakes(Event::Apply(host(false))));
    assert!(!wakes(Event::Apply(host(false))));
    assert!(wakes(Event::Apply(host(true))));
    assert!(!wakes(Event::Init));
    assert!(!wakes(Event::InitApply(host(true))));
    assert!(!wakes(Event::InitDone));
    assert!(wakes(Event::Delete(host(true))));
    assert!(wakes(Event::Apply(host(true))), "the state of a deleted object is forgotten");
    assert!(!wakes(Event::Init));
    assert!(wakes(Event::InitDone), "missing from a list");
}

/// A writer can change labels together with the object, so they count only if the name agrees.
#[test]
fn whom_an_object_concerns_is_told_by_its_name_where_its_labels_say_something_else() {
    let of = |name: &str, labels: Value, owner: &str| {
        let owners = if owner.is_empty() {
            json!([])
        } else {
            json!([{"apiVersion": "v1", "kind": "QuorumNode", "name": owner, "uid": "u"}])
        };
        let meta = json!({"name": name, "namespace": "ledger", "labels": labels, "ownerReferences": owners});
        match woken_by(&serde_json::from_value(meta).expect("metadata")) {
            Trigger::Child { node, .. } => format!("child of {node}"),
            Trigger::Network { network, .. } => format!("all of {network}"),
            Trigger::Reference { name, .. } => format!("by name {name}"),
            other => panic!("{other:?}"),
        }
    };
    let ours =
        |key: &str, value: &str| json!({key: value, "app.kubernetes.io/managed-by": "quorum-operator"});
    let (node, network) = ("quorum.security/node", "quorum.security/network");
    assert_eq!(of("alice-deny", ours(node, "alice"), ""), "child of alice");
    assert_eq!(of("qn-alice-peers", ours(node, "alice"), ""), "child of alice");
    assert_eq!(of("alice-deny", ours(node, "zz"), ""), "by name alice-deny");
    assert_eq!(of("alice-deny", ours(node, "zz"), "alice"), "child of alice");
    assert_eq!(of("alice-deny", json!({}), "alice"), "child of alice");
    assert_eq!(of("alice-deny", json!({}), "mallory"), "by name alice-deny");
    assert_eq!(of("alice-deny", json!({}), ""), "by name alice-deny");
    assert_eq!(of("qnet-acme-validators", ours(network, "acme"), ""), "all of acme");
    assert_eq!(of("qnet-acme-validators", ours(network, "other"), ""), "by name qnet-acme-validators");
}
