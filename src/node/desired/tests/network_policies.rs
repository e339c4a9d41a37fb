//! Tests of the traffic in a network of different nodes, with neighbours that try to connect: what is allowed, and what
//! is not.

use serde_json::json;

use super::{
    policy_evaluator::{Direction, End, allowed, lets, selecting},
    sample::{self, NAMESPACE},
    world::{self, World, every_pod, internet, unlisted_validator},
};
use crate::{
    model::names::{self, Component},
    node::desired::{Live, desired},
};

use Component::{Client, Database, TransactionManager};

#[test]
fn every_flow_of_the_design_is_let_through() {
    let world = World::new();
    let pod = |node: &str, component| world.pod(node, component);
    let prometheus = unlisted_validator("monitoring", &[("app", "prometheus"), ("pod-template-hash", "1")]);
    for (what, from, to, port) in [
        ("client to client", pod("alice", Client), pod("dave", Client), 30303),
        ("and back", pod("dave", Client), pod("alice", Client), 30303),
        ("client alone to client", pod("carol", Client), pod("bob", Client), 30303),
        ("an outside peer in", End::outside(sample::OUTSIDE_PEER), pod("alice", Client), 30303),
        ("out to an outside peer", pod("alice", Client), End::outside(sample::OUTSIDE_PEER), 21000),
        ("client to its manager", pod("alice", Client), pod("alice", TransactionManager), 9101),
        ("where the database is external", pod("bob", Client), pod("bob", TransactionManager), 9101),
        ("manager to its database", pod("alice", TransactionManager), pod("alice", Database), 5432),
        ("to a foreign database", pod("bob", TransactionManager), End::outside("198.51.100.47"), 6432),
        ("and with a certificate", pod("erin", TransactionManager), End::outside("198.51.100.32"), 6432),
        ("manager to manager", pod("alice", TransactionManager), pod("bob", TransactionManager), 9000),
        ("and back", pod("bob", TransactionManager), pod("alice", TransactionManager), 9000),
        ("out to a foreign manager", pod("alice", TransactionManager), End::outside("203.0.113.17"), 9443),
        ("a foreign manager in", End::outside("203.0.113.30"), pod("alice", TransactionManager), 9000),
        ("a scraper by its labels", prometheus, pod("alice", Client), 9545),
        ("a scraper by its address", End::outside("198.51.100.200"), pod("alice", Client), 9545),
        (
            "a caller by its labels",
            unlisted_validator("shop", &[("app", "till")]),
            pod("alice", Client),
            8545,
        ),
        ("a caller by its address", End::outside("203.0.113.77"), pod("alice", Client), 8545),
        ("another caller by its address", End::outside("203.0.113.110"), pod("alice", Client), 8545),
    ] {
        assert!(world.allows(&from, &to, port), "{what}: {port}");
    }
}

#[test]
fn names_are_asked_for_where_names_are_dialled() {
    let world = World::new();
    let dns = unlisted_validator("dns-system", &[("k8s-app", "coredns")]);
    let cache = End::outside("169.254.20.10");
    for protocol in ["UDP", "TCP"] {
        for server in [&dns, &cache] {
            for (node, component, expected) in [
                ("alice", Client, true),
                ("alice", TransactionManager, true),
                ("bob", TransactionManager, true),
                ("alice", Database, false),
                ("carol", Client, false),
                ("dave", Client, false),
            ] {
                let pod = world.pod(node, component);
                let let_through = allowed(&world.policies, &pod, server, protocol, 53);
                assert_eq!(
                    let_through, expected,
                    "{node}'s {component:?} to {:?} {protocol}",
                    server.address
                );
            }
        }
    }
    let client = world.pod("alice", Client);
    assert!(!world.allows(&client, &dns, 8080), "another port");
    for impostor in [
        unlisted_validator("dns-system", &[("k8s-app", "other")]),
        unlisted_validator(NAMESPACE, &[("k8s-app", "coredns")]),
        End::outside("169.254.20.11"),
    ] {
        assert!(!allowed(&world.policies, &client, &impostor, "UDP", 53), "{impostor:?}");
    }
}

