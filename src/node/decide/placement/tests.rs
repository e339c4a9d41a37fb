use super::*;
use crate::node::observed::Taint;
use crate::node::observed::samples::{host_of, in_order, machine, member, now, pod, smallest, spec};
use serde_json::json;

/// The scheduler's message where anti-affinity leaves no host.
const UNSCHEDULABLE: &str = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.";

fn three() -> Observed {
    in_order(member())
}

fn judged(observed: &Observed) -> Isolation {
    isolation(observed, &Component::ALL, now())
}

fn shared_by(observed: &Observed) -> String {
    match judged(observed) {
        Isolation::Shared(why) => why,
        other => panic!("not shared: {other:?}"),
    }
}

fn unknown_of(observed: &Observed) -> String {
    match judged(observed) {
        Isolation::Unknown(why) => why,
        other => panic!("not unknown: {other:?}"),
    }
}

fn host<'a>(observed: &'a mut Observed, name: &str) -> &'a mut Host {
    observed.hosts.get_mut(name).expect("the sample has the host")
}

/// A node whose database has no host, in a cluster with these hosts.
fn homeless(hosts: impl IntoIterator<Item = (&'static str, Host)>) -> Observed {
    let mut observed = three();
    let database = pod(&mut observed, Component::Database);
    (database.host, database.ready) = (None, false);
    database.unschedulable = Some(UNSCHEDULABLE.into());
    observed.hosts = hosts.into_iter().map(|(name, host)| (name.to_owned(), host)).collect();
    observed
}

fn capacity(observed: &Observed) -> String {
    match judged(observed) {
        Isolation::NoHost(why) => why,
        other => panic!("a host is left: {other:?}"),
    }
}

fn tainted(name: &str, key: &str, value: &str, effect: &str) -> Host {
    let taint = Taint { key: key.into(), value: value.into(), effect: effect.into() };
    Host { taints: vec![taint], ..machine(name) }
}

#[test]
fn three_parts_on_three_machines_are_isolated_and_their_hosts_are_named() {
    let expected = "client on host-a, transaction manager on host-b, database on host-c";
    assert_eq!(judged(&three()), Isolation::Isolated(expected.into()));
}

#[test]
fn two_parts_on_one_host_share_it_whatever_the_host_reports() {
    for known in [true, false] {
        let mut observed = three();
        pod(&mut observed, Component::Database).host = Some("host-a".into());
        if !known {
            observed.hosts.clear();
        }
        let why = shared_by(&observed);
        assert!(
            why.starts_with("the client (on host host-a) and the database (on host host-a) share a machine, because both run on one host"),
            "{why}"
        );
        assert!(why.ends_with("a machine for each part, then delete one of the two pods"), "{why}");
    }
}

#[test]
fn two_hosts_with_one_machine_id_or_boot_id_are_one_machine() {
    let mut observed = three();
    host(&mut observed, "host-c").machine_id = "machine-of-host-b".into();
    let why = shared_by(&observed);
    assert!(
        why.contains("the transaction manager (on host host-b) and the database (on host host-c)"),
        "{why}"
    );
    assert!(why.contains("both hosts report machine id machine-of-host-b"), "{why}");

    let mut observed = three();
    host(&mut observed, "host-b").boot_id = "boot-of-host-a".into();
    let why = shared_by(&observed);
    assert!(
        why.contains("the client (on host host-a) and the transaction manager (on host host-b)"),
        "{why}"
    );
    assert!(why.contains("both hosts report boot id boot-of-host-a"), "{why}");
}

#[test]
fn hosts_that_report_nothing_have_nothing_in_common_and_are_not_green() {
    for erase in [|host: &mut Host| host.machine_id.clear(), |host: &mut Host| host.boot_id.clear()] {
        let mut observed = three();
        observed.hosts.values_mut().for_each(erase);
        let why = unknown_of(&observed);
        assert_eq!(
            why,
            "host host-a of the client reports no machine id or boot id: check status.nodeInfo of Node host-a"
        );
    }
}

#[test]
fn a_host_that_cannot_be_seen_is_never_green() {
    for component in Component::ALL {
        let mut observed = three();
        observed.hosts.remove(host_of(component));
        let why = unknown_of(&observed);
        assert!(why.contains(host_of(component)) && why.contains(component.spoken()), "{why}");
    }
}

#[test]
fn a_node_of_one_part_shares_its_host_with_no_other() {
    let mut observed = in_order(smallest());
    observed.hosts.clear();
    let judged = isolation(&observed, &[Component::Client], now());
    assert_eq!(judged, Isolation::Isolated("client on host-a".into()));
}

#[test]
fn a_part_without_a_host_is_unknown_and_named() {
    let mut observed = three();
    pod(&mut observed, Component::TransactionManager).host = None;
    observed.pods.remove(&Component::Database);
    assert_eq!(unknown_of(&observed), "these parts are not scheduled yet: transaction manager, database");
    observed.pods.clear();
    assert_eq!(
        unknown_of(&observed),
        "these parts are not scheduled yet: client, transaction manager, database"
    );
}

#[test]
fn parts_that_share_are_told_before_the_one_that_has_no_host() {
    let mut observed = homeless([("host-a", machine("host-a"))]);
    pod(&mut observed, Component::TransactionManager).host = Some("host-a".into());
    shared_by(&observed);
}

#[test]
fn a_missing_host_is_told_with_the_capacity_that_is_missing() {
    let why = capacity(&homeless([("host-a", machine("host-a")), ("host-b", machine("host-b"))]));
    assert!(why.starts_with("no host is available for the database: 3 machines are needed"), "{why}");
    assert!(why.contains("but only 2 can be used: add 1 more."), "{why}");
    assert!(why.ends_with(UNSCHEDULABLE), "{why}");
    let why = capacity(&homeless([]));
    assert!(why.contains("but only 0 can be used: add 3 more."), "{why}");
}

#[test]
fn machines_without_room_are_not_told_as_missing() {
    let hosts = ["host-a", "host-b", "host-c"].map(|name| (name, machine(name)));
    let why = capacity(&homeless(hosts));
    assert!(
        why.contains("3 machines can be used, but none has room for the pod: free resources on"),
        "{why}"
    );
}

#[test]
fn hosts_that_are_one_machine_are_counted_once() {
    let twin = Host { machine_id: "machine-of-host-a".into(), ..machine("host-c") };
    let hosts = [("host-a", machine("host-a")), ("host-b", machine("host-b")), ("host-c", twin)];
    assert!(capacity(&homeless(hosts)).contains("but only 2 can be used: add 1 more"));

    let twin = Host { boot_id: "boot-of-host-a".into(), ..machine("host-c") };
    let hosts = [("host-a", machine("host-a")), ("host-b", machine("host-b")), ("host-c", twin)];
    assert!(capacity(&homeless(hosts)).contains("but only 2 can be used: add 1 more"));

    // the third shares an id with each of the first two
    let link = Host {
        machine_id: "machine-of-host-a".into(),
        boot_id: "boot-of-host-b".into(),
        ..machine("host-c")
    };
    let hosts = [("host-a", machine("host-a")), ("host-b", machine("host-b")), ("host-c", link)];
    assert!(capacity(&homeless(hosts)).contains("but only 1 can be used: add 2 more"));
}

#[test]
fn hosts_that_report_nothing_are_counted_each() {
    let silent = Host { schedulable: true, ..Host::default() };
    let why = capacity(&homeless([("host-a", silent.clone()), ("host-b", silent)]));
    assert!(why.contains("but only 2 can be used: add 1 more"), "{why}");
}

fn waits(observed: &Observed) -> String {
    match judged(observed) {
        Isolation::Waits(why) => why,
        other => panic!("nothing is waited for: {other:?}"),
    }
}

/// A cordoned host.
fn cordoned(name: &str) -> Host {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    Host { schedulable: false, cordoned: true, taints: vec![taint], ..machine(name) }
}

/// Gives the database a volume that only one host can reach.
fn bound_to(observed: &mut Observed, host: &str) {
    let needed = json!([{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}]);
    let reach = serde_json::from_value(needed).expect("terms");
    let volume = Volume { volume: Some("pv-7".into()), reach: Some(reach), ..Volume::default() };
    observed.volumes.insert(Component::Database, volume);
    for (name, host) in &mut observed.hosts {
        host.labels.insert("kubernetes.io/hostname".into(), name.clone());
    }
}

#[test]
fn a_host_that_is_cordoned_is_waited_for_where_it_would_do() {
    let three =
        || [("host-a", machine("host-a")), ("host-b", machine("host-b")), ("host-c", cordoned("host-c"))];
    let why = waits(&homeless(three()));
    assert!(why.starts_with("the database waits for a host: host-c is cordoned"), "{why}");
    assert!(why.contains("kubectl uncordon host-c") && why.ends_with(UNSCHEDULABLE), "{why}");
    // a cordoned host whose taints it does not tolerate is not waited for
    let mut observed = homeless(three());
    host(&mut observed, "host-c").taints.push(Taint {
        key: "for".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    });
    assert!(capacity(&observed).contains("but only 2 can be used: add 1 more."));
    // with it there are still too few hosts
    let why = capacity(&homeless([("host-a", machine("host-a")), ("host-c", cordoned("host-c"))]));
    assert!(why.contains("but only 1 can be used: add 1 more; host-c is cordoned"), "{why}");
    let down = Host { schedulable: false, ..machine("host-c") };
    let why =
        waits(&homeless([("host-a", machine("host-a")), ("host-b", machine("host-b")), ("host-c", down)]));
    assert!(why.contains("host-c is not ready (bring this host back)"), "{why}");
}

#[test]
fn a_volume_keeps_a_part_to_its_host_however_many_others_there_are() {
    let hosts = || ["host-a", "host-b", "host-c", "host-d"].map(|name| (name, machine(name)));
    let mut observed = homeless(hosts());
    *host(&mut observed, "host-c") = cordoned("host-c");
    bound_to(&mut observed, "host-c");
    let why = waits(&observed);
    assert!(
        why.starts_with("the database waits for the host that has its volume pv-7: host-c is cordoned"),
        "{why}"
    );
    // it does not wait for a cordoned host without its volume
    let mut observed = homeless(hosts());
    *host(&mut observed, "host-d") = cordoned("host-d");
    bound_to(&mut observed, "host-c");
    assert!(capacity(&observed).contains("its volume pv-7 is on host-c, where the pod does not fit"));
    // the node's own transaction manager occupies the host
    pod(&mut observed, Component::TransactionManager).host = Some("host-c".into());
    let why = capacity(&observed);
    let own = "host-c already runs the transaction manager of this node. Delete the pod bob-tm-0, which then starts on another host";
    assert!(why.contains(own), "{why}");
    let mut observed = homeless(hosts());
    bound_to(&mut observed, "host-z");
    let why = waits(&observed);
    assert!(why.contains("no host matches the node affinity of the volume (kubernetes.io/hostname In host-z). Bring that host back"), "{why}");
}

#[test]
fn a_volume_that_is_missing_is_not_told_as_a_machine() {
    for said in NO_VOLUME {
        let mut observed = homeless(["host-a", "host-b", "host-c"].map(|name| (name, machine(name))));
        pod(&mut observed, Component::Database).unschedulable =
            Some(format!("0/3 nodes are available: 1 node(s) {said}."));
        let why = waits(&observed);
        assert!(why.contains("PersistentVolumeClaim data-bob-tm-db-0 is not bound"), "{why}");
    }
    // too few machines are reported before a missing volume
    let mut observed = homeless([("host-a", machine("host-a")), ("host-b", machine("host-b"))]);
    pod(&mut observed, Component::Database).unschedulable = Some(NO_VOLUME[0].into());
    assert!(capacity(&observed).contains("but only 2 can be used: add 1 more."));
}

#[test]
fn terms_select_hosts_as_the_scheduler_reads_them() {
    let mut host = machine("host-a");
    host.labels = [("zone".into(), "one".into())].into();
    for (term, expected) in [
        (json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["one", "two"]}]}), true),
        (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["one"]}]}), false),
        (json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["one"]}]}), true),
        (json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), true),
        (json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), false),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["host-a"]}]}), true),
        (json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["host-b"]}]}), false),
    ] {
        let read = serde_json::from_value(term.clone()).expect("a term");
        assert_eq!(selects(&read, "host-a", &host), expected, "{term}");
    }
}

