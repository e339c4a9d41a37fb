//! What is seen of certificates: their Secrets, and what is served.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::Sources;
use crate::{
    api::tls::Tls,
    cluster::{
        Caches, Served,
        facts::{Fact, Question},
    },
    node::{
        desired::certificates::secret_name,
        names::{self, Component, Names, Purpose},
        observed::Pod,
        secrets::{
            Unusable,
            tls::{Fingerprint, LeafFacts},
        },
    },
};

/// What each certificate's Secret proves.
pub(super) async fn certificates(
    sources: Sources<'_>,
    names: &Names,
    tls: &Tls,
) -> anyhow::Result<BTreeMap<Purpose, Result<LeafFacts, Unusable>>> {
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

/// What each of ours was made for.
pub(super) fn made_for(caches: &Caches, names: &Names) -> BTreeMap<Purpose, String> {
    let of = |purpose| {
        let meta = caches.secret(&names.namespace, &names.certificate(purpose))?;
        Some((purpose, meta.annotations?.remove(names::MADE_FOR)?))
    };
    Purpose::ALL.into_iter().filter_map(of).collect()
}

/// What the pods that are there were seen to present.
pub(super) fn presented(
    served: &Served,
    names: &Names,
    pods: &BTreeMap<Component, Pod>,
) -> BTreeMap<Purpose, Fingerprint> {
    let of = |purpose: Purpose| {
        let pod = pods.get(&purpose.served()?.0)?;
        Some((purpose, served.of(&names.namespace, &names.node, purpose, &pod.uid)?))
    };
    Purpose::ALL.into_iter().filter_map(of).collect()
}

/// When each certificate's Secret was last written, as far as the server says.
pub(super) fn written(caches: &Caches, names: &Names, tls: &Tls) -> BTreeMap<Purpose, Timestamp> {
    let of = |purpose| {
        let meta = caches.secret(&names.namespace, &secret_name(names, tls, purpose))?;
        let times = meta.managed_fields.iter().flatten().filter_map(|entry| entry.time.clone());
        Some((purpose, times.chain(meta.creation_timestamp).max()?.0))
    };
    Purpose::ALL.into_iter().filter_map(of).collect()
}
