//! Observes certificates: their Secrets, and what ports serve.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::Sources;
use crate::{
    api::tls::Tls,
    cluster::{
        Caches, ServedCertificates,
        secret_facts::{Fact, Question},
    },
    model::{
        names::{self, Component, Names, Purpose, secret_name},
        secrets::{
            InvalidContent,
            tls::{Fingerprint, LeafFacts},
        },
    },
    node::observed::Pod,
};

/// Facts from the Secret of each certificate.
pub(super) async fn certificates(
    sources: Sources<'_>,
    names: &Names,
    tls: &Tls,
) -> anyhow::Result<BTreeMap<Purpose, Result<LeafFacts, InvalidContent>>> {
    let mut certificates = BTreeMap::new();
    for purpose in Purpose::ALL {
        let name = secret_name(names, tls, purpose);
        if let Some(Fact::Certificate(facts)) =
            sources.secret(&names.namespace, &name, Question::Certificate).await?
        {
            certificates.insert(purpose, facts);
        }
    }
    Ok(certificates)
}

/// Renewal request that each certificate was issued for.
pub(super) fn made_for(caches: &Caches, names: &Names) -> BTreeMap<Purpose, String> {
    let of = |purpose| {
        let meta = caches.secret(&names.namespace, &names.certificate(purpose))?;
        Some((purpose, meta.annotations?.remove(names::MADE_FOR)?))
    };
    Purpose::ALL.into_iter().filter_map(of).collect()
}

/// Certificates that the current pods serve.
pub(super) fn presented(
    served: &ServedCertificates,
    names: &Names,
    pods: &BTreeMap<Component, Pod>,
) -> BTreeMap<Purpose, Fingerprint> {
    let of = |purpose: Purpose| {
        let pod = pods.get(&purpose.served()?.0)?;
        Some((purpose, served.of(&names.namespace, &names.node, purpose, &pod.uid)?))
    };
    Purpose::ALL.into_iter().filter_map(of).collect()
}

/// When each certificate's Secret was last written, by its managed fields or creation time.
pub(super) fn written(caches: &Caches, names: &Names, tls: &Tls) -> BTreeMap<Purpose, Timestamp> {
    let of = |purpose| {
        let meta = caches.secret(&names.namespace, &secret_name(names, tls, purpose))?;
        let times = meta.managed_fields.iter().flatten().filter_map(|entry| entry.time.clone());
        Some((purpose, times.chain(meta.creation_timestamp).max()?.0))
    };
    Purpose::ALL.into_iter().filter_map(of).collect()
}
