//! Tests with two organisations in two namespaces of one cluster, and a database in a third: what each opens to others.

use serde_json::{Value, json};

use super::{
    network_policies::each_end_refuses,
    policy_evaluator::End,
    sample,
    world::{World, internet, renamed, unlisted_validator},
};
use crate::model::names::Component;

use Component::{Client, TransactionManager};

/// Namespaces of `alice` and of `dave`.
const NAMESPACES: [&str; 2] = [sample::NAMESPACE, "bank"];

/// Addresses of Services, as enode URLs and other URLs contain them. No policy ever sees one.
const SERVICE: &str = "10.96.0.7";

fn labels(component: Component) -> Value {
    json!({"quorum.security/network": "acme", "quorum.security/component": component.as_str()})
}

fn pods(namespace: &str, component: Component) -> Value {
    json!({"namespace": namespace, "podLabels": labels(component)})
}

/// One organisation's node, whose partner is in `other`.
fn partner(name: &str, namespace: &str, other: &str, sources: bool) -> Value {
    let mut node = sample::with(
        renamed(sample::managed(), name),
        &json!({
            "peering": {"static": [format!("enode://{}@{SERVICE}:30303", "ab".repeat(64))]},
            "transactionManager": {"peers": [{"url": format!("https://tm.{other}.svc:9000"), "cidrs": ["10.96.0.0/24"]}]},
        }),
    );
    node["metadata"]["namespace"] = namespace.into();
    if sources {
        let peering = &mut node["spec"]["peering"];
        peering["to"] = json!([pods(other, Client)]);
        peering["from"] = json!([pods(other, Client)]);
        node["spec"]["transactionManager"]["peers"] =
            json!([{"url": format!("https://tm.{other}.svc:9000"), "pods": pods(other, TransactionManager)}]);
    }
    node
}

/// `alice` in one namespace and `dave` in the other, each the other's partner.
fn organisations(sources: bool) -> World {
    let [ledger, bank] = NAMESPACES;
    World::of(vec![
        sample::alone(&partner("alice", ledger, bank, sources)),
        sample::alone(&partner("dave", bank, ledger, sources)),
    ])
}

#[test]
fn each_reaches_the_others_pods_where_both_name_them() {
    let world = organisations(true);
    for (from, to) in [("alice", "dave"), ("dave", "alice")] {
        for (component, port) in [(Client, 30303), (TransactionManager, 9000)] {
            let ends = [world.pod(from, component), world.pod(to, component)];
            assert!(world.allows(&ends[0], &ends[1], port), "{from} to {to}: {port}");
        }
    }
}

/// Observed in practice: a policy for the address of a Service lets nothing through.
#[test]
fn a_services_address_lets_nobody_through() {
    let world = organisations(false);
    let service = End::outside(SERVICE);
    for (component, port) in [(Client, 30303), (TransactionManager, 9000)] {
        let [alice, dave] = ["alice", "dave"].map(|node| world.pod(node, component));
        assert!(world.allows(&alice, &service, port), "the address itself is open: {port}");
        assert!(!world.allows(&alice, &dave, port) && !world.allows(&dave, &alice, port), "{port}");
    }
}

#[test]
fn nothing_else_of_the_partner_and_nobody_else_is_let_through() {
    let world = organisations(true);
    let pod = |node: &str, component| world.pod(node, component);
    let app = |namespace: &str| unlisted_validator(namespace, &[("app", "shop")]);
    let copied = |component| {
        let End { pod: Some(original), .. } = pod("dave", component) else { panic!("a pod") };
        End::pod("elsewhere", original.labels, "10.244.9.2")
    };
    for (what, from, to, port) in [
        ("the partner's metrics", pod("alice", Client), pod("dave", Client), 9545),
        ("the partner's RPC", pod("alice", Client), pod("dave", Client), 8545),
        ("client to the partner's manager", pod("alice", Client), pod("dave", TransactionManager), 9000),
        ("as the partner's client", pod("alice", Client), pod("dave", TransactionManager), 9101),
        ("manager to the partner's client", pod("alice", TransactionManager), pod("dave", Client), 30303),
        ("the manager's other port", pod("alice", TransactionManager), pod("dave", TransactionManager), 9101),
        (
            "to the partner's database",
            pod("alice", TransactionManager),
            pod("dave", Component::Database),
            5432,
        ),
        ("a neighbour of the partner in", app("bank"), pod("alice", Client), 30303),
        ("out to a neighbour of the partner", pod("alice", Client), app("bank"), 30303),
        ("copied labels elsewhere, in", copied(Client), pod("alice", Client), 30303),
        ("copied labels elsewhere, out", pod("alice", Client), copied(Client), 30303),
        (
            "a manager's labels elsewhere, in",
            copied(TransactionManager),
            pod("alice", TransactionManager),
            9000,
        ),
        ("the internet", pod("alice", Client), internet(), 30303),
    ] {
        each_end_refuses(&world, (&from, &to), port, what);
    }
}

