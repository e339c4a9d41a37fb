//! Keys, authorities and certificates: made where they are missing or due. What has been made once and
//! cannot be made again is created, never applied.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{ResourceExt as _, api::ObjectMeta};

use super::{
    apply::Applier,
    desired::{
        Issued,
        certificates::{self, Authority, Wanted},
    },
    names::{self, Purpose},
    observed::{Found, Observed},
    secrets::{
        Data, mint,
        tls::{self, AuthorityFacts, Decision, LeafFacts, MintReason},
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
    for (name, found, labels) in authorities {
        if let Found::Missing = found {
            let common_name = format!("{} {name}", names.namespace);
            let data = mint::authority(&common_name, now)?;
            applier.create_once(&secret(names.unowned(name, labels), data, true)).await?;
            created = true;
        }
    }
    let (Some(identity), Found::Is(network), false) = (&node.identity, &observed.network_authority, created)
    else {
        return Ok(None);
    };
    let usable = |(purpose, read): (&Purpose, &Result<LeafFacts, _>)| Some((*purpose, read.clone().ok()?));
    let mut certificates: BTreeMap<_, _> = observed.certificates.iter().filter_map(usable).collect();
    let asked = asked(observed);
    for (purpose, reason) in due(node, observed, now) {
        let place = names.meta(names.certificate(purpose), names.labels(), &node.owner);
        if !applier.may_remake(&Secret { metadata: place, ..Secret::default() }) {
            continue;
        }
        tracing::info!(node = names.node, namespace = names.namespace, purpose = purpose.as_str(), %reason, "certificate is made");
        certificates.insert(purpose, renew(applier, node, (purpose, asked), now).await?);
    }
    Ok(Some(Issued { identity: identity.clone(), network_authority: network.clone(), certificates }))
}

/// What whoever asks for new certificates has written. The value says nothing: another one asks again.
fn asked(observed: &Observed) -> Option<&String> {
    observed.node.annotations().get(names::RENEW)
}

/// Certificates that must be made, and why. Pure.
#[must_use]
pub fn due(node: &Validated, observed: &Observed, now: Timestamp) -> Vec<(Purpose, MintReason)> {
    let wanted = certificates::wanted(node);
    wanted
        .into_iter()
        .filter_map(|(purpose, wanted)| {
            let authority = authority_of(&wanted, observed)?;
            let existing = observed.certificates.get(&purpose);
            let made_for = observed.made_for.get(&purpose);
            match tls::decide(&wanted.request, authority, existing, now, &node.owner.uid) {
                Decision::Keep => asked(observed)
                    .is_some_and(|asked| made_for != Some(asked))
                    .then_some((purpose, MintReason::Asked)),
                Decision::Mint(reason) => Some((purpose, reason)),
            }
        })
        .collect()
}

fn authority_of<'a>(wanted: &Wanted, observed: &'a Observed) -> Option<&'a AuthorityFacts> {
    match wanted.authority {
        Authority::Network => observed.network_authority.usable(),
        Authority::Node => observed.node_authority.usable(),
        Authority::Provided => None,
    }
}

/// Signs anew, and notes on the Secret who asked for it: a restart neither forgets that nor repeats it. The
/// authority's key is read for this alone and dropped.
async fn renew(
    applier: &mut Applier<'_>,
    node: &Validated,
    (purpose, asked): (Purpose, Option<&String>),
    now: Timestamp,
) -> anyhow::Result<LeafFacts> {
    let mut wanted = certificates::wanted(node);
    let wanted = wanted.remove(&purpose).context("a certificate nobody wants")?;
    let name = match wanted.authority {
        Authority::Network => node.names.network_authority(),
        Authority::Node => node.names.node_authority(),
        Authority::Provided => anyhow::bail!("a certificate that somebody else provides is not made"),
    };
    let meta = find(&applier.caches.secrets, &node.names.namespace, &name)
        .with_context(|| format!("Secret {name} is gone"))?;
    let authority =
        read_secret(applier.client, &meta).await?.with_context(|| format!("Secret {name} is gone"))?;
    let data = mint::leaf(&authority, &wanted.request, now)?;
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
