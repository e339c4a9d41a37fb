use k8s_openapi::api::{
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
};
use serde_json::json;

use super::*;
use crate::testing;

fn policy() -> NetworkPolicy {
    serde_json::from_value(json!({
        "metadata": {"name": "alice-deny", "namespace": "ledger", "labels": {"quorum.security/node": "alice"},
            "finalizers": [names::CLEANUP],
            "ownerReferences": [{"apiVersion": "quorum.security/v1alpha1", "kind": "QuorumNode", "name": "alice",
                "uid": "u1", "controller": true}]},
        "spec": {"podSelector": {"matchLabels": {"quorum.security/node": "alice"}}, "policyTypes": ["Ingress", "Egress"]},
    }))
    .expect("a policy")
}

/// A rendered object as the server stores it, with a change by another writer.
fn stored(rendered: &Rendered, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = rendered.body.clone();
    let stamp = format!("f:{}", names::DIGEST);
    object["metadata"]["managedFields"] = json!([
        {"manager": names::MANAGER, "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:annotations": {stamp: {}}}, "f:spec": {"f:podSelector": {}, "f:policyTypes": {}}}},
        {"manager": "kubectl-patch", "operation": "Update", "fieldsV1": {"f:spec": {"f:ingress": {}, "f:egress": {}}}},
        {"manager": "team-labels", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}},
    ]);
    change(&mut object);
    object
}

/// `kubectl patch netpol alice-deny -p '{"spec":{"ingress":[{}],"egress":[{}]}}'`: adds rules, and changes no rendered
/// field.
#[test]
fn rules_added_to_a_policy_are_drift_and_their_writer_is_named() {
    let rendered = Rendered::of(&policy()).expect("rendered");
    let opened = stored(&rendered, |object| {
        object["spec"]["ingress"] = json!([{}]);
        object["spec"]["egress"] = json!([{}]);
        object["metadata"]["labels"]["team"] = json!("ledger");
    });
    let content = Content::of("NetworkPolicy", opened);
    assert!(!content.is(&rendered) && !content.is_untouched());
    let drift = content.drift(&rendered).expect("drift");
    assert_eq!(drift.fields, ["spec.egress", "spec.ingress"]);
    assert_eq!(drift.managers, ["kubectl-patch"]);
    let seen = ObjectMeta {
        uid: Some("u7".into()),
        resource_version: Some("12".into()),
        finalizers: policy().metadata.finalizers,
        ..ObjectMeta::default()
    };
    assert_eq!(
        content.repair(&seen, &rendered),
        Some(
            json!({"metadata": {"uid": "u7", "resourceVersion": "12"}, "spec": {"ingress": null, "egress": null}})
        )
    );
}

#[test]
fn labels_of_others_are_theirs_and_ours_are_not() {
    let rendered = Rendered::of(&policy()).expect("rendered");
    let with = |label: &str, value: &str| {
        let object = stored(&rendered, |object| object["metadata"]["labels"][label] = json!(value));
        Content::of("NetworkPolicy", object).is(&rendered)
    };
    assert!(with("team", "ledger"));
    assert!(!with("quorum.security/node", "bob"));
    assert!(!with("quorum.security/more", "x"));
    assert!(!with("app.kubernetes.io/instance", "x"));
}

#[test]
fn our_finalizer_is_put_back_and_those_of_others_stay() {
    let rendered = Rendered::of(&policy()).expect("rendered");
    let listed = vec!["example.com/theirs".to_owned()];
    let object = stored(&rendered, |object| object["metadata"]["finalizers"] = json!(listed));
    let content = Content::of("NetworkPolicy", object);
    assert_eq!(content.drift(&rendered).expect("drift").fields, ["metadata.finalizers"]);
    let seen = ObjectMeta { finalizers: Some(listed), ..ObjectMeta::default() };
    let patch = content.repair(&seen, &rendered).expect("a patch");
    assert_eq!(patch["metadata"]["finalizers"], json!(["example.com/theirs", names::CLEANUP]));
}

