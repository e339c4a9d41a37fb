//! The end of a node, step by step: what runs, then what is not kept, then what closes it, then the node.

use std::collections::BTreeSet;

use kube::{Resource as _, api::ObjectMeta};

use super::{
    names::{self, Component, Names},
    sibling,
};
use crate::{
    api::{
        QuorumNode,
        node::{DeletionPolicy, Fate},
    },
    cluster::guard::Guard,
};

/// A node that is being deleted: all that its end depends on.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Names of its objects. Of one that cannot be read the network may be unknown, and is empty then.
    pub names: Names,
    /// What is to be deleted with it. What cannot be read is retained.
    pub policy: DeletionPolicy,
    /// Whether its key is the operator's to keep.
    pub keeps_key: bool,
}

impl Ending {
    /// Of a node, whether it can be read or not. `None` where it is in no namespace.
    #[must_use]
    pub fn of(node: &Guard<QuorumNode>) -> Option<Self> {
        let meta = node.meta().clone();
        let names = Names {
            node: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone()?,
            network: sibling::network(node).unwrap_or_default().to_owned(),
        };
        let (policy, keeps_key) = match &node.0 {
            Ok(read) => (read.spec.deletion_policy.clone(), read.spec.adopted_key().is_none()),
            Err(unreadable) => (DeletionPolicy::default(), unreadable.spec["nodeKey"]["secretRef"].is_null()),
        };
        Some(Self { meta, names, policy, keeps_key })
    }

    /// Whether an object is this node's: it owns it, or nobody does any more. One that a node of the same name owns which
    /// was made since is not.
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

/// What is left of a node that is being deleted.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Its workloads that are not being deleted yet.
    pub workloads: Vec<ObjectMeta>,
    /// Names of its pods.
    pub pods: BTreeSet<String>,
    /// Those of its pods that nothing manages any more, and that are not ending: what managed them was taken
    /// away to be made anew.
    pub unmanaged: Vec<ObjectMeta>,
    /// Its policies that wait for us.
    pub policies: Vec<ObjectMeta>,
    /// Whether the whole namespace is being deleted, and with it what allows us to write there.
    pub namespace_ends: bool,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ends what runs.
    EndWorkloads(Vec<ObjectMeta>),
    /// Ends pods that nothing else would end.
    EndPods(Vec<ObjectMeta>),
    /// Waits until these pods are gone.
    AwaitPods(BTreeSet<String>),
    /// Deletes what the spec does not retain, lets the policies go, then the node.
    LetGo(Kept, Vec<ObjectMeta>),
}

/// What cannot be made again and is to be deleted, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Secrets with keys that the operator made.
    pub secrets: Vec<String>,
    /// Volume claims.
    pub claims: Vec<String>,
}

/// Whether a node waits for us before it goes.
#[must_use]
pub fn waits(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == names::CLEANUP)
}

/// What comes next for a node that is being deleted.
#[must_use]
pub fn next(node: &Ending, remains: Remains) -> Step {
    if is_orphaning(&node.meta, remains.workloads.iter().chain(&remains.policies)) {
        return Step::LetGo(Kept::default(), remains.policies);
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
    // a namespace that ends takes everything with it
    let kept = if remains.namespace_ends { Kept::default() } else { not_retained(node) };
    Step::LetGo(kept, remains.policies)
}

/// `--cascade=orphan`: the children stay as they are, without an operator. The garbage collector may have cut
/// them loose, and taken its mark off the node, before we look.
fn is_orphaning<'a>(node: &ObjectMeta, mut children: impl Iterator<Item = &'a ObjectMeta>) -> bool {
    node.finalizers.iter().flatten().any(|finalizer| finalizer == "orphan")
        || children.any(|child| !is_owned(child, node))
}

