//! Tests of what is rendered for JSON-RPC callers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    policy_evaluator::End,
    sample::{self, NAMESPACE, alone, caller, client_alone, everything, with},
    world::{World, unlisted_validator},
};
use crate::{
    model::{lookup::Found, names::Component::Client},
    node::{
        desired::{Desired, rpc},
        observed::{
            ObservedCallers,
            samples::{CLUSTER, issuer},
        },
        validate::Validated,
    },
    protocol::policy::{self, Issuer, Policy},
};

fn account() -> Value {
    json!({"serviceAccount": {"namespace": "shop", "name": "till"}})
}

/// A node with only a client and one caller, changed by a merge patch.
fn called(change: &Value) -> Validated {
    let rpc = json!({"rpc": {"callers": [caller("till", &account())]}});
    alone(&with(with(client_alone(), &rpc), change))
}

fn objects(desired: Desired) -> BTreeSet<(&'static str, String)> {
    sample::objects(desired).into_iter().map(|(kind, meta)| (kind, meta.name.expect("a name"))).collect()
}

fn template(node: &Validated) -> Value {
    let desired = sample::render(node);
    let workload = sample::workload(&desired, Client).expect("a client");
    serde_json::to_value(sample::template(workload)).expect("JSON")
}

fn policy(node: &Validated) -> Policy {
    let name = node.names.guard_config();
    let maps = sample::render(node).config_maps;
    let map = maps.into_iter().find(|map| map.metadata.name.as_ref() == Some(&name)).expect("the ConfigMap");
    let data = map.data.expect("data");
    assert_eq!(data.keys().collect::<Vec<_>>(), [policy::FILE]);
    Policy::read(data[policy::FILE].as_bytes()).expect("what the guard reads")
}

#[test]
fn the_first_caller_adds_all_of_it_and_nothing_else() {
    let (without, with) = (sample::render(&alone(&client_alone())), sample::render(&called(&json!({}))));
    let containers = |desired: &Desired| {
        let pod = sample::pod(&desired.workloads[0]).clone();
        pod.containers.into_iter().map(|container| container.name).collect::<Vec<_>>()
    };
    assert_eq!(containers(&without), ["client", "metrics"]);
    assert_eq!(containers(&with), ["client", "metrics", "guard"]);
    let (without, with) = (objects(without), objects(with));
    let more: Vec<_> = with.difference(&without).map(|(kind, name)| (*kind, name.as_str())).collect();
    assert_eq!(
        more,
        [("ConfigMap", "qn-carol-guard"), ("NetworkPolicy", "carol-rpc.till"), ("Service", "carol-rpc")]
    );
    assert!(without.is_subset(&with));
}

#[test]
fn the_guard_runs_with_these_arguments_and_no_others() {
    let guard = sample::container(&called(&json!({})), Client, "guard");
    assert_eq!(
        guard.args.expect("arguments"),
        [
            "rpc",
            "--listen=[::]:8545",
            "--health=[::]:8546",
            "--metrics=127.0.0.1:9546",
            "--http=127.0.0.1:8547",
            "--ws=127.0.0.1:8548",
            "--tls-dir=/tls/rpc",
            "--policy=/etc/quorum/guard/policy.json",
        ]
    );
    let shows = |node: &Validated| {
        let sidecar = sample::container(node, Client, "metrics").args.expect("arguments");
        sidecar.contains(&"--rpc=127.0.0.1:9546".to_owned())
    };
    assert!(shows(&called(&json!({}))) && !shows(&alone(&client_alone())));
}

#[test]
fn the_guard_has_the_memory_that_its_connections_need_or_what_the_spec_says() {
    let resources = |change: Value| {
        let guard = sample::container(&called(&change), Client, "guard");
        let resources = serde_json::to_value(guard.resources.expect("resources")).expect("JSON");
        assert_eq!(resources["limits"]["memory"], resources["requests"]["memory"]);
        assert_eq!(resources["limits"].as_object().map(serde_json::Map::len), Some(1), "no limit on CPU");
        (resources["requests"]["cpu"].clone(), resources["limits"]["memory"].clone())
    };
    let connections = |most: i32| json!({"rpc": {"limits": {"connections": most}}});
    for (most, memory) in
        [(1, "96Mi"), (256, "96Mi"), (257, "128Mi"), (512, "128Mi"), (513, "160Mi"), (65_536, "8256Mi")]
    {
        assert_eq!(resources(connections(most)), (json!("50m"), json!(memory)), "{most}");
    }
    assert_eq!(resources(json!({})), (json!("50m"), json!("128Mi")));
    let said = json!({"rpc": {"resources": {"cpu": "2", "memory": "1Gi"}, "limits": {"connections": 2048}}});
    assert_eq!(resources(said), (json!("2"), json!("1Gi")));
}

