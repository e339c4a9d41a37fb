use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::sample;
use crate::model::names;

/// Kind, name and uid of an owner, and whether it is the controller.
fn short(owner: &OwnerReference) -> (&str, &str, &str, bool) {
    assert_eq!(owner.api_version, "quorum.security/v1alpha1");
    (&owner.kind, &owner.name, &owner.uid, owner.controller == Some(true))
}

fn is_shared(metadata: &ObjectMeta) -> bool {
    matches!(metadata.name.as_deref(), Some("qnet-acme-ca" | "qnet-acme-validators"))
}

#[test]
fn every_object_of_a_node_is_controlled_by_it_and_goes_with_it() {
    for node in sample::network() {
        let name = &node.names.node;
        let uid = format!("uid-{name}");
        let owned =
            sample::objects(sample::render(&node)).into_iter().filter(|(_, metadata)| !is_shared(metadata));
        for (kind, metadata) in owned {
            let owners = metadata.owner_references.unwrap_or_default();
            let owners: Vec<_> = owners.iter().map(short).collect();
            assert_eq!(
                owners,
                [("QuorumNode", name.as_str(), uid.as_str(), true)],
                "{kind} {:?}",
                metadata.name
            );
        }
    }
}

#[test]
fn every_object_carries_the_labels_by_which_it_is_found() {
    for node in sample::network() {
        for (kind, metadata) in sample::objects(sample::render(&node)) {
            let labels = metadata.labels.clone().unwrap_or_default();
            let label = |key: &str| labels.get(key).map(String::as_str);
            let of = format!("{kind} {:?}", metadata.name);
            assert_eq!(metadata.namespace.as_deref(), Some("ledger"), "{of}");
            assert_eq!(label(names::MANAGED_BY), Some("quorum-operator"), "{of}");
            assert_eq!(label("app.kubernetes.io/part-of"), Some("quorum"), "{of}");
            assert_eq!(label(names::NETWORK), Some("acme"), "{of}");
            let own = (!is_shared(&metadata)).then_some(node.names.node.as_str());
            assert_eq!(label(names::NODE), own, "{of}");
            assert_eq!(label("app.kubernetes.io/instance"), own, "{of}");
        }
    }
}

#[test]
fn what_belongs_to_a_component_says_so() {
    for node in sample::network() {
        let of_components = ["ServiceAccount", "Service", "StatefulSet", "Secret"];
        for (kind, metadata) in sample::objects(sample::render(&node)) {
            let labels = metadata.labels.clone().unwrap_or_default();
            let component = labels.get(names::COMPONENT).cloned();
            assert_eq!(labels.get("app.kubernetes.io/component"), component.as_ref());
            assert_eq!(labels.contains_key("app.kubernetes.io/name"), component.is_some());
            if of_components.contains(&kind) {
                assert!(component.is_some(), "{kind} {:?}", metadata.name);
            }
        }
    }
}

#[test]
fn what_a_network_shares_is_owned_by_all_its_nodes_and_controlled_by_none() {
    let expected = ["alice", "bob", "carol", "dave", "erin"];
    let mut written = Vec::new();
    for node in sample::network() {
        let desired = sample::render(&node);
        let shared: Vec<_> = desired.config_maps.into_iter().filter(|map| is_shared(&map.metadata)).collect();
        let [shared] = shared.as_slice() else { panic!("one shared ConfigMap") };
        let owners = shared.metadata.owner_references.clone().unwrap_or_default();
        let owners: Vec<_> = owners.iter().map(short).collect();
        let uids = expected.map(|name| format!("uid-{name}"));
        let wanted: Vec<_> = expected
            .iter()
            .zip(&uids)
            .map(|(name, uid)| ("QuorumNode", *name, uid.as_str(), false))
            .collect();
        assert_eq!(owners, wanted);
        written.push(shared.clone());
    }
    assert!(
        written.windows(2).all(|pair| pair[0] == pair[1]),
        "all nodes write the same, or they would fight"
    );
}

#[test]
fn one_account_for_each_workload_without_a_token() {
    for node in sample::network() {
        let desired = sample::render(&node);
        let accounts: Vec<_> =
            desired.accounts.iter().map(|account| account.metadata.name.as_deref()).collect();
        let used: Vec<_> = desired
            .workloads
            .iter()
            .map(|workload| sample::pod(workload).service_account_name.as_deref())
            .collect();
        assert_eq!(accounts, used);
        assert!(
            desired.accounts.iter().all(|account| account.automount_service_account_token == Some(false))
        );
    }
}
