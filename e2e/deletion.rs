//! The end of a node on a real cluster: closed until its pods are gone, by every way of deleting it.

use std::{process::Command, time::Duration};

use crate::{
    kubectl::{self, eventually},
    network,
};

/// Runs until the node, or its namespace, is gone, and looks at each step whether its pods are closed.
fn goes_closed(namespace: &str, name: &str, what: &[&str]) {
    let pods = || kubectl::find(&["-n", namespace, "pods", "-l", &format!("quorum.security/node={name}")]);
    let mut seen_ending = false;
    eventually(&format!("{what:?} is gone"), Duration::from_secs(120), || {
        // the pods first: a policy that goes between the two looks would go after them
        let running = pods().map_or(0, |list| list["items"].as_array().map_or(0, Vec::len));
        let deny = kubectl::find(&["-n", namespace, "networkpolicy", &format!("{name}-deny")]);
        let running_still = pods().map_or(0, |list| list["items"].as_array().map_or(0, Vec::len));
        assert!(deny.is_some() || running_still == 0, "{running_still} of {running} pods are open");
        seen_ending |= running_still > 0;
        match kubectl::find(what) {
            None => Ok(()),
            Some(left) => Err(left["status"].to_string()),
        }
    });
    assert!(seen_ending, "the end was not watched");
}

fn delete(arguments: &[&str]) {
    kubectl::text(&[&["delete", "--wait=false"], arguments].concat());
}

#[test]
fn a_node_that_is_deleted_stays_closed_until_its_pods_are_gone_and_leaves_key_and_data() {
    let namespace = "e2e-gone";
    network::prepare(namespace, &[]);
    let mut key = None;
    for cascade in ["foreground", "background"] {
        kubectl::apply(&[network::client(namespace, "gone")]);
        kubectl::wait_condition(namespace, "gone", "Ready", "True", "");
        let enode = kubectl::get(&["-n", namespace, "quorumnode", "gone"])["status"]["identity"].clone();
        assert_eq!(*key.get_or_insert_with(|| enode.clone()), enode, "the retained key is taken up again");
        let how = format!("--cascade={cascade}");
        delete(&["-n", namespace, "quorumnode", "gone", &how]);
        goes_closed(namespace, "gone", &["-n", namespace, "quorumnode", "gone"]);
        for kept in [["secret", "qn-gone-nodekey"], ["persistentvolumeclaim", "data-gone-client-0"]] {
            assert!(kubectl::find(&["-n", namespace, kept[0], kept[1]]).is_some(), "{cascade}: {kept:?}");
        }
    }
}

#[test]
fn a_whole_namespace_can_be_deleted() {
    let namespace = "e2e-doomed";
    network::prepare(namespace, &[]);
    kubectl::apply(&[network::client(namespace, "doomed")]);
    kubectl::wait_condition(namespace, "doomed", "Ready", "True", "");
    delete(&["namespace", namespace]);
    goes_closed(namespace, "doomed", &["namespace", namespace]);
}

/// What `docs/deletion.md` says where the operator is gone for good.
#[test]
#[ignore = "stops the operator: make e2e runs it on its own"]
fn bed_without_an_operator_one_line_lets_a_node_go() {
    let namespace = "e2e-gone";
    network::prepare(namespace, &[]);
    kubectl::apply(&[network::client(namespace, "stuck")]);
    kubectl::wait_condition(namespace, "stuck", "Ready", "True", "");
    let replicas =
        kubectl::get(&["-n", "quorum-system", "deployment", "quorum-operator"])["spec"]["replicas"].clone();
    let scale = |to: &str| {
        let to = format!("--replicas={to}");
        kubectl::text(&["-n", "quorum-system", "scale", "deployment/quorum-operator", &to]);
    };
    scale("0");
    kubectl::text(&["-n", "quorum-system", "wait", "--for=delete", "--timeout=60s", "pod", "--all"]);
    delete(&["-n", namespace, "quorumnode", "stuck"]);
    let line = include_str!("../docs/deletion.md")
        .lines()
        .find(|line| line.starts_with("kubectl") && line.contains("finalizers"))
        .expect("deletion.md has the line")
        .replace("NAMESPACE", namespace);
    let output = Command::new("bash").args(["-ec", &line]).output().expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the node is gone", Duration::from_secs(60), || {
        match kubectl::find(&["-n", namespace, "quorumnode", "stuck"]) {
            None => Ok(()),
            Some(left) => Err(left["metadata"].to_string()),
        }
    });
    scale(&replicas.to_string());
    kubectl::text(&[
        "-n",
        "quorum-system",
        "rollout",
        "status",
        "deployment/quorum-operator",
        "--timeout=60s",
    ]);
}
