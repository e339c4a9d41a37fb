//! Checks pods against the restricted Pod Security profile with the API server.

use serde_json::Value;

use crate::support::{
    kubectl,
    network::{self, NAMESPACE},
};

/// Sends a copy of a stored pod of each role to a namespace that enforces the profile.
#[test]
fn a_stored_pod_of_each_role_passes_the_restricted_profile() {
    network::ready();
    let namespace = kubectl::get(&["namespace", NAMESPACE]);
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    for pod in ["alice-client-0", "alice-tm-0", "alice-tm-db-0"] {
        let again = |change: &dyn Fn(&mut Value)| {
            let mut stored = kubectl::get(&["-n", NAMESPACE, "pod", pod]);
            let mut spec = stored["spec"].take();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("ephemeralContainers");
                spec.remove("nodeName");
            }
            change(&mut spec);
            let copy = serde_json::json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{pod}-copy"), "namespace": NAMESPACE}, "spec": spec});
            kubectl::run(&["create", "--dry-run=server", "-f", "-"], &copy.to_string())
        };
        let output = again(&|_| {});
        assert!(output.status.success(), "{pod}: {}", String::from_utf8_lossy(&output.stderr));
        let output =
            again(&|spec| spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("PodSecurity"), "the profile is enforced: {said}");
    }
}
