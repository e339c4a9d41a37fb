//! Validates labels and annotations in the spec. Rejects those of Kubernetes and the operator, which selectors and
//! policies use, and annotations that may weaken a pod's security.

use crate::{
    api::{QuorumNodeSpec, parts::Notes},
    model::{
        fault::{Fault, Reason},
        names,
    },
};

/// Checks the labels and annotations for pods and Services.
pub(super) fn check(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    for (field, notes) in [("podMetadata", &spec.pod_metadata), ("serviceMetadata", &spec.service_metadata)] {
        let wrong = wrong(notes).map(|(kind, key, remedy)| {
            Fault::new(Reason::InvalidField, format!("spec.{field}.{kind}"), key, remedy)
        });
        faults.extend(wrong);
    }
}

/// Invalid labels and annotations: `labels` or `annotations`, the key, and what is wrong.
fn wrong(notes: &Notes) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
    let labels = notes.labels.iter().filter_map(|(key, value)| {
        let why = spelling(key).or_else(|| owned_label(key)).or_else(|| {
            let is_value = value.is_empty() || is_name(value);
            (!is_value).then_some("the label's value must be empty, or consist of letters, digits, '-', '_' and '.', and begin and end with a letter or digit")
        });
        Some(("labels", key.as_str(), why?))
    });
    let annotations = notes.annotations.keys().filter_map(|key| {
        Some(("annotations", key.as_str(), spelling(key).or_else(|| owned_annotation(key))?))
    });
    labels.chain(annotations)
}

fn owned_label(key: &str) -> Option<&'static str> {
    let prefix = prefix(key);
    let is_theirs = ["kubernetes.io", "k8s.io"].iter().any(|theirs| {
        prefix == *theirs || prefix.strip_suffix(theirs).is_some_and(|rest| rest.ends_with('.'))
    });
    let is_owned = key.starts_with(names::OURS)
        || is_theirs
        || ["controller-revision-hash", "pod-template-hash"].contains(&key);
    is_owned.then_some("the operator or Kubernetes reserves this label: choose another key")
}

fn owned_annotation(key: &str) -> Option<&'static str> {
    let prefix = prefix(key);
    if key.starts_with(names::OURS)
        || ["kubectl.kubernetes.io", "statefulset.kubernetes.io"].contains(&prefix)
    {
        return Some("the operator or Kubernetes reserves this annotation: choose another key");
    }
    let weakens = prefix.split('.').any(|part| part == "security");
    weakens.then_some("this annotation may weaken the pod's security: remove the annotation")
}

fn prefix(key: &str) -> &str {
    key.split_once('/').map_or("", |(prefix, _)| prefix)
}

/// What is wrong with the form of a key, by the server's rules.
fn spelling(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_domain = |prefix: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        };
        prefix.len() <= 253 && prefix.split('.').all(is_label)
    };
    let is_spelt = is_name(name) && prefix.is_none_or(is_domain);
    (!is_spelt).then_some(
        "this is not a valid key: write a name such as team, or a prefix and a name such as example.org/team",
    )
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().all(|byte| inner(*byte)) && ends(bytes.first()) && ends(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(key: &str, value: &str) -> bool {
        let notes = Notes { labels: [(key.to_owned(), value.to_owned())].into(), ..Notes::default() };
        wrong(&notes).next().is_none()
    }

    fn annotates(key: &str) -> bool {
        let notes =
            Notes { annotations: [(key.to_owned(), "any text: {}".into())].into(), ..Notes::default() };
        wrong(&notes).next().is_none()
    }

    #[test]
    fn keys_of_the_operator_and_of_kubernetes_are_refused() {
        for label in [
            "quorum.security/node",
            "quorum.security/component",
            "app.kubernetes.io/name",
            "kubernetes.io/os",
            "node.k8s.io/x",
            "statefulset.kubernetes.io/pod-name",
            "controller-revision-hash",
            "pod-template-hash",
        ] {
            assert!(!labels(label, "x"), "{label}");
        }
        for annotation in [
            "quorum.security/config-digest",
            "kubectl.kubernetes.io/restartedAt",
            "container.apparmor.security.beta.kubernetes.io/client",
            "seccomp.security.alpha.kubernetes.io/pod",
        ] {
            assert!(!annotates(annotation), "{annotation}");
        }
        for fine in ["team", "example.org/cost-centre", "notkubernetes.io/x", "my.quorum.security.org/x"] {
            assert!(labels(fine, "a.b_C-1"), "{fine}");
        }
        for fine in ["prometheus.io/scrape", "cluster-autoscaler.kubernetes.io/safe-to-evict", "team"] {
            assert!(annotates(fine), "{fine}");
        }
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_here() {
        for key in ["", "/x", "x/", "a/b/c", "Upper.org/x", "-x", "x-", "a b", "ex..org/x", &"x".repeat(64)] {
            assert!(!labels(key, "x") && !annotates(key), "{key:?}");
        }
        for value in ["-x", "x.", "a b", "a/b", &"x".repeat(64)] {
            assert!(!labels("team", value), "{value:?}");
        }
        assert!(labels("team", "") && labels("team", &"x".repeat(63)));
    }
}
