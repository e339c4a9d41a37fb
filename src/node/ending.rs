//! The end of a node, step by step: what runs, then what is not kept, then what closes it, then the node.

use std::collections::BTreeSet;

use kube::api::ObjectMeta;

use super::names::{self, Component, Names};
use crate::api::{QuorumNode, node::Fate};

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
pub fn next(node: &QuorumNode, names: &Names, remains: Remains) -> Step {
    if is_orphaning(&node.metadata, remains.workloads.iter().chain(&remains.policies)) {
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
    let kept = if remains.namespace_ends { Kept::default() } else { not_retained(node, names) };
    Step::LetGo(kept, remains.policies)
}

/// `--cascade=orphan`: the children stay as they are, without an operator. The garbage collector may have cut
/// them loose, and taken its mark off the node, before we look.
fn is_orphaning<'a>(node: &ObjectMeta, mut children: impl Iterator<Item = &'a ObjectMeta>) -> bool {
    let owned = |child: &ObjectMeta| {
        child.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == node.uid.as_ref())
    };
    node.finalizers.iter().flatten().any(|finalizer| finalizer == "orphan")
        || children.any(|child| !owned(child))
}

fn not_retained(node: &QuorumNode, names: &Names) -> Kept {
    let policy = &node.spec.deletion_policy;
    let mut kept = Kept::default();
    if policy.keys == Fate::Delete {
        kept.secrets.push(names.node_authority());
        if node.spec.adopted_key().is_none() {
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

    fn node(change: impl FnOnce(&mut serde_json::Value)) -> (QuorumNode, Names) {
        let mut node = specs::smallest("alice");
        change(&mut node);
        node["metadata"]["uid"] = "u1".into();
        let names = Names { node: "alice".into(), namespace: "ledger".into(), network: "acme".into() };
        (serde_json::from_value(node).expect("a node"), names)
    }

    fn owned_by(uid: &str) -> ObjectMeta {
        let owner = OwnerReference { uid: uid.into(), ..OwnerReference::default() };
        ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() }
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
        let (node, names) = node(|_| {});
        assert!(matches!(next(&node, &names, remains()), Step::EndWorkloads(_)));
        let alone = Remains { workloads: vec![], unmanaged: vec![ObjectMeta::default()], ..remains() };
        assert!(matches!(next(&node, &names, alone), Step::EndPods(_)));
        let pods_left = Remains { workloads: vec![], ..remains() };
        assert!(matches!(next(&node, &names, pods_left), Step::AwaitPods(_)));
        let nothing_runs = Remains { workloads: vec![], pods: BTreeSet::new(), ..remains() };
        let Step::LetGo(kept, policies) = next(&node, &names, nothing_runs) else { panic!("it goes") };
        assert_eq!((kept, policies.len()), (Kept::default(), 1));
    }

    /// The namespace's own deletion ends the workloads, and we may not.
    #[test]
    fn in_a_namespace_that_ends_only_the_pods_are_waited_for() {
        let (node, names) = node(|node| {
            node["spec"]["deletionPolicy"] = serde_json::json!({"keys": "Delete", "data": "Delete"});
        });
        let ends = || Remains { namespace_ends: true, ..remains() };
        assert!(matches!(next(&node, &names, ends()), Step::AwaitPods(_)));
        let nothing_runs = Remains { pods: BTreeSet::new(), ..ends() };
        let Step::LetGo(kept, policies) = next(&node, &names, nothing_runs) else { panic!("it goes") };
        assert_eq!((kept, policies.len()), (Kept::default(), 1));
    }

    #[test]
    fn an_orphaning_deletion_leaves_everything() {
        let (mut node, names) =
            node(|node| node["spec"]["deletionPolicy"] = serde_json::json!({"data": "Delete"}));
        let cut_loose = Remains { workloads: vec![owned_by("u0")], ..remains() };
        let Step::LetGo(kept, _) = next(&node, &names, cut_loose) else { panic!("it goes") };
        assert_eq!(kept, Kept::default());
        let alone = Remains { workloads: vec![], policies: vec![owned_by("u0")], ..remains() };
        assert!(
            matches!(next(&node, &names, alone), Step::LetGo(..)),
            "its workloads are away, its policies say so"
        );
        node.metadata.finalizers = Some(vec!["orphan".into()]);
        let Step::LetGo(kept, _) = next(&node, &names, remains()) else { panic!("it goes") };
        assert_eq!(kept, Kept::default());
    }

    #[test]
    fn only_what_the_spec_names_is_deleted_and_never_an_adopted_key() {
        let both = serde_json::json!({"keys": "Delete", "data": "Delete"});
        let (minted, names) = node(|node| node["spec"]["deletionPolicy"] = both.clone());
        let kept = not_retained(&minted, &names);
        assert_eq!(kept.secrets, ["qn-alice-ca", "qn-alice-nodekey"]);
        assert_eq!(kept.claims, ["data-alice-client-0", "data-alice-tm-db-0"]);
        let (adopted, names) = node(|node| {
            node["spec"]["deletionPolicy"] = both;
            node["spec"]["nodeKey"] = serde_json::json!({"secretRef": {"name": "mine", "key": "nodekey"}});
        });
        assert_eq!(not_retained(&adopted, &names).secrets, ["qn-alice-ca"]);
    }
}
