//! Digest of the certificates that a pod reads only at start. It is part of the pod template, so that a pod with other
//! certificates is outdated, and the rollout replaces it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use sha2::{Digest as _, Sha256};

use crate::model::{
    names::{self, Component, Purpose},
    secrets::tls::LeafFacts,
};

/// Whether a component reads the whole certificate only at start, or only the CAs that it trusts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Trust,
}

/// What a component reads only at start. geth reads its key pair at each handshake, but its root CAs at start;
/// quorum-guard reloads its files.
fn read_once(component: Component) -> &'static [(Purpose, Part)] {
    match component {
        Component::Client => &[(Purpose::Client, Part::Trust)],
        Component::TransactionManager => &[
            (Purpose::Manager, Part::All),
            (Purpose::ManagerPeers, Part::All),
            (Purpose::DatabaseClient, Part::All),
        ],
        Component::Database => &[(Purpose::Database, Part::All)],
    }
}

/// Value of the annotation on a template: `PURPOSE=DIGEST` entries in a fixed order.
pub(in crate::node) fn held(component: Component, certificates: &BTreeMap<Purpose, LeafFacts>) -> String {
    let entry = |(purpose, part): &(Purpose, Part)| {
        let facts = certificates.get(purpose)?;
        let own = Some(&facts.fingerprint).filter(|_| *part == Part::All);
        let listed: Vec<String> = own.into_iter().chain(&facts.trusted).map(ToString::to_string).collect();
        let digest: String =
            Sha256::digest(listed.join(",")).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{}={digest}", purpose.as_str()))
    };
    read_once(component).iter().filter_map(entry).collect::<Vec<_>>().join(",")
}

/// Writes the annotation into a workload's template, unless it is empty.
pub(super) fn name(workload: &mut StatefulSet, certificates: &BTreeMap<Purpose, LeafFacts>) {
    let label = workload.metadata.labels.as_ref().and_then(|labels| labels.get(names::COMPONENT));
    let component = Component::ALL.into_iter().find(|part| label.is_some_and(|label| label == part.as_str()));
    let held = component.map(|component| held(component, certificates)).filter(|held| !held.is_empty());
    if let (Some(held), Some(spec)) = (held, &mut workload.spec) {
        let annotations = spec.template.metadata.get_or_insert_default().annotations.get_or_insert_default();
        annotations.insert(names::CERTIFICATES.into(), held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secrets::{
        generate,
        tls::{self, Fingerprint},
    };

    fn fingerprint(name: &str) -> Fingerprint {
        let now = "2031-03-07T11:13:17Z".parse().expect("a time");
        tls::read_authority(&generate::authority(name, now).expect("an authority"))
            .expect("readable")
            .fingerprint
    }

    /// Annotations of a component before and after one of its certificates changes.
    fn differs(component: Component, purpose: Purpose, change: impl FnOnce(&mut LeafFacts)) -> bool {
        let sample = super::super::tests::member_certificates();
        let mut changed = sample.clone();
        change(changed.get_mut(&purpose).expect("a certificate"));
        held(component, &sample) != held(component, &changed)
    }

    #[test]
    fn a_renewal_concerns_whoever_reads_it_at_start_and_no_one_else() {
        let concerned = |purpose| {
            let other = fingerprint("other");
            let is = |part: &Component| differs(*part, purpose, |facts| facts.fingerprint = other.clone());
            Component::ALL.into_iter().filter(is).collect::<Vec<_>>()
        };
        let nobody = [Purpose::Metrics, Purpose::Rpc, Purpose::Client, Purpose::Probe];
        assert!(nobody.into_iter().all(|purpose| concerned(purpose).is_empty()));
        for purpose in [Purpose::Manager, Purpose::ManagerPeers, Purpose::DatabaseClient] {
            assert_eq!(concerned(purpose), [Component::TransactionManager], "{purpose:?}");
        }
        assert_eq!(concerned(Purpose::Database), [Component::Database]);
    }

    #[test]
    fn another_trusted_authority_concerns_the_client_too() {
        let more = fingerprint("more");
        let trusts =
            |component, purpose| differs(component, purpose, |facts| facts.trusted.extend([more.clone()]));
        assert!(trusts(Component::Client, Purpose::Client));
        assert!(trusts(Component::TransactionManager, Purpose::ManagerPeers));
        assert!(trusts(Component::Database, Purpose::Database));
        assert!(!trusts(Component::Client, Purpose::Metrics), "nobody is trusted there");
    }
}
