//! Observes third-party objects of the node: Certificates of cert-manager and PodMonitors.

use std::collections::BTreeMap;

use kube::{ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{
    api::QuorumNode,
    cluster::{Caches, Known},
    model::{
        lookup::Seen,
        names::{Names, Purpose},
        optional_kinds,
        third_party::{Certificate, Said},
    },
    node::observed::Request,
};

/// Maximum number of characters of a third-party message.
const WORDS: usize = 300;

pub(super) fn requests(
    caches: &Caches,
    node: &QuorumNode,
    names: &Names,
) -> Seen<BTreeMap<Purpose, Request>> {
    if optional_kinds::asks_cert_manager(node) {
        caches.certificates.ask();
    }
    let store = match caches.certificates.known() {
        Known::NotYet => return Seen::NotYet,
        Known::Missing => return Seen::Missing,
        Known::There(store) => store,
    };
    let of = |purpose| {
        let certificate = store.get(&ObjectRef::new(&names.requested(purpose)).within(&names.namespace))?;
        is_owned(&*certificate, node).then(|| (purpose, request(&certificate)))
    };
    Seen::Present(Purpose::ALL.into_iter().filter_map(of).collect())
}

/// Whether the node's PodMonitor exists.
pub(super) fn monitor(caches: &Caches, node: &QuorumNode, names: &Names) -> Seen<bool> {
    if optional_kinds::asks_monitoring(node) {
        caches.monitors.ask();
    }
    match caches.monitors.known() {
        Known::NotYet => Seen::NotYet,
        Known::Missing => Seen::Missing,
        Known::There(store) => {
            let found = store.get(&ObjectRef::new(&names.metrics_service()).within(&names.namespace));
            Seen::Present(found.is_some_and(|found| is_owned(&*found, node)))
        }
    }
}

fn is_owned(object: &impl kube::Resource, node: &QuorumNode) -> bool {
    object.owner_references().iter().any(|owner| Some(&owner.uid) == node.uid().as_ref())
}

fn request(certificate: &Certificate) -> Request {
    let conditions = certificate.status.iter().flat_map(|status| &status.conditions);
    let find =
        |kind: &str, status: &str| conditions.clone().find(|said| said.kind == kind && said.status == status);
    let words = |said: Option<&Said>| {
        said.map(|said| said.message.chars().take(WORDS).collect::<String>()).unwrap_or_default()
    };
    let (issuing, failed) = (find("Issuing", "True"), find("Issuing", "False"));
    let said = words(issuing.or(failed).or_else(|| find("Ready", "False")));
    Request { issuing: issuing.is_some(), failed: failed.is_some(), said }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(conditions: serde_json::Value) -> Request {
        let certificate = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {},
            "spec": {}, "status": {"conditions": conditions}});
        request(&serde_json::from_value(certificate).expect("a Certificate"))
    }

    #[test]
    fn what_cert_manager_says_is_told_in_its_words_and_not_at_length() {
        let ready = json!({"type": "Ready", "status": "False", "message": "not there"});
        let issuing = |status: &str| json!({"type": "Issuing", "status": status, "message": "x".repeat(999)});
        let of = |issuing, failed, said: String| Request { issuing, failed, said };
        assert_eq!(said(json!([])), Request::default());
        assert_eq!(said(json!([ready])), of(false, false, "not there".into()));
        assert_eq!(said(json!([ready, issuing("True")])), of(true, false, "x".repeat(300)));
        assert_eq!(said(json!([ready, issuing("False")])), of(false, true, "x".repeat(300)));
    }
}