/// A file that is mounted by its key alone is never refreshed.
#[test]
fn the_policy_is_mounted_as_a_directory() {
    let desired = sample::render(&called(&json!({})));
    let pod = sample::pod(&desired.workloads[0]);
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "callers").expect("the volume");
    assert_eq!(
        volume.config_map.as_ref().map(|map| (map.name.as_str(), &map.items)),
        Some(("qn-carol-guard", &None))
    );
    let guard = sample::container(&called(&json!({})), Client, "guard");
    let mount =
        guard.volume_mounts.into_iter().flatten().find(|mount| mount.name == "callers").expect("a mount");
    assert_eq!((mount.mount_path.as_str(), mount.sub_path), ("/etc/quorum/guard", None));
}

#[test]
fn what_callers_may_do_is_changed_without_a_restart() {
    let before = called(&json!({}));
    let callers = |more: Value| {
        let mut till = caller("till", &account());
        till.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({"rpc": {"callers": [till]}})
    };
    let two = json!({"rpc": {"callers": [caller("till", &account()), caller("bank", &json!({"clientCertificate": {
        "authority": {"name": "bank-callers", "key": "ca.crt"}, "subjects": ["dns:bank.example"]}}))]}});
    for change in [
        callers(json!({"methods": ["eth_blockNumber", "eth_sign", "txpool_*", "web3_sha3"]})),
        callers(json!({"privateState": false})),
        callers(json!({"origins": ["https://app.example"]})),
        callers(json!({"rate": {"callsPerSecond": 7, "burst": 9}})),
        callers(json!({"connections": 3})),
        callers(json!({"identity": {"serviceAccount": {"namespace": "shop", "name": "another"}}})),
        json!({"rpc": {"hostnames": ["rpc.carol.example"]}}),
        json!({"rpc": {"limits": {"batchCalls": 7}}}),
        two,
    ] {
        let after = called(&change);
        assert_eq!(template(&before), template(&after), "{change}");
        assert_ne!(policy(&before), policy(&after), "{change}");
    }
    let moved = called(&callers(json!({"from": [{"cidr": "192.0.2.0/24"}]})));
    assert_eq!((template(&before), policy(&before)), (template(&moved), policy(&moved)));
}

#[test]
fn the_client_offers_the_modules_of_what_was_granted_and_no_others() {
    let offered = |methods: Value| {
        let mut till = caller("till", &account());
        till["methods"] = methods;
        let node = called(&json!({"rpc": {"callers": [till]}}));
        let arguments = sample::container(&node, Client, "client").args.expect("arguments");
        ["--http.api=", "--ws.api="].map(|flag| {
            arguments.iter().find_map(|argument| argument.strip_prefix(flag)).expect(flag).to_owned()
        })
    };
    let same = |list: &str| [list.to_owned(), list.to_owned()];
    assert_eq!(offered(json!(["net_version"])), same("eth,net,txpool,web3"));
    let more = json!(["personal_listAccounts", "admin_peers", "admin_nodeInfo", "eth_call"]);
    assert_eq!(offered(more), same("admin,eth,net,personal,txpool,web3"));
}

#[test]
fn the_policy_says_what_the_spec_says() {
    let policy = policy(&alone(&everything()));
    assert_eq!(
        policy.hosts,
        ["alice-rpc.ledger.svc", "alice-rpc.ledger.svc.cluster.local", "rpc.alice.example"]
    );
    assert_eq!(policy.audience, "alice-rpc.ledger.svc");
    assert_eq!(policy.cluster.as_deref(), Some(CLUSTER));
    assert_eq!(policy.issuers, [issuer(CLUSTER), issuer("https://id.example")]);
    let names: Vec<_> = policy.callers.iter().map(|caller| caller.name.as_str()).collect();
    assert_eq!(names, ["till", "bank", "auditor"], "the first that fits counts: in the order of the spec");
    assert_eq!(
        serde_json::to_value(&policy.callers).expect("JSON"),
        json!([
            {
                "name": "till", "methods": ["eth_*", "net_version"], "privateState": false, "origins": [],
                "identity": {"serviceAccount": {"namespace": "shop", "name": "till"}},
                "callsPerSecond": 100, "burst": 200, "connections": 64,
            },
            {
                "name": "bank", "methods": ["eth_*", "net_version"], "privateState": false, "origins": [],
                "identity": {"clientCertificate": {
                    "authority": "authority of bank\n", "subjects": ["dns:bank.example"],
                }},
                "callsPerSecond": 100, "burst": 200, "connections": 64,
            },
            {
                "name": "auditor", "methods": ["eth_*", "net_version"], "privateState": true, "origins": [],
                "identity": {"oidc": {
                    "issuer": "https://id.example", "audience": "ledger", "subjects": ["auditor-7"],
                }},
                "callsPerSecond": 100, "burst": 200, "connections": 64,
            },
        ])
    );
    assert_eq!(policy.limits, policy::Limits::default());
}

