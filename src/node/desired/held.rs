//! What a pod holds of its certificates from start to end. Named in its template, so that a pod which holds
//! others is outdated and is replaced in its turn.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use sha2::{Digest as _, Sha256};

use crate::node::{
    names::{self, Component, Purpose},
    secrets::tls::LeafFacts,
};

/// Whether a pod holds the certificate itself, or only whom it trusts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Trust,
}

/// What a component reads once. geth reads its pair at each handshake and its root authorities at start;
/// quorum-guard reads its files again by itself.
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

/// As it stands in a template: `PURPOSE=DIGEST`, in order.
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

/// Writes it into a workload's template, where there is anything to write.
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
    use crate::node::secrets::{
        mint,
        tls::{self, Fingerprint},
    };

    fn fingerprint(name: &str) -> Fingerprint {
        let now = "2031-03-07T11:13:17Z".parse().expect("a time");
        tls::read_authority(&mint::authority(name, now).expect("an authority")).expect("readable").fingerprint
    }

    /// What a component says it holds, before and after one of its certificates is changed.
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
