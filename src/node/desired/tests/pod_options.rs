//! Tests of optional pod settings for namespaces, hosts and log collectors. Nothing is rendered if the spec sets
//! nothing.

use serde_json::{Value, json};

use super::sample::{self, alone, managed, with};
use crate::{model::names::Component, node::desired::Desired};

fn rendered(change: &Value) -> Desired {
    sample::render(&alone(&with(managed(), change)))
}

/// A container of any part, as JSON.
fn container(desired: &Desired, name: &str) -> Value {
    let all = desired.workloads.iter().flat_map(|workload| sample::containers(sample::pod(workload)));
    let found = all.into_iter().find(|container| container.name == name);
    serde_json::to_value(found.expect("a container")).expect("JSON")
}

fn arguments(change: &Value) -> Vec<String> {
    let found = container(&rendered(change), "client");
    found["args"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn a_container_gets_what_a_quota_asks_for_where_it_is_said() {
    let asked = json!({"cpu": "30m", "memory": "96Mi", "cpuLimit": "1", "ephemeralStorage": "1Gi"});
    let wanted = json!({
        "requests": {"cpu": "30m", "memory": "96Mi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "1", "memory": "96Mi", "ephemeral-storage": "1Gi"},
    });
    let small = json!({"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}});
    for (field, names) in
        [("metrics", ["metrics"].as_slice()), ("probe", &["probe"]), ("init", &["prepare", "tools"])]
    {
        let desired = rendered(&json!({"sidecars": {field: asked}}));
        for name in ["metrics", "probe", "prepare", "tools"] {
            let expected = if names.contains(&name) { &wanted } else { &small };
            assert_eq!(container(&desired, name)["resources"], *expected, "{field}: {name}");
        }
    }
    let text = |of: &Value| of.to_string().replace("96Mi", "2Gi");
    let large: Value = serde_json::from_str(&text(&asked)).expect("JSON");
    let desired = rendered(&json!({"client": {"resources": large}}));
    for name in ["client", "genesis"] {
        assert_eq!(container(&desired, name)["resources"].to_string(), text(&wanted), "{name}");
    }
}

#[test]
fn a_part_has_hosts_of_its_own_where_they_are_said_and_those_of_all_parts_elsewhere() {
    let desired = rendered(&json!({"placement": {
        "nodeSelector": {"for": "ledger"}, "tolerations": [{"key": "all"}],
        "database": {"nodeSelector": {"disk": "fast"}},
        "client": {"tolerations": [{"key": "own"}]},
    }}));
    let of = |part| {
        let pod = sample::pod(sample::workload(&desired, part).expect("a workload"));
        let keys: Vec<_> = pod.tolerations.iter().flatten().filter_map(|taint| taint.key.clone()).collect();
        (serde_json::to_value(&pod.node_selector).expect("JSON"), keys.join(","))
    };
    assert_eq!(of(Component::Client), (json!({"for": "ledger"}), "own".into()));
    assert_eq!(of(Component::TransactionManager), (json!({"for": "ledger"}), "all".into()));
    assert_eq!(of(Component::Database), (json!({"disk": "fast"}), "all".into()));
    let none =
        rendered(&json!({"placement": {"nodeSelector": {"for": "ledger"}, "client": {"nodeSelector": {}}}}));
    let client = sample::pod(sample::workload(&none, Component::Client).expect("a workload"));
    assert_eq!(client.node_selector, None, "none at all can be said too");
}

#[test]
fn the_client_is_tuned_by_a_closed_list_and_says_nothing_by_default() {
    let tuned = |tunables: Value| {
        let change = json!({"role": "Validator", "client": {"tunables": tunables}});
        let usual = arguments(&json!({"role": "Validator"}));
        let found = arguments(&change);
        assert!(usual.iter().all(|argument| found.contains(argument)), "{found:?}");
        found.into_iter().filter(|argument| !usual.contains(argument)).collect::<Vec<_>>()
    };
    let pool = json!({"accountSlots": 17, "globalSlots": 5000, "accountQueue": 65, "globalQueue": 2000,
        "lifetimeMinutes": 45});
    for (tunables, expected) in [
        (json!({}), [].as_slice()),
        (
            json!({"txPool": pool}),
            &[
                "--txpool.accountslots=17",
                "--txpool.globalslots=5000",
                "--txpool.accountqueue=65",
                "--txpool.globalqueue=2000",
                "--txpool.lifetime=45m",
            ],
        ),
        (
            json!({"minerGasTarget": 20_000_000, "minerGasLimit": 30_000_000}),
            &["--miner.gastarget=20000000", "--miner.gaslimit=30000000"],
        ),
        (json!({"logFormat": "Json"}), &["--log.json"]),
        // without callers
        (json!({"rpcTxFeeCap": 7}), &[]),
    ] {
        assert_eq!(tuned(tunables.clone()), expected, "{tunables}");
    }
    let member = arguments(&json!({"client": {"tunables": {"minerGasTarget": 20_000_000}}}));
    assert!(!member.iter().any(|argument| argument.contains("miner")), "{member:?}");
}

#[test]
fn what_a_transaction_may_cost_is_bounded_where_somebody_may_call() {
    let identity = json!({"serviceAccount": {"namespace": "shop", "name": "till"}});
    let node = with(
        sample::client_alone(),
        &json!({
            "rpc": {"callers": [sample::caller("till", &identity)]}, "client": {"tunables": {"rpcTxFeeCap": 7}},
        }),
    );
    let desired = sample::render(&alone(&node));
    let found = container(&desired, "client")["args"].to_string();
    assert!(found.contains("--rpc.txfeecap=7"), "{found}");
}

#[test]
fn labels_and_annotations_reach_pods_and_services_and_no_selector() {
    let notes = json!({"labels": {"team": "ledger"}, "annotations": {"example.org/why": "audit"}});
    let (usual, asked) =
        (rendered(&json!({})), rendered(&json!({"podMetadata": notes, "serviceMetadata": notes})));
    for (before, workload) in usual.workloads.iter().zip(&asked.workloads) {
        let (before, after) =
            (before.spec.as_ref().expect("a spec"), workload.spec.as_ref().expect("a spec"));
        assert_eq!(
            (&before.selector, &before.volume_claim_templates),
            (&after.selector, &after.volume_claim_templates)
        );
        let meta = after.template.metadata.clone().unwrap_or_default();
        assert_eq!(meta.labels.and_then(|mut labels| labels.remove("team")).as_deref(), Some("ledger"));
        assert_eq!(
            meta.annotations.and_then(|mut notes| notes.remove("example.org/why")).as_deref(),
            Some("audit")
        );
        assert_eq!(before.template.spec, after.template.spec);
    }
    for (before, service) in usual.services.iter().zip(&asked.services) {
        assert_eq!(before.spec, service.spec);
        let (labels, notes) = (service.metadata.labels.clone(), service.metadata.annotations.clone());
        assert_eq!(labels.and_then(|mut labels| labels.remove("team")).as_deref(), Some("ledger"));
        let notes = notes.unwrap_or_default();
        assert_eq!(notes.get("example.org/why").map(String::as_str), Some("audit"));
        assert!(notes.contains_key("quorum.security/notes"));
        assert!(!before.metadata.annotations.iter().flatten().any(|(key, _)| key.contains("notes")));
    }
}