fn not_retained(node: &Ending) -> Kept {
    let (policy, names) = (&node.policy, &node.names);
    let mut kept = Kept::default();
    if policy.keys == Fate::Delete {
        kept.secrets.push(names.node_authority());
        if node.keeps_key {
            kept.secrets.push(names.node_key());
        }
    }
    if policy.data == Fate::Delete {
        kept.claims = [Component::Client, Component::Database].map(|part| names.claim(part)).to_vec();
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::specs;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn node(change: impl FnOnce(&mut serde_json::Value)) -> Ending {
        let mut node = specs::smallest("alice");
        change(&mut node);
        node["metadata"]["uid"] = "u1".into();
        Ending::of(&serde_json::from_value(node).expect("a node")).expect("in a namespace")
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
        // a pod, by its workload
        let mut pod = owned_by("u2");
        pod.owner_references.iter_mut().flatten().for_each(|owner| owner.kind = "StatefulSet".into());
        assert!(node.has(&pod));
    }

    /// Nobody knows what it asks for: what is kept can still be deleted by hand.
    #[test]
    fn of_a_node_that_cannot_be_read_everything_is_retained() {
        let both = serde_json::json!({"keys": "Delete", "data": "Delete"});
        let poison = node(|node| {
            node["spec"]["deletionPolicy"] = both;
            node["spec"]["client"] = 1.into();
        });
        assert_eq!(not_retained(&poison), Kept::default());
        assert_eq!((poison.names.network.as_str(), poison.keeps_key), ("acme", true));
        assert_eq!(node(|node| node["spec"] = 1.into()).names.network, "");
    }

    fn remains() -> Remains {
        Remains {
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
        let alone = Remains { workloads: vec![], unmanaged: vec![ObjectMeta::default()], ..remains() };
        assert!(matches!(next(&node, alone), Step::EndPods(_)));
        let pods_left = Remains { workloads: vec![], ..remains() };
        assert!(matches!(next(&node, pods_left), Step::AwaitPods(_)));
        let nothing_runs = Remains { workloads: vec![], pods: BTreeSet::new(), ..remains() };
        let Step::LetGo(kept, policies) = next(&node, nothing_runs) else { panic!("it goes") };
        assert_eq!((kept, policies.len()), (Kept::default(), 1));
    }

    /// The namespace's own deletion ends the workloads, and we may not.
    #[test]
    fn in_a_namespace_that_ends_only_the_pods_are_waited_for() {
        let node = node(|node| {
            node["spec"]["deletionPolicy"] = serde_json::json!({"keys": "Delete", "data": "Delete"});
        });
        let ends = || Remains { namespace_ends: true, ..remains() };
        assert!(matches!(next(&node, ends()), Step::AwaitPods(_)));
        let nothing_runs = Remains { pods: BTreeSet::new(), ..ends() };
        let Step::LetGo(kept, policies) = next(&node, nothing_runs) else { panic!("it goes") };
        assert_eq!((kept, policies.len()), (Kept::default(), 1));
    }

    #[test]
    fn an_orphaning_deletion_leaves_everything() {
        let mut node = node(|node| node["spec"]["deletionPolicy"] = serde_json::json!({"data": "Delete"}));
        let cut_loose = Remains { workloads: vec![ObjectMeta::default()], ..remains() };
        let Step::LetGo(kept, _) = next(&node, cut_loose) else { panic!("it goes") };
        assert_eq!(kept, Kept::default());
        let alone = Remains { workloads: vec![], policies: vec![ObjectMeta::default()], ..remains() };
        assert!(matches!(next(&node, alone), Step::LetGo(..)), "its workloads are away, its policies say so");
        node.meta.finalizers = Some(vec!["orphan".into()]);
        let Step::LetGo(kept, _) = next(&node, remains()) else { panic!("it goes") };
        assert_eq!(kept, Kept::default());
    }

    #[test]
    fn only_what_the_spec_names_is_deleted_and_never_an_adopted_key() {
        let both = serde_json::json!({"keys": "Delete", "data": "Delete"});
        let minted = node(|node| node["spec"]["deletionPolicy"] = both.clone());
        let kept = not_retained(&minted);
        assert_eq!(kept.secrets, ["qn-alice-ca", "qn-alice-nodekey"]);
        assert_eq!(kept.claims, ["data-alice-client-0", "data-alice-tm-db-0"]);
        let adopted = node(|node| {
            node["spec"]["deletionPolicy"] = both;
            node["spec"]["nodeKey"] = serde_json::json!({"secretRef": {"name": "mine", "key": "nodekey"}});
        });
        assert_eq!(not_retained(&adopted).secrets, ["qn-alice-ca"]);
    }
}