/// Each address family by itself, and nothing that is not listed.
#[test]
fn addresses_of_either_family_are_let_through_where_they_are_named() {
    let node = sample::alone(&sample::with(
        sample::managed(),
        &json!({
            "peering": {
                "static": [format!("enode://{}@[2001:db8:1::7]:21000", "ab".repeat(64))],
                "from": [{"cidr": "2001:db8:1::/64"}],
            },
            "transactionManager": {"peers": [
                {"url": "https://tm.six.example:9443", "cidrs": ["2001:db8:2::/64", "203.0.113.17/32"]},
            ]},
        }),
    ));
    let mut render_config = world::render_config();
    render_config.dns.cidrs = vec!["fd00::a/128".into(), "169.254.20.10/32".into()];
    let policies = desired(&node, &sample::issued(&node), &render_config, &Live::default()).policies;
    let world = World::of(vec![node.clone()]);
    let pod = |component| world.pod(&node.names.node, component);
    let (p2p, managers, dns) = (("TCP", 21000), ("TCP", 9443), ("UDP", 53));
    for (component, (protocol, port), open, closed) in [
        (Client, p2p, ["2001:db8:1::7"].as_slice(), ["2001:db8:1::8", "192.0.2.7"]),
        (TransactionManager, managers, &["2001:db8:2::9", "203.0.113.17"], ["2001:db8:3::9", "203.0.113.18"]),
        (TransactionManager, dns, &["fd00::a", "169.254.20.10"], ["fd00::b", "169.254.20.11"]),
    ] {
        let asks = |to: &&str| allowed(&policies, &pod(component), &End::outside(to), protocol, port);
        assert!(open.iter().all(asks), "{open:?}: {port}");
        assert!(!closed.iter().any(asks), "{closed:?}: {port}");
    }
    let comes = |from, component, port| allowed(&policies, &End::outside(from), &pod(component), "TCP", port);
    assert!(comes("2001:db8:1::ffff", Client, 30303) && comes("2001:db8:2::9", TransactionManager, 9000));
    assert!(!comes("2001:db8:4::1", Client, 30303) && !comes("2001:db8:1::7", TransactionManager, 9000));
}

/// Policies apply to the ports of pods, not of their Service: OpenShift's DNS pods listen on 5353.
#[test]
fn dns_is_asked_at_the_ports_where_it_listens_and_at_no_other() {
    let world = World::new();
    let node = &world.nodes["alice"];
    for (ports, open, closed) in [(vec![5353], vec![5353], 53), (vec![53, 5353], vec![53, 5353], 5354)] {
        let mut render_config = world::render_config();
        render_config.dns.ports = ports;
        let policies = desired(node, &sample::issued(node), &render_config, &Live::default()).policies;
        let manager = world.pod("alice", TransactionManager);
        let servers =
            [unlisted_validator("dns-system", &[("k8s-app", "coredns")]), End::outside("169.254.20.10")];
        for (server, protocol) in servers.iter().flat_map(|server| [(server, "UDP"), (server, "TCP")]) {
            let asks = |port| allowed(&policies, &manager, server, protocol, port);
            assert!(open.iter().all(|port| asks(*port)), "{open:?} {protocol} {server:?}");
            assert!(!asks(closed), "{closed} {protocol} {server:?}");
        }
    }
}