#[test]
fn what_the_operator_rendered_before_is_no_drift_and_somebody_elses_stamp_is() {
    let before = Rendered::of(&policy()).expect("rendered");
    let mut wanted = policy();
    wanted.spec.iter_mut().for_each(|spec| spec.policy_types = Some(vec!["Ingress".into()]));
    let wanted = Rendered::of(&wanted).expect("rendered");
    let content = Content::of("NetworkPolicy", stored(&before, |_| {}));
    assert!(!content.is(&wanted));
    assert_eq!(content.drift(&wanted), None, "we write something else now");
    let forged = stored(&before, |object| {
        object["metadata"]["annotations"][names::DIGEST] = json!("00");
        object["metadata"]["managedFields"] = json!([{"manager": "forger", "operation": "Update",
            "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{}", names::DIGEST): {}}}}}]);
    });
    let content = Content::of("NetworkPolicy", forged);
    assert!(!content.is(&before));
    let drift = content.drift(&before).expect("drift");
    assert_eq!(
        (drift.fields, drift.managers),
        (vec!["metadata.annotations".to_owned()], vec!["forger".to_owned()])
    );
}

/// A second address family would expose the node a second time.
#[test]
fn only_the_first_address_of_a_service_is_the_servers() {
    let service: Service =
        serde_json::from_value(json!({"metadata": {"name": "alice-p2p", "namespace": "ledger"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 30303}]}}))
        .expect("a Service");
    let rendered = Rendered::of(&service).expect("rendered");
    let with = |spec: Value| {
        let object = stored(&rendered, |object| testing::server::merge_patch(&mut object["spec"], &spec));
        Content::of("Service", object).is(&rendered)
    };
    assert!(with(json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})));
    assert!(!with(json!({"clusterIPs": ["10.96.0.7", "fd00::7"]})));
    assert!(!with(json!({"ipFamilyPolicy": "PreferDualStack"})));
    assert!(!with(json!({"clusterIP": "None"})), "a headless one is another thing");
    assert!(!with(json!({"type": "NodePort"})));
    assert!(!with(json!({"externalIPs": ["192.0.2.7"]})));
}

#[test]
fn what_cannot_be_changed_is_known() {
    assert!(allowed::is_fixed("ConfigMap", "immutable"));
    assert!(allowed::is_fixed("StatefulSet", "spec.volumeClaimTemplates[0].spec.accessModes"));
    assert!(!allowed::is_fixed("StatefulSet", "spec.template.spec.containers"));
    assert!(!allowed::is_fixed("StatefulSet", "spec.serviceNameOrNot"));
}

/// An injected sidecar weakens a node, changed resource requests do not.
#[test]
fn what_a_webhook_may_write_is_a_closed_list() {
    for harmless in [
        "spec.template.spec.containers[0].resources.limits.cpu",
        "spec.template.spec.initContainers[1].resources",
        "spec.template.metadata.annotations",
        "spec.template.spec.tolerations",
    ] {
        assert!(!allowed::weakens("StatefulSet", harmless), "{harmless}");
    }
    for weakening in [
        "spec.template.spec.containers",
        "spec.template.spec.containers[0].securityContext.privileged",
        "spec.template.spec.containers[0].volumeMounts",
        "spec.template.spec.volumes",
        "spec.template.metadata.labels",
        "spec.template.spec.resources",
        "spec.template.spec.hostNetwork",
    ] {
        assert!(allowed::weakens("StatefulSet", weakening), "{weakening}");
    }
    assert!(allowed::weakens("NetworkPolicy", "spec.ingress"));
    assert!(!allowed::weakens("PodDisruptionBudget", "spec.minAvailable"));
}

/// Each entry hides a field from drift detection: a new one needs a reason, and a review of how it can be abused.
#[test]
fn the_list_of_what_may_differ_is_the_one_that_was_looked_at() {
    assert_eq!(allowed::ALLOWED.len(), 34);
    for entry in allowed::ALLOWED {
        assert!(entry.why.split_whitespace().count() >= 3, "{entry:?}");
        assert!(!entry.path.contains("**"), "{entry:?}");
    }
    for (path, why) in allowed::METADATA {
        assert!(path.starts_with("metadata.") && why.split_whitespace().count() >= 3, "{path}");
    }
    for kind in allowed::KINDS {
        assert!(allowed::of(kind).count() < 30, "{kind}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    let map = ConfigMap {
        data: Some([("password".to_owned(), "hunter2".to_owned())].into()),
        ..ConfigMap::default()
    };
    let rendered = Rendered::of(&map).expect("rendered");
    let mut live = rendered.body.clone();
    live["data"]["password"] = json!("hunter3");
    let content = Content::of("ConfigMap", live);
    let printed = format!("{rendered:?} {content:?} {:?}", content.drift(&rendered));
    assert!(!printed.contains("hunter"), "{printed}");
    assert!(printed.contains("data.password"), "the field is named: {printed}");
}