/// An added manager must not give access to more than before.
#[test]
fn a_wildcard_includes_private_state_where_it_is_said_or_where_there_is_none() {
    let granted = |manager: bool, said: Value| {
        let mut till = caller("till", &account());
        till.as_object_mut().expect("an object").extend(said.as_object().expect("an object").clone());
        let node = if manager { sample::managed() } else { client_alone() };
        let node = alone(&with(node, &json!({"rpc": {"callers": [till]}})));
        let grants = policy(&node).callers[0].grants().expect("grants");
        (grants.allow("eth_getLogs"), grants.allow("eth_blockNumber"))
    };
    for (manager, said, logs) in [
        (false, json!({}), true),
        (false, json!({"privateState": true}), true),
        (false, json!({"privateState": false}), false),
        (true, json!({}), false),
        (true, json!({"privateState": true}), true),
        (true, json!({"privateState": false}), false),
        (true, json!({"privateState": false, "methods": ["eth_*", "eth_getLogs"]}), true),
    ] {
        assert_eq!(granted(manager, said.clone()), (logs, true), "manager {manager}, {said}");
    }
}

#[test]
fn every_limit_of_the_spec_is_the_guards() {
    let mut limits = serde_json::to_value(policy::Limits::default()).expect("JSON");
    for (i, limit) in limits.as_object_mut().expect("an object").values_mut().enumerate() {
        *limit = json!(2000 + i);
    }
    let said = called(&json!({"rpc": {"limits": limits}}));
    assert_eq!(serde_json::to_value(policy(&said).limits).expect("JSON"), limits);
}

#[test]
fn an_issuer_without_keys_is_not_in_the_policy() {
    let mut node = alone(&everything());
    node.callers.cluster = None;
    node.callers.issuers.clear();
    let policy = policy(&node);
    assert_eq!((policy.cluster, policy.issuers), (None, vec![]));
    assert_eq!(policy.callers.len(), 3, "who may call is said all the same");
}

/// While nothing else of the node is written.
#[test]
fn a_policy_is_given_the_keys_of_now_and_is_else_as_it_was() {
    let node = alone(&everything());
    let before = policy(&node);
    let seen = |cluster: Option<Found<Issuer>>, other: Option<Issuer>| ObservedCallers {
        cluster,
        issuers: other.into_iter().map(|issuer| (issuer.issuer.clone(), Found::Present(issuer))).collect(),
        ..ObservedCallers::default()
    };
    let another = |name: &str| {
        let mut issuer = issuer(name);
        issuer.keys[0].id = "another".into();
        issuer
    };
    let rekeyed = |seen: &ObservedCallers| rpc::rekeyed(&before, seen);
    let same = seen(Some(Found::Present(issuer(CLUSTER))), Some(issuer("https://id.example")));
    assert_eq!(rekeyed(&same), before);
    for unknown in [None, Some(Found::Missing), Some(Found::Invalid("it cannot be reached".into()))] {
        assert_eq!(rekeyed(&seen(unknown, None)), before, "what is not known stays");
    }
    let next = rekeyed(&seen(Some(Found::Present(another(CLUSTER))), Some(another("https://id.example"))));
    assert_eq!(next.issuers, [another(CLUSTER), another("https://id.example")]);
    assert_eq!(Policy { issuers: before.issuers.clone(), ..next }, before);
    let moved = rekeyed(&seen(Some(Found::Present(issuer("https://moved"))), None));
    assert_eq!(moved.cluster.as_deref(), Some("https://moved"));
    assert_eq!(moved.issuers, [issuer("https://moved"), issuer("https://id.example")]);
    let unlisted_validator = rekeyed(&seen(None, Some(issuer("https://stranger"))));
    assert_eq!(unlisted_validator, before, "nobody by whose word no caller of the policy is known");
    let mut unkeyed = node;
    unkeyed.callers.cluster = None;
    unkeyed.callers.issuers.clear();
    assert_eq!(rpc::rekeyed(&policy(&unkeyed), &same), before, "those who had none");
}

#[test]
fn nobody_speaks_for_the_cluster_in_its_place() {
    let mut node = alone(&everything());
    let mut impostor = issuer(CLUSTER);
    impostor.keys[0].id = "another".into();
    node.callers.issuers.insert(CLUSTER.into(), impostor);
    assert_eq!(policy(&node).issuers, [issuer(CLUSTER), issuer("https://id.example")]);
}

#[test]
fn json_rpc_is_reached_by_the_callers_that_are_named() {
    let world = World::new();
    let client = world.pod("alice", Client);
    for (from, expected) in [
        (unlisted_validator("shop", &[("app", "till")]), true),
        (unlisted_validator("shop", &[("app", "auditor"), ("pod-template-hash", "1")]), true),
        (unlisted_validator("shop", &[("app", "bank")]), false),
        (unlisted_validator("shop", &[]), false),
        (unlisted_validator(NAMESPACE, &[("app", "till")]), false),
        (End::outside("203.0.113.77"), true),
        (End::outside("203.0.113.78"), false),
        (End::outside("203.0.113.96"), true),
        (End::outside("203.0.113.112"), false),
    ] {
        assert_eq!(world.allows(&from, &client, 8545), expected, "{from:?}");
        for port in [8546, 8547, 8548, 9545, 9546, 30303] {
            assert!(!world.allows(&from, &client, port), "{from:?} to {port}");
        }
        for uncalled in ["bob", "carol", "dave"] {
            assert!(!world.allows(&from, &world.pod(uncalled, Client), 8545), "{from:?} to {uncalled}");
        }
    }
}