#[test]
fn nothing_else_is_let_through() {
    let world = World::new();
    let pod = |node: &str, component| world.pod(node, component);
    let copied = |namespace: &str, node: &str, component| {
        let End { pod: Some(original), .. } = world.pod(node, component) else { panic!("a pod") };
        End::pod(namespace, original.labels, "10.244.9.2")
    };
    let neighbour = unlisted_validator(NAMESPACE, &[("app", "shop")]);
    let api_server = End::outside("10.96.0.1");
    for (what, from, to, port) in [
        ("client to its manager's database", pod("alice", Client), pod("alice", Database), 5432),
        ("client to a foreign database", pod("bob", Client), End::outside("198.51.100.47"), 6432),
        ("another's client to the manager", pod("bob", Client), pod("alice", TransactionManager), 9101),
        (
            "another's manager as a client",
            pod("bob", TransactionManager),
            pod("alice", TransactionManager),
            9101,
        ),
        ("client to its manager's peers port", pod("alice", Client), pod("alice", TransactionManager), 9000),
        ("another's manager to the database", pod("bob", TransactionManager), pod("alice", Database), 5432),
        ("manager to its client's metrics", pod("alice", TransactionManager), pod("alice", Client), 9545),
        ("manager to its client's peers port", pod("alice", TransactionManager), pod("alice", Client), 30303),
        ("manager to its client's RPC", pod("alice", TransactionManager), pod("alice", Client), 8545),
        ("database to its manager", pod("alice", Database), pod("alice", TransactionManager), 9101),
        ("database to a client", pod("alice", Database), pod("alice", Client), 30303),
        ("client to a client's metrics", pod("bob", Client), pod("alice", Client), 9545),
        ("client to a client's geth metrics", pod("bob", Client), pod("alice", Client), 6060),
        ("client to a client's probes", pod("bob", Client), pod("alice", Client), 8081),
        ("client of another network", pod("ruth", Client), pod("alice", Client), 30303),
        ("to a client of another network", pod("alice", Client), pod("ruth", Client), 30303),
        (
            "manager of another network",
            pod("ruth", TransactionManager),
            pod("alice", TransactionManager),
            9000,
        ),
        ("client of the same network elsewhere", pod("zoe", Client), pod("alice", Client), 30303),
        (
            "manager of the same network elsewhere",
            pod("zoe", TransactionManager),
            pod("bob", TransactionManager),
            9000,
        ),
        ("copied labels elsewhere, peers", copied("faraway", "bob", Client), pod("alice", Client), 30303),
        (
            "copied labels elsewhere, manager",
            copied("faraway", "alice", Client),
            pod("alice", TransactionManager),
            9101,
        ),
        (
            "copied labels elsewhere, database",
            copied("x", "alice", TransactionManager),
            pod("alice", Database),
            5432,
        ),
        ("a neighbour to peers", neighbour.clone(), pod("alice", Client), 30303),
        ("a neighbour to the manager", neighbour.clone(), pod("alice", TransactionManager), 9101),
        ("a neighbour to the managers' port", neighbour.clone(), pod("alice", TransactionManager), 9000),
        ("a neighbour to the database", neighbour.clone(), pod("alice", Database), 5432),
        ("a neighbour to metrics", neighbour, pod("alice", Client), 9545),
        ("an outside peer elsewhere", End::outside(sample::OUTSIDE_PEER), pod("bob", Client), 30303),
        ("beside the range of outside peers", End::outside("192.0.2.63"), pod("alice", Client), 30303),
        ("an outside peer's other port", pod("alice", Client), End::outside(sample::OUTSIDE_PEER), 30303),
        ("beside an outside peer", pod("alice", Client), End::outside("192.0.2.78"), 21000),
        ("a foreign manager's range as a peer", End::outside("203.0.113.17"), pod("alice", Client), 30303),
        (
            "a foreign manager as a client",
            End::outside("203.0.113.17"),
            pod("alice", TransactionManager),
            9101,
        ),
        (
            "the foreign manager of another",
            pod("bob", TransactionManager),
            End::outside("203.0.113.17"),
            9443,
        ),
        ("a foreign database inwards", End::outside("198.51.100.47"), pod("bob", TransactionManager), 9101),
        ("beside the foreign database", pod("bob", TransactionManager), End::outside("198.51.100.48"), 6432),
        ("the foreign database's shell", pod("bob", TransactionManager), End::outside("198.51.100.47"), 22),
        ("client to the internet", pod("carol", Client), internet(), 443),
        ("client to a public boot node", pod("carol", Client), internet(), 30303),
        ("manager to the internet", pod("alice", TransactionManager), internet(), 443),
        ("database to the internet", pod("alice", Database), internet(), 443),
        ("the internet to peers", internet(), pod("carol", Client), 30303),
        ("client to the API server", pod("alice", Client), api_server.clone(), 443),
        ("manager to the API server", pod("alice", TransactionManager), api_server.clone(), 443),
        ("database to the API server", pod("alice", Database), api_server, 443),
        ("client to the cloud's metadata", pod("alice", Client), End::outside("169.254.169.254"), 80),
    ] {
        each_end_refuses(&world, (&from, &to), port, what);
    }
}

/// A mistake at one end must not open what the other end closes.
pub(super) fn each_end_refuses(world: &World, (from, to): (&End, &End), port: i32, what: &str) {
    assert!(!world.allows(from, to, port), "{what}: {port}");
    for (direction, own, other) in [(Direction::Egress, from, to), (Direction::Ingress, to, from)] {
        let ours = !selecting(&world.policies, direction, own).is_empty();
        let refused = !lets(&world.policies, direction, own, other, "TCP", port);
        assert!(refused || !ours, "{what}: {port}, {direction:?} by itself");
    }
}

#[test]
fn nobody_else_reaches_json_rpc_or_the_probes() {
    let world = World::new();
    let mut ends = vec![
        internet(),
        unlisted_validator("monitoring", &[("app", "prometheus")]),
        unlisted_validator("quorum-system", &[("app.kubernetes.io/name", "quorum-operator")]),
        unlisted_validator(NAMESPACE, &[("app", "shop")]),
        End::outside(sample::OUTSIDE_PEER),
        End::outside("198.51.100.200"),
    ];
    let pods: Vec<(String, End)> = every_pod(&world);
    ends.extend(pods.iter().map(|(_, end)| end.clone()));
    for from in &ends {
        for (name, to) in &pods {
            for port in [8545, 8546, 8547, 8548, 9546, 6060, names::HEALTH, 9080, 22] {
                let admitted = lets(&world.policies, Direction::Ingress, to, from, "TCP", port);
                assert!(!admitted, "{from:?} to {name}: {port}");
            }
        }
    }
}