#[test]
fn a_host_that_is_closed_or_not_selected_cannot_be_used() {
    let closed = Host { schedulable: false, ..machine("host-b") };
    let mut observed = homeless([
        ("host-a", Host { labels: [("disk".into(), "ssd".into())].into(), ..machine("host-a") }),
        ("host-b", Host { labels: [("disk".into(), "ssd".into())].into(), ..closed }),
        ("host-c", Host { labels: [("disk".into(), "slow".into())].into(), ..machine("host-c") }),
        ("host-d", machine("host-d")),
    ]);
    assert!(waits(&observed).contains("host-b is not ready"));
    spec(&mut observed).placement.node_selector = [("disk".into(), "ssd".into())].into();
    assert!(capacity(&observed).contains("but only 1 can be used: add 1 more; host-b is not ready"));
}

#[test]
fn a_tainted_host_can_be_used_where_every_taint_is_tolerated() {
    let tolerations = |tolerations: serde_json::Value| -> Vec<Tolerated> {
        serde_json::from_value(tolerations).expect("tolerations")
    };
    let mut observed = homeless([
        ("host-a", machine("host-a")),
        ("host-b", tainted("host-b", "for", "ledger", "NoSchedule")),
        ("host-c", tainted("host-c", "for", "ledger", "NoExecute")),
    ]);
    for (tolerated, usable) in [
        (json!([]), 1),
        (json!([{"key": "for"}]), 3),
        (json!([{"key": "for", "value": "ledger"}]), 3),
        (json!([{"key": "for", "value": "other"}]), 1),
        (json!([{"key": "other"}]), 1),
        (json!([{"key": "for", "effect": "NoSchedule"}]), 2),
        (json!([{"key": "for", "effect": "PreferNoSchedule"}]), 1),
        (json!([{"key": "for", "effect": "NoSchedule"}, {"key": "for", "effect": "NoExecute"}]), 3),
    ] {
        spec(&mut observed).placement.tolerations = tolerations(tolerated.clone());
        let why = capacity(&observed);
        let expected = if usable == 3 {
            "3 machines can be used".into()
        } else {
            format!("but only {usable} can be used")
        };
        assert!(why.contains(&expected), "{tolerated}: {why}");
    }
    let second = Taint { key: "broken".into(), effect: "NoExecute".into(), ..Taint::default() };
    host(&mut observed, "host-c").taints.push(second);
    spec(&mut observed).placement.tolerations = tolerations(json!([{"key": "for"}]));
    assert!(capacity(&observed).contains("but only 2 can be used"), "one of two taints is not tolerated");
}

#[test]
fn a_validator_that_wants_a_host_of_its_own_is_told_so() {
    for (spread, is_told) in [(Spread::Required, true), (Spread::Preferred, false)] {
        let mut observed = in_order(smallest());
        let spec = spec(&mut observed);
        (spec.role, spec.placement.spread) = (Role::Validator, spread);
        let client = pod(&mut observed, Component::Client);
        (client.host, client.ready) = (None, false);
        client.unschedulable = Some(UNSCHEDULABLE.into());
        let Isolation::NoHost(why) = isolation(&observed, &[Component::Client], now()) else {
            panic!("a host is left")
        };
        assert_eq!(why.contains("set spec.placement.spread to Preferred"), is_told, "{why}");
    }
}

mod kernels;
