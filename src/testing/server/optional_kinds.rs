//! Third-party kinds, whose CRDs can be installed and removed.

use std::{collections::BTreeSet, sync::Mutex};

use serde_json::{Value, json};

use super::{Call, Refusal, Server, life, lock};

/// Group and version, kind, plural name.
const KINDS: [(&str, &str, &str); 2] = [
    ("cert-manager.io/v1", "Certificate", "certificates"),
    ("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
];

/// Groups and versions of [`KINDS`] that are installed.
#[derive(Default)]
pub(super) struct ServedCertificates(Mutex<BTreeSet<String>>);

impl Clone for ServedCertificates {
    fn clone(&self) -> Self {
        Self(Mutex::new(lock(&self.0).clone()))
    }
}

impl ServedCertificates {
    pub(super) fn unknown(&self, call: &Call) -> Option<Refusal> {
        let group = &call.target.group_version;
        let is_optional = KINDS.iter().any(|(listed, ..)| listed == group);
        // a real server answers in plain text, and the client reports this reason
        let reason = "Failed to parse error data";
        let unknown = is_optional && !lock(&self.0).contains(group);
        unknown.then(|| Refusal::new(404, reason, "404 page not found"))
    }
}

/// Discovery document of a group and version.
pub(super) fn resources(group_version: &str) -> Value {
    let of_group = KINDS.iter().filter(|(group, ..)| *group == group_version);
    let resource = |(_, kind, plural): &(_, &str, &str)| json!({"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"]});
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": of_group.map(resource).collect::<Vec<_>>()})
}

impl Server {
    /// Serves an optional group and version, as after its CRDs are installed.
    pub fn learn(&self, group_version: &str) {
        lock(&self.served.0).insert(group_version.to_owned());
    }

    /// Stops serving an optional group and version: deletes its objects and ends its watches.
    pub fn unlearn(&self, group_version: &str) {
        let mut state = lock(&self.state);
        let of_group =
            state.all().map(|(target, _)| target).filter(|target| target.group_version == group_version);
        for target in of_group.cloned().collect::<Vec<_>>() {
            let _ = state.delete(&target, &json!({}));
        }
        life::live(&mut state);
        lock(&self.served.0).remove(group_version);
        state.watches.retain(|watch| watch.call.target.group_version != group_version);
    }
}
