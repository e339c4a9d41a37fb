//! Plans the deletion of a node: first its workloads and pods, then claims and Secrets that the spec does not retain,
//! then its network policies, and last the node.

use std::collections::BTreeSet;

use kube::{Resource as _, api::ObjectMeta};

use crate::{
    api::{
        QuorumNode,
        node::{DeletionPolicy, RetentionPolicy},
    },
    model::{
        decode::Decoded,
        names::{Component, Names},
        network_member,
    },
};

/// A node that is being deleted.
#[derive(Clone, Debug)]
pub struct DeletingNode {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Names of its objects. The network is empty where it is unknown because the node does not decode.
    pub names: Names,
    /// What to delete with it; retains everything where the node does not decode.
    pub policy: DeletionPolicy,
    /// Whether the operator generated its key.
    pub keeps_key: bool,
}

impl DeletingNode {
    /// From a node, whether it decodes or not. `None` where it has no namespace.
    #[must_use]
    pub fn of(node: &Decoded<QuorumNode>) -> Option<Self> {
        let meta = node.meta().clone();
        let names = Names {
            node: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone()?,
            network: network_member::network(node).unwrap_or_default().to_owned(),
        };
        let (policy, keeps_key) = match &node.0 {
            Ok(read) => (read.spec.deletion_policy.clone(), read.spec.adopted_key().is_none()),
            Err(undecodable) => {
                (DeletionPolicy::default(), undecodable.spec["nodeKey"]["secretRef"].is_null())
            }
        };
        Some(Self { meta, names, policy, keeps_key })
    }

    /// Whether an object belongs to this node: the node owns it, or no node does any more. An object of a later node
    /// with the same name does not belong to it.
    #[must_use]
    pub fn has(&self, child: &ObjectMeta) -> bool {
        owners(child).next().is_none() || is_owned(child, &self.meta)
    }
}

fn owners(child: &ObjectMeta) -> impl Iterator<Item = &str> {
    let listed = child.owner_references.iter().flatten();
    listed.filter(|owner| owner.kind == QuorumNode::kind(&())).map(|owner| owner.uid.as_str())
}

fn is_owned(child: &ObjectMeta, by: &ObjectMeta) -> bool {
    owners(child).any(|uid| Some(uid) == by.uid.as_deref())
}

/// Remaining objects of a node that is being deleted.
#[derive(Clone, Debug, Default)]
pub struct Remaining {
    /// Its workloads that are not being deleted yet.
    pub workloads: Vec<ObjectMeta>,
    /// Names of its pods.
    pub pods: BTreeSet<String>,
    /// Those of its pods that have no controller and are not being deleted: their StatefulSet was removed to be
    /// recreated.
    pub unmanaged: Vec<ObjectMeta>,
    /// Its network policies with the operator's finalizer.
    pub policies: Vec<ObjectMeta>,
    /// Whether the namespace is being deleted, including the operator's permissions in it.
    pub namespace_ends: bool,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Delete these StatefulSets.
    EndWorkloads(Vec<ObjectMeta>),
    /// Evict these pods, which have no controller.
    EndPods(Vec<ObjectMeta>),
    /// Wait until these pods are gone.
    AwaitPods(BTreeSet<String>),
    /// Delete claims and Secrets that the spec does not retain, then remove the finalizers of the policies and the
    /// node.
    RemoveFinalizers(Deletions, Vec<ObjectMeta>),
}

/// Names of the claims and Secrets to delete, which cannot be generated again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Secrets with keys that the operator generated.
    pub secrets: Vec<String>,
    /// Volume claims.
    pub claims: Vec<String>,
}

/// The next step of a node's deletion.
#[must_use]
pub fn next(node: &DeletingNode, remains: Remaining) -> Step {
    if is_orphaning(&node.meta, remains.workloads.iter().chain(&remains.policies)) {
        return Step::RemoveFinalizers(Deletions::default(), remains.policies);
    }
    if !remains.workloads.is_empty() && !remains.namespace_ends {
        return Step::EndWorkloads(remains.workloads);
    }
    if !remains.unmanaged.is_empty() && !remains.namespace_ends {
        return Step::EndPods(remains.unmanaged);
    }
    if !remains.pods.is_empty() {
        return Step::AwaitPods(remains.pods);
    }
    // deleting the namespace deletes everything in it
    let deletions = if remains.namespace_ends { Deletions::default() } else { not_retained(node) };
    Step::RemoveFinalizers(deletions, remains.policies)
}

/// Whether the node is deleted with `--cascade=orphan`: its children then stay as they are, without an operator. The
/// garbage collector may already have removed their owner references and its finalizer on the node.
fn is_orphaning<'a>(node: &ObjectMeta, mut children: impl Iterator<Item = &'a ObjectMeta>) -> bool {
    node.finalizers.iter().flatten().any(|finalizer| finalizer == "orphan")
        || children.any(|child| !is_owned(child, node))
}

