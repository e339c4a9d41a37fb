//! Secrets that cannot be generated again: node keys and certificate authorities (CAs). A finalizer preserves their
//! content when a user deletes one, and they carry no label by which other tools claim objects.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::names::{self, MANAGED_BY};

/// Labels that earlier versions put on them. Other tools track objects by these labels and delete those that they no
/// longer render.
const COMMON: [&str; 5] = [
    MANAGED_BY,
    "app.kubernetes.io/instance",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/component",
    "app.kubernetes.io/name",
];

/// Merge patch for a Secret's metadata; `None` where nothing is to change, where the Secret is being deleted, so that
/// no finalizer can be added any more, or where another object controls it.
#[must_use]
pub fn change(meta: &ObjectMeta) -> Option<Value> {
    let is_controlled = meta.owner_references.iter().flatten().any(|owner| owner.controller == Some(true));
    if meta.deletion_timestamp.is_some() || is_controlled {
        return None;
    }
    let managed = meta.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    let mut change = json!({});
    if managed.is_some_and(|by| by == names::MANAGER) {
        change["labels"] = COMMON.iter().map(|label| ((*label).to_owned(), Value::Null)).collect();
    }
    if !has_finalizer(meta) {
        let listed = meta.finalizers.iter().flatten().map(String::as_str);
        change["finalizers"] = listed.chain([names::CLEANUP]).collect();
    }
    change.as_object().is_some_and(|change| !change.is_empty()).then_some(change)
}

/// Whether an object has the operator's finalizer.
#[must_use]
pub fn has_finalizer(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == names::CLEANUP)
}

/// Whether the object is being deleted and still has the operator's finalizer.
#[must_use]
pub fn is_deleted(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some() && has_finalizer(meta)
}

/// Whether a Secret has the name of a generation of a CA.
#[must_use]
pub fn is_generation(authority: &str, name: &str) -> bool {
    let number = name.strip_prefix(authority).and_then(|rest| rest.strip_prefix('-'));
    name == authority || number.is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number > 1))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
        jiff::Timestamp,
    };

    use super::*;

    fn meta(labels: &[(&str, &str)], finalizers: &[&str]) -> ObjectMeta {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ObjectMeta {
            labels: Some(labels),
            finalizers: Some(finalizers.iter().map(|one| (*one).to_owned()).collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_an_earlier_version_made_is_held_and_loses_the_labels_of_others_once() {
        let earlier = meta(&[(names::NODE, "alice"), (MANAGED_BY, names::MANAGER)], &["x/y"]);
        let change = change(&earlier).expect("a change");
        assert_eq!(change["finalizers"], json!(["x/y", "quorum.security/cleanup"]));
        let labels = change["labels"].as_object().expect("labels");
        assert!(labels.len() == 5 && labels.values().all(Value::is_null), "{labels:?}");
        assert!(labels.contains_key("app.kubernetes.io/instance"));
        assert_eq!(super::change(&meta(&[(names::NODE, "alice")], &[names::CLEANUP])), None);
    }

    #[test]
    fn labels_that_somebody_else_has_put_there_stay() {
        let restored = meta(&[(MANAGED_BY, "Helm")], &[]);
        assert_eq!(change(&restored), Some(json!({"finalizers": ["quorum.security/cleanup"]})));
    }

    #[test]
    fn what_is_being_deleted_or_is_controlled_by_something_else_is_left() {
        let deleted = |finalizers: &[&str]| ObjectMeta {
            deletion_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
            ..meta(&[], finalizers)
        };
        assert_eq!(change(&deleted(&[])), None);
        assert!(is_deleted(&deleted(&[names::CLEANUP])) && !is_deleted(&deleted(&["x/y"])));
        assert!(!is_deleted(&meta(&[], &[names::CLEANUP])));
        let owner = OwnerReference { controller: Some(true), ..OwnerReference::default() };
        assert_eq!(change(&ObjectMeta { owner_references: Some(vec![owner]), ..meta(&[], &[]) }), None);
    }

    #[test]
    fn a_generation_is_told_from_what_is_called_alike() {
        for name in ["qn-alice-ca", "qn-alice-ca-2", "qn-alice-ca-17"] {
            assert!(is_generation("qn-alice-ca", name), "{name}");
        }
        for name in ["qn-alice-ca-1", "qn-alice-ca-", "qn-alice-ca-ca", "qn-alice-ca2", "qn-alice"] {
            assert!(!is_generation("qn-alice-ca", name), "{name}");
        }
    }
}
