//! Keys, authorities and certificates: made where they are missing or due. What has been made once and
//! cannot be made again is created, never applied.

use std::collections::{BTreeMap, btree_map::Entry};

use anyhow::Context as _;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{ResourceExt as _, api::ObjectMeta};

use super::{
    apply::Applier,
    desired::{
        Issued,
        certificates::{self, Authority},
    },
    names::{self, Names, Purpose},
    observed::Observed,
    rotation,
    secrets::{
        Data, mint,
        tls::{self, Decision, LeafFacts, MintReason, Signing},
    },
    validate::Validated,
};
use crate::cluster::{caches::find, facts::read_secret};

/// Makes sure of everything secret. `None` where something was just created and has to be seen first.
///
/// # Errors
/// Where the server refuses, or no key can be made.
pub async fn issue(
    applier: &mut Applier<'_>,
    node: &Validated,
    observed: &Observed,
    now: Timestamp,
) -> anyhow::Result<Option<Issued>> {
    let names = &node.names;
    let mut created = false;
    if node.identity.is_none() {
        let meta = names.unowned(names.node_key(), names.component_labels(names::Component::Client));
        applier.create_once(&secret(meta, mint::node_key()?, true)).await?;
        created = true;
    }
    let mut authorities =
        vec![(names.network_authority(), &observed.network_authority, names.network_labels())];
    if node.manager.is_some() {
        authorities.push((names.node_authority(), &observed.node_authority, names.labels()));
    }
    for (name, lineage, labels) in authorities {
        if let Some(number) = rotation::due(lineage, now) {
            let common_name = format!("{} {name}", names.namespace);
            let data = mint::authority(&common_name, now)?;
            let meta = names.unowned(Names::generation(&name, number), labels);
            applier.create_once(&secret(meta, data, true)).await?;
            created = true;
        }
    }
    let (Some(identity), false) = (&node.identity, created) else { return Ok(None) };
    let usable = |(purpose, read): (&Purpose, &Result<LeafFacts, _>)| Some((*purpose, read.clone().ok()?));
    let mut certificates: BTreeMap<_, _> = observed.certificates.iter().filter_map(usable).collect();
    let asked = asked(observed);
    let mut wanted = certificates::wanted(node);
    // read once for all that they sign now, and dropped with it
    let mut authorities = BTreeMap::new();
    for (purpose, signing, reason) in due(node, observed, now) {
        let place = names.meta(names.certificate(purpose), names.labels(), &node.owner);
        if !applier.may_remake(&Secret { metadata: place, ..Secret::default() }) {
            continue;
        }
        tracing::info!(node = names.node, namespace = names.namespace, purpose = purpose.as_str(), %reason, "certificate is made");
        let wanted = wanted.remove(&purpose).context("a certificate nobody wants")?;
        let name = Names::generation(&authority_name(node, wanted.authority)?, signing.generation);
        let authority = match authorities.entry(name) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let read = authority(applier, node, unknown.key()).await?;
                unknown.insert(read)
            }
        };
        let data = mint::trusting(mint::leaf(authority, &wanted.request, now)?, &signing.trusted);
        certificates.insert(purpose, renew(applier, node, (purpose, asked), data).await?);
    }
    let network_authorities = tls::bundle(rotation::made_known(&observed.network_authority, now));
    Ok(Some(Issued { identity: identity.clone(), network_authorities, certificates }))
}

/// What whoever asks for new certificates has written. The value says nothing: another one asks again.
fn asked(observed: &Observed) -> Option<&String> {
    observed.node.annotations().get(names::RENEW)
}

/// Certificates that must be made, by whom, and why. Pure.
#[must_use]
pub fn due(node: &Validated, observed: &Observed, now: Timestamp) -> Vec<(Purpose, Signing, MintReason)> {
    let wanted = certificates::wanted(node);
    let by = |authority| rotation::of(node, observed, authority, now);
    let (network, own) = (by(Authority::Network), by(Authority::Node));
    wanted
        .into_iter()
        .filter_map(|(purpose, wanted)| {
            let signing = match wanted.authority {
                Authority::Network => network.as_ref()?,
                Authority::Node => own.as_ref()?,
                Authority::Requested | Authority::Provided => return None,
            };
            let existing = observed.certificates.get(&purpose);
            let made_for = observed.made_for.get(&purpose);
            let reason = match tls::decide(&wanted.request, signing, existing, now, &node.owner.uid) {
                Decision::Keep => asked(observed)
                    .is_some_and(|asked| made_for != Some(asked))
                    .then_some(MintReason::Asked)?,
                Decision::Mint(reason) => reason,
            };
            Some((purpose, signing.clone(), reason))
        })
        .collect()
}

fn authority_name(node: &Validated, authority: Authority) -> anyhow::Result<String> {
    match authority {
        Authority::Network => Ok(node.names.network_authority()),
        Authority::Node => Ok(node.names.node_authority()),
        Authority::Requested | Authority::Provided => {
            anyhow::bail!("somebody else's certificate is not made")
        }
    }
}

/// An authority with its key.
async fn authority(applier: &Applier<'_>, node: &Validated, name: &str) -> anyhow::Result<Data> {
    let gone = || format!("Secret {name} is gone");
    let meta = find(&applier.caches.secrets, &node.names.namespace, name).with_context(gone)?;
    read_secret(applier.client, &meta).await?.with_context(gone)
}

/// Writes what was just signed, and notes on the Secret who asked for it: a restart neither forgets that nor
/// repeats it.
async fn renew(
    applier: &mut Applier<'_>,
    node: &Validated,
    (purpose, asked): (Purpose, Option<&String>),
    data: Data,
) -> anyhow::Result<LeafFacts> {
    let facts = tls::read_leaf(&data).context("the certificate just made")?;
    let mut meta = node.names.meta(node.names.certificate(purpose), node.names.labels(), &node.owner);
    meta.annotations = asked.map(|asked| BTreeMap::from([(names::MADE_FOR.to_owned(), asked.clone())]));
    applier.secret(&secret(meta, data, false)).await?;
    Ok(facts)
}

fn secret(metadata: ObjectMeta, data: Data, immutable: bool) -> Secret {
    Secret {
        metadata,
        type_: Some("Opaque".into()),
        immutable: immutable.then_some(true),
        data: Some(BTreeMap::from_iter(data)),
        ..Secret::default()
    }
}
