//! Custom resources of `quorum.security/v1alpha1`: the spec that users write and the status that they read.

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

/// The custom resource definitions, as `crds/` contains them and `quorum-operator crds` prints them.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![never_looks_finished(QuorumNode::crd())]
}

/// Gives a new object the status `observedGeneration: -1`. Without it, tools that read `observedGeneration` take a
/// new object for a finished one.
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

/// A definition as YAML, as in `crds/`.
///
/// # Errors
/// If the definition cannot be serialized; it is plain data, so this does not happen.
pub fn yaml(definition: &CustomResourceDefinition) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(definition)?)
}