#[test]
fn metrics_are_read_by_the_scrapers_that_are_named() {
    let world = World::new();
    let client = world.pod("alice", Client);
    for (from, expected) in [
        (unlisted_validator("monitoring", &[("app", "prometheus")]), true),
        (unlisted_validator("monitoring", &[("app", "grafana")]), false),
        (unlisted_validator("monitoring", &[]), false),
        (unlisted_validator("default", &[("app", "prometheus")]), false),
        (unlisted_validator(NAMESPACE, &[("app", "prometheus")]), false),
        (End::outside("198.51.100.200"), true),
        (End::outside("198.51.100.201"), false),
    ] {
        assert_eq!(world.allows(&from, &client, 9545), expected, "{from:?}");
        assert!(!world.allows(&from, &client, 30303), "{from:?} for another port");
        for unscraped in ["bob", "carol", "dave"] {
            assert!(!world.allows(&from, &world.pod(unscraped, Client), 9545), "{from:?} to {unscraped}");
        }
    }
}

#[test]
fn the_operator_looks_at_the_ports_that_serve_tls_and_nobody_takes_its_place() {
    let world = World::new();
    let operator =
        unlisted_validator("operator-system", &[("app", "the-operator"), ("pod-template-hash", "1")]);
    let others = [
        unlisted_validator("operator-system", &[("app", "another")]),
        unlisted_validator(NAMESPACE, &[("app", "the-operator")]),
        internet(),
    ];
    for (component, port) in [
        (Client, 9545),
        (Client, 8545),
        (TransactionManager, 9000),
        (TransactionManager, 9101),
        (Database, 5432),
    ] {
        let part = world.pod("alice", component);
        assert!(world.allows(&operator, &part, port), "{component:?} {port}");
        for other in &others {
            assert!(!world.allows(other, &part, port), "{component:?} {port}: {other:?}");
        }
    }
    for port in [30303, names::HEALTH, 8546, 8547, 8548, 6060, 9080] {
        for component in [Client, TransactionManager, Database] {
            assert!(!world.allows(&operator, &world.pod("alice", component), port), "{component:?} {port}");
        }
    }
    let lone = world.pod("carol", Client);
    assert!(world.allows(&operator, &lone, 9545) && !world.allows(&operator, &lone, 9000));
    assert!(!world.allows(&operator, &lone, 8545), "nobody calls it");
}

#[test]
fn peers_speak_tcp_alone() {
    let world = World::new();
    let (from, to) = (world.pod("alice", Client), world.pod("bob", Client));
    assert!(!allowed(&world.policies, &from, &to, "UDP", 30303), "nothing is discovered");
}

#[test]
fn every_workload_is_closed_in_both_directions_by_one_policy() {
    let world = World::new();
    for (name, pod) in every_pod(&world) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let closing = selecting(&world.policies, direction, &pod)
                .into_iter()
                .filter(|policy| {
                    policy.spec.as_ref().is_some_and(|spec| spec.ingress.is_none() && spec.egress.is_none())
                })
                .count();
            assert_eq!(closing, 1, "{name}, {direction:?}");
        }
    }
}

#[test]
fn a_node_is_closed_before_it_is_opened() {
    for node in sample::network() {
        let first = sample::render(&node).policies.swap_remove(0);
        assert_eq!(first.metadata.name, Some(format!("{}-deny", node.names.node)));
        assert_eq!(
            first.spec.and_then(|spec| spec.policy_types),
            Some(vec!["Ingress".into(), "Egress".into()])
        );
    }
}

#[test]
fn no_rule_is_without_a_peer_or_a_port() {
    for policy in World::new().policies {
        let spec = serde_json::to_value(policy.spec).expect("JSON");
        for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in spec[rules].as_array().into_iter().flatten() {
                for list in [peers, "ports"] {
                    let length = rule[list].as_array().map_or(0, Vec::len);
                    assert!(length > 0, "{:?} admits everybody or every port: {rule}", policy.metadata.name);
                }
                for port in rule["ports"].as_array().into_iter().flatten() {
                    assert!(
                        port["port"].is_i64() && port["endPort"].is_null(),
                        "{:?}: {port}",
                        policy.metadata.name
                    );
                }
            }
        }
    }
}
