//! What users write and what they read back: the kinds of `quorum.security/v1alpha1`.

pub mod client;
mod consensus;
pub mod node;
pub mod node_key;
pub mod parts;
pub mod placement;
pub mod rollout;
pub mod rpc;
pub mod status;
pub mod tls;
pub mod transaction_manager;

#[cfg(test)]
mod tests;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt as _;

pub use node::{QuorumNode, QuorumNodeSpec};
pub use status::QuorumNodeStatus;

/// The custom resource definitions, as `crds/` holds them and `quorum-operator crds` prints them.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![never_looks_finished(QuorumNode::crd())]
}

/// A new object has no status; tools that read `observedGeneration` would take that for "nothing to wait for".
fn never_looks_finished(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
        }
    }
    definition
}

/// A definition as the text that `crds/` holds.
///
/// # Errors
/// Never in practice: a definition is plain data.
pub fn yaml(definition: &CustomResourceDefinition) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(definition)?)
}
