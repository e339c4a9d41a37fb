use std::collections::BTreeSet;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    policy_evaluator,
    sample::{self, alone, client_alone, external_with_password, managed, with},
    world,
};
use crate::{
    model::names::{self, Component},
    node::{
        desired::{Desired, Live, desired, tessera},
        validate::Validated,
    },
    protocol::database::SystemIdentifier,
};

fn names(desired: &Desired) -> Vec<String> {
    desired.workloads.iter().filter_map(|workload| workload.metadata.name.clone()).collect()
}

#[test]
fn a_node_has_the_workloads_it_names() {
    let rendered: Vec<_> = sample::network().iter().map(|node| names(&sample::render(node))).collect();
    assert_eq!(
        rendered,
        [
            vec!["alice-client", "alice-tm", "alice-tm-db"],
            vec!["bob-client", "bob-tm"],
            vec!["carol-client"],
            vec!["dave-client"],
            vec!["erin-client", "erin-tm"],
        ]
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for node in sample::network() {
        let text = |desired: Desired| format!("{desired:?}");
        assert_eq!(text(sample::render(&node)), text(sample::render(&node)), "{}", node.names.node);
    }
}

#[test]
fn a_client_is_first_written_when_every_other_node_can_be_dialled() {
    let mut nameless = client_alone();
    nameless["status"] = json!({});
    let node = sample::among(&managed(), &[nameless]);
    let rendered = |client_exists| {
        let live = Live { client_exists, client_stopped: false, ..Live::default() };
        names(&desired(&node, &sample::issued(&node), &world::render_config(), &live))
    };
    assert_eq!(rendered(false), ["alice-tm", "alice-tm-db"], "the list of whom to dial is read once");
    assert_eq!(
        rendered(true),
        ["alice-client", "alice-tm", "alice-tm-db"],
        "one that runs is not taken away"
    );
}

/// They record the admitted peers while the workload is deleted without its pod.
#[test]
fn lists_of_peers_come_with_their_client_and_stay() {
    let mut nameless = client_alone();
    nameless["status"] = json!({});
    let node = sample::among(&managed(), &[nameless]);
    let listed = |live: Live| {
        let desired = desired(&node, &sample::issued(&node), &world::render_config(), &live);
        let mut names = desired.config_maps.iter().filter_map(|map| map.metadata.name.as_deref());
        names.any(|name| name == "qn-alice-peers")
    };
    assert!(!listed(Live::default()));
    assert!(listed(Live { client_exists: true, ..Live::default() }));
    assert!(listed(Live { admitted_peers: Some(String::new()), ..Live::default() }));
}

#[test]
fn one_pod_at_a_time_and_never_by_the_workloads_own_rollout() {
    for node in sample::network() {
        for workload in sample::render(&node).workloads {
            let spec = workload.spec.expect("a spec");
            assert_eq!(spec.replicas, Some(1));
            assert_eq!(spec.update_strategy.and_then(|strategy| strategy.type_).as_deref(), Some("OnDelete"));
        }
    }
}

#[test]
fn data_outlives_the_workload_and_belongs_to_one_pod() {
    let node = alone(&sample::everything());
    for (component, size, class) in
        [(Component::Client, "77Gi", Some("fast")), (Component::Database, "10Gi", None)]
    {
        let desired = sample::render(&node);
        let spec =
            sample::workload(&desired, component).and_then(|one| one.spec.clone()).expect("a workload");
        let retention = spec.persistent_volume_claim_retention_policy.expect("a retention policy");
        assert_eq!(retention.when_deleted.as_deref(), Some("Retain"));
        assert_eq!(retention.when_scaled.as_deref(), Some("Retain"));
        let claims = spec.volume_claim_templates.expect("claims");
        let [claim] = claims.as_slice() else { panic!("one claim") };
        assert_eq!(claim.metadata.labels, Some(node.names.pod_labels(component)), "a template cannot change");
        let claim = claim.spec.clone().expect("a claim");
        assert_eq!(claim.access_modes, Some(vec!["ReadWriteOncePod".to_owned()]));
        assert_eq!(claim.storage_class_name.as_deref(), class);
        assert_eq!(claim.resources.and_then(|it| it.requests).expect("requests")["storage"].0, size);
    }
    let desired = sample::render(&node);
    let manager = sample::workload(&desired, Component::TransactionManager).expect("a manager");
    assert_eq!(manager.spec.as_ref().and_then(|spec| spec.volume_claim_templates.clone()), None);
}

/// For drivers that support no other mode.
#[test]
fn a_volume_may_belong_to_the_pods_of_one_host_where_that_is_asked_for() {
    let mut node = sample::everything();
    node["spec"]["client"]["storage"]["accessMode"] = "ReadWriteOnce".into();
    let desired = sample::render(&alone(&node));
    for (component, mode) in [(Component::Client, "ReadWriteOnce"), (Component::Database, "ReadWriteOncePod")]
    {
        let workload = sample::workload(&desired, component).expect("a workload");
        let claims =
            workload.spec.as_ref().and_then(|spec| spec.volume_claim_templates.clone()).expect("claims");
        let claim = claims[0].spec.clone().expect("a claim");
        assert_eq!(claim.access_modes, Some(vec![mode.to_owned()]), "{component:?}");
    }
}

#[test]
fn a_workload_selects_its_own_pod_among_all_others() {
    let rendered: Vec<_> = sample::network().iter().map(sample::render).collect();
    let workloads: Vec<_> = rendered.iter().flat_map(|desired| &desired.workloads).collect();
    for workload in &workloads {
        let selector = &workload.spec.as_ref().expect("a spec").selector;
        let selected: Vec<_> = workloads
            .iter()
            .filter(|other| {
                let labels = sample::template(other).metadata.as_ref().and_then(|it| it.labels.clone());
                policy_evaluator::selects(selector, &labels.unwrap_or_default())
            })
            .map(|other| &other.metadata.name)
            .collect();
        assert_eq!(selected, [&workload.metadata.name]);
    }
}

fn config_digest(node: &Validated, component: Component) -> String {
    let desired = sample::render(node);
    let workload = sample::workload(&desired, component).expect("the component");
    let metadata = sample::template(workload).metadata.clone().expect("metadata");
    metadata.annotations.expect("annotations")[names::CONFIG_DIGEST].clone()
}

fn template_differs(before: &Validated, after: &Validated, component: Component) -> bool {
    let rendered = [sample::render(before), sample::render(after)];
    let [before, after] = &rendered;
    let template = |desired| sample::workload(desired, component).map(sample::template);
    template(before) != template(after)
}

#[test]
fn a_peer_that_comes_or_goes_restarts_no_client() {
    let (before, after) = (alone(&client_alone()), sample::among(&client_alone(), &[managed()]));
    assert_ne!(before.peers.admitted_peers, after.peers.admitted_peers);
    assert!(!template_differs(&before, &after, Component::Client));
}

#[test]
fn what_is_read_at_start_is_in_the_digest() {
    let (managed, carol) = (alone(&managed()), alone(&client_alone()));
    let mut other_genesis = carol.clone();
    other_genesis.genesis.sha256 = "c1".repeat(32);
    assert_ne!(config_digest(&carol, Component::Client), config_digest(&other_genesis, Component::Client));
    let mut peered = managed.clone();
    peered.manager.as_mut().expect("a manager").outside = vec!["https://tm.rival.example:9000/".into()];
    assert_ne!(
        config_digest(&managed, Component::TransactionManager),
        config_digest(&peered, Component::TransactionManager),
        "a manager reads its peers once"
    );
    assert_eq!(config_digest(&managed, Component::Client), config_digest(&peered, Component::Client));
}

#[test]
fn hosts_are_chosen_as_the_spec_says() {
    for workload in sample::render(&alone(&sample::everything())).workloads {
        let pod = sample::pod(&workload);
        assert_eq!(
            pod.node_selector.as_ref().and_then(|it| it.get("pool")).map(String::as_str),
            Some("ledger")
        );
        let tolerations = serde_json::to_value(&pod.tolerations).expect("JSON");
        let wanted =
            json!([{"key": "dedicated", "operator": "Equal", "value": "ledger", "effect": "NoSchedule"}]);
        assert_eq!(tolerations, wanted);
    }
    let any = with(client_alone(), &json!({"placement": {"tolerations": [{"key": "dedicated"}]}}));
    let desired = sample::render(&alone(&any));
    let tolerations = serde_json::to_value(&sample::pod(&desired.workloads[0]).tolerations).expect("JSON");
    assert_eq!(tolerations, json!([{"key": "dedicated", "operator": "Exists"}]));
    let empty =
        with(client_alone(), &json!({"placement": {"tolerations": [{"key": "dedicated", "value": ""}]}}));
    let desired = sample::render(&sample::alone(&empty));
    let tolerations = serde_json::to_value(&sample::pod(&desired.workloads[0]).tolerations).expect("JSON");
    assert_eq!(tolerations, json!([{"key": "dedicated", "operator": "Equal"}]), "as the server keeps it");
}

#[test]
fn the_role_is_on_the_pod_and_not_on_what_cannot_change() {
    let desired = sample::render(&alone(&sample::validator()));
    let workload = &desired.workloads[0];
    let labels = sample::template(workload).metadata.clone().and_then(|it| it.labels).expect("labels");
    assert_eq!(labels[names::ROLE], "Validator");
    let selector = &workload.spec.as_ref().expect("a spec").selector;
    assert_eq!(selector.match_labels.as_ref().map(|labels| labels.contains_key(names::ROLE)), Some(false));
}

/// The digest of a node without other trusted CAs and with a managed database, from before there were other references.
#[test]
fn a_manager_without_references_keeps_the_digest_that_it_had() {
    let node = alone(&managed());
    assert!(node.manager.as_ref().is_some_and(|manager| manager.references.is_empty()));
    let text = tessera::configuration(&node, node.manager.as_ref().expect("a manager"), &BTreeSet::new())
        .to_string();
    let digest: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(config_digest(&node, Component::TransactionManager), digest);
}

#[test]
fn what_a_manager_reads_once_replaces_its_pod_and_no_other() {
    let before = alone(&external_with_password());
    let field = "spec.transactionManager.database.external.passwordRef";
    let references = |node: &Validated| node.manager.as_ref().expect("a manager").references.clone();
    assert_eq!(references(&before), [(field.to_owned(), "4711".to_owned())].into());
    for (field, version) in [
        (field, "4713"),
        ("spec.transactionManager.database.external.caRef", "c1"),
        ("spec.tls.trust[0].configMapRef", "c2"),
    ] {
        let mut after = before.clone();
        let manager = after.manager.as_mut().expect("a manager");
        manager.references.insert(field.into(), version.into());
        assert!(template_differs(&before, &after, Component::TransactionManager), "{field}");
        assert!(!template_differs(&before, &after, Component::Client), "{field}");
    }
}

/// Otherwise a database would be restarted when it is first observed.
#[test]
fn an_expected_database_reaches_its_pod_and_does_not_replace_it() {
    let expected = SystemIdentifier(7_713_822_710_339_601_900);
    for (node, file, line) in [
        (
            managed(),
            "passwd",
            format!("postgres:x:65532:65532:system-identifier={expected}:/data:/bin/false\n"),
        ),
        (external_with_password(), "system-identifier", expected.to_string()),
    ] {
        let before = alone(&node);
        let mut after = before.clone();
        after.manager.as_mut().expect("a manager").expected = Some(expected);
        for component in [Component::Client, Component::TransactionManager, Component::Database] {
            assert!(!template_differs(&before, &after, component), "{component:?}");
        }
        let written = |node: &Validated| {
            let name = Some(format!("qn-{}-tm-db", node.names.node));
            let maps = sample::render(node).config_maps;
            let map = maps.into_iter().find(|map| map.metadata.name == name).expect("the ConfigMap");
            map.data.expect("data")[file].clone()
        };
        assert!(written(&after).ends_with(&line), "{}", written(&after));
        assert!(!written(&before).contains(&expected.to_string()));
    }
    let container = sample::container(&alone(&managed()), Component::Database, "initialise");
    let mounted =
        container.volume_mounts.into_iter().flatten().find(|mount| mount.mount_path == "/etc/passwd");
    assert_eq!(mounted.and_then(|mount| mount.sub_path).as_deref(), Some("passwd"), "it sees that file");
}