/// `to` opens only egress; ingress is `from`.
#[test]
fn a_way_out_is_no_way_in() {
    let [ledger, bank] = NAMESPACES;
    let mut alice = partner("alice", ledger, bank, true);
    alice["spec"]["peering"]["from"] = json!([]);
    let world = World::of(vec![sample::alone(&alice), sample::alone(&partner("dave", bank, ledger, true))]);
    let [alice, dave] = ["alice", "dave"].map(|node| world.pod(node, Client));
    assert!(world.allows(&alice, &dave, 30303));
    assert!(!world.allows(&dave, &alice, 30303));
}

/// If a Service and its pods have different ports, that of the pods counts.
#[test]
fn pods_that_listen_on_another_port_are_reached_there() {
    let mut node = partner("alice", sample::NAMESPACE, "bank", true);
    let spec = &mut node["spec"];
    spec["peering"]["to"][0]["port"] = json!(31303);
    spec["transactionManager"]["peers"][0]["pods"]["port"] = json!(19000);
    let world = World::of(vec![sample::alone(&node)]);
    let theirs = |component: Component| {
        unlisted_validator(
            "bank",
            &[("quorum.security/network", "acme"), ("quorum.security/component", component.as_str())],
        )
    };
    for (component, port, other) in [(Client, 31303, 30303), (TransactionManager, 19000, 9000)] {
        let alice = world.pod("alice", component);
        assert!(world.allows(&alice, &theirs(component), port), "{port}");
        assert!(!world.allows(&alice, &theirs(component), other), "{other}");
    }
    let (manager, alice) = (theirs(TransactionManager), world.pod("alice", TransactionManager));
    assert!(world.allows(&manager, &alice, 9000), "they come in at ours");
}

/// A peer and a database with both an address and pods are reached at both; those with only pods at no address.
#[test]
fn addresses_and_pods_add_up() {
    let database = unlisted_validator("data", &[("app", "postgres")]);
    let address = End::outside("198.51.100.47");
    let source = |port: i32| json!({"namespace": "data", "podLabels": {"app": "postgres"}, "port": port});
    for (cidrs, pods, at_pods, at_address) in [
        (true, None, None, true),
        (true, Some(source(5432)), Some(5432), true),
        (false, Some(source(5432)), Some(5432), false),
        (false, Some(json!({"namespace": "data", "podLabels": {"app": "postgres"}})), Some(6432), false),
    ] {
        let case = format!("cidrs {cidrs}, {pods:?}");
        let mut node = sample::external_with_password();
        let external = &mut node["spec"]["transactionManager"]["database"]["external"];
        if !cidrs {
            external.as_object_mut().expect("a map").remove("cidrs");
        }
        if let Some(pods) = pods {
            external["pods"] = pods;
        }
        let world = World::of(vec![sample::alone(&node)]);
        let manager = world.pod("bob", TransactionManager);
        for port in [5432, 6432] {
            assert_eq!(world.allows(&manager, &database, port), at_pods == Some(port), "{case}: {port}");
        }
        assert_eq!(world.allows(&manager, &address, 6432), at_address, "{case}");
        assert!(!world.allows(&database, &manager, 9000), "{case}: a database comes in nowhere");
        assert!(!world.allows(&world.pod("bob", Client), &database, 5432), "{case}: the manager alone");
        // a rule without peers would allow all traffic
        assert!(!world.allows(&manager, &internet(), 6432), "{case}");
    }
}