fn not_retained(node: &DeletingNode) -> Deletions {
    let (policy, names) = (&node.policy, &node.names);
    let mut deletions = Deletions::default();
    if policy.keys == RetentionPolicy::Delete {
        deletions.secrets.push(names.node_authority());
        if node.keeps_key {
            deletions.secrets.push(names.node_key());
        }
    }
    if policy.data == RetentionPolicy::Delete {
        deletions.claims = [Component::Client, Component::Database].map(|part| names.claim(part)).to_vec();
    }
    deletions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::specs;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn node(change: impl FnOnce(&mut serde_json::Value)) -> DeletingNode {
        let mut node = specs::smallest("alice");
        change(&mut node);
        node["metadata"]["uid"] = "u1".into();
        DeletingNode::of(&serde_json::from_value(node).expect("a node")).expect("in a namespace")
    }

    fn owned_by(uid: &str) -> ObjectMeta {
        let owner =
            OwnerReference { uid: uid.into(), kind: "QuorumNode".into(), ..OwnerReference::default() };
        ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }

    #[test]
    fn what_a_node_owns_or_nobody_is_its_own_and_nothing_of_one_that_was_made_since() {
        let node = node(|_| {});
        assert!(node.has(&owned_by("u1")) && node.has(&ObjectMeta::default()));
        assert!(!node.has(&owned_by("u2")));
        // a pod, which its workload owns
        let mut pod = owned_by("u2");
        pod.owner_references.iter_mut().flatten().for_each(|owner| owner.kind = "StatefulSet".into());
        assert!(node.has(&pod));
    }

    /// Its deletion policy is unknown; users can still delete retained objects themselves.
    #[test]
    fn of_a_node_that_cannot_be_read_everything_is_retained() {
        let both = serde_json::json!({"keys": "Delete", "data": "Delete"});
        let poison = node(|node| {
            node["spec"]["deletionPolicy"] = both;
            node["spec"]["client"] = 1.into();
        });
        assert_eq!(not_retained(&poison), Deletions::default());
        assert_eq!((poison.names.network.as_str(), poison.keeps_key), ("acme", true));
        assert_eq!(node(|node| node["spec"] = 1.into()).names.network, "");
    }

    fn remains() -> Remaining {
        Remaining {
            workloads: vec![owned_by("u1")],
            pods: ["alice-client-0".to_owned()].into(),
            unmanaged: vec![],
            policies: vec![owned_by("u1")],
            namespace_ends: false,
        }
    }

    #[test]
    fn what_runs_ends_first_and_what_closes_it_goes_last() {
        let node = node(|_| {});
        assert!(matches!(next(&node, remains()), Step::EndWorkloads(_)));
        let alone = Remaining { workloads: vec![], unmanaged: vec![ObjectMeta::default()], ..remains() };
        assert!(matches!(next(&node, alone), Step::EndPods(_)));
        let pods_left = Remaining { workloads: vec![], ..remains() };
        assert!(matches!(next(&node, pods_left), Step::AwaitPods(_)));
        let nothing_runs = Remaining { workloads: vec![], pods: BTreeSet::new(), ..remains() };
        let Step::RemoveFinalizers(deletions, policies) = next(&node, nothing_runs) else {
            panic!("it goes")
        };
        assert_eq!((deletions, policies.len()), (Deletions::default(), 1));
    }

    /// Deleting the namespace deletes the workloads, and the operator has lost its permissions.
    #[test]
    fn in_a_namespace_that_ends_only_the_pods_are_waited_for() {
        let node = node(|node| {
            node["spec"]["deletionPolicy"] = serde_json::json!({"keys": "Delete", "data": "Delete"});
        });
        let ends = || Remaining { namespace_ends: true, ..remains() };
        assert!(matches!(next(&node, ends()), Step::AwaitPods(_)));
        let nothing_runs = Remaining { pods: BTreeSet::new(), ..ends() };
        let Step::RemoveFinalizers(deletions, policies) = next(&node, nothing_runs) else {
            panic!("it goes")
        };
        assert_eq!((deletions, policies.len()), (Deletions::default(), 1));
    }

    #[test]
    fn an_orphaning_deletion_leaves_everything() {
        let mut node = node(|node| node["spec"]["deletionPolicy"] = serde_json::json!({"data": "Delete"}));
        let cut_loose = Remaining { workloads: vec![ObjectMeta::default()], ..remains() };
        let Step::RemoveFinalizers(deletions, _) = next(&node, cut_loose) else { panic!("it goes") };
        assert_eq!(deletions, Deletions::default());
        let alone = Remaining { workloads: vec![], policies: vec![ObjectMeta::default()], ..remains() };
        assert!(
            matches!(next(&node, alone), Step::RemoveFinalizers(..)),
            "its workloads are away, its policies say so"
        );
        node.meta.finalizers = Some(vec!["orphan".into()]);
        let Step::RemoveFinalizers(deletions, _) = next(&node, remains()) else { panic!("it goes") };
        assert_eq!(deletions, Deletions::default());
    }

    #[test]
    fn only_what_the_spec_names_is_deleted_and_never_an_adopted_key() {
        let both = serde_json::json!({"keys": "Delete", "data": "Delete"});
        let generated = node(|node| node["spec"]["deletionPolicy"] = both.clone());
        let deletions = not_retained(&generated);
        assert_eq!(deletions.secrets, ["qn-alice-ca", "qn-alice-nodekey"]);
        assert_eq!(deletions.claims, ["data-alice-client-0", "data-alice-tm-db-0"]);
        let adopted = node(|node| {
            node["spec"]["deletionPolicy"] = both;
            node["spec"]["nodeKey"] = serde_json::json!({"secretRef": {"name": "mine", "key": "nodekey"}});
        });
        assert_eq!(not_retained(&adopted).secrets, ["qn-alice-ca"]);
    }
}
