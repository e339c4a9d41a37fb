//! Keys, authorities and certificates: made where they are missing or due. What has been made once and
//! cannot be made again is created, never applied.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use anyhow::Context as _;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Client, Resource as _, ResourceExt as _, api::ObjectMeta};

use super::{
    apply::Applier,
    desired::{
        Issued,
        certificates::{self, Authority},
    },
    kept,
    names::{self, Names, Purpose},
    observed::{Generation, Observed},
    rotation,
    secrets::{
        Data, mint,
        tls::{self, AuthorityFacts, Decision, KeyAlgorithm, LeafFacts, LeafRequest, MintReason, Signing},
    },
    validate::{Validated, names_of},
};
use crate::cluster::facts::{self, Fact, Question, read_secret};

/// What came of looking for keys and authorities that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// None is.
    Nothing,
    /// Some were made, and are known as the server holds them.
    Known,
    /// Someone else was first. What is theirs has to be seen.
    Theirs,
}

/// Makes the keys and authorities that are missing, or due. They are seen from then on.
///
/// # Errors
/// Where the server refuses, or no key can be made.
pub async fn create(
    applier: &mut Applier<'_>,
    node: &Validated,
    observed: &mut Observed,
    now: Timestamp,
) -> anyhow::Result<Created> {
    let names = &node.names;
    let mut created = Created::Nothing;
    let mut note = |known: bool| {
        created = if known && created != Created::Theirs { Created::Known } else { Created::Theirs };
    };
    if node.identity.is_none() {
        let meta = lasting(names, names.node_key(), names.lasting_labels());
        let key = secret(meta, mint::node_key()?, true);
        let fact = applier.create_once(&key, Question::NodeKey(mint::NODE_KEY.into())).await?;
        note(fact.is_some());
        if fact.is_some() {
            observed.node_key = facts::node_key(fact);
            observed.chain_data_exists = None;
        }
    }
    let network = BTreeMap::from([(names::NETWORK.to_owned(), names.network.clone())]);
    let mut authorities = vec![(names.network_authority(), &mut observed.network_authority, network)];
    if node.manager.is_some() {
        authorities.push((names.node_authority(), &mut observed.node_authority, names.lasting_labels()));
    }
    // one that was deleted can be put back meanwhile
    if applier.frozen && applier.established {
        authorities.clear();
    }
    for (name, lineage, labels) in authorities {
        if let Some(number) = rotation::due(lineage, now) {
            let common_name = format!("{} {name}", names.namespace);
            let data = mint::authority(&common_name, now)?;
            let meta = lasting(names, Names::generation(&name, number), labels);
            let fact = applier.create_once(&secret(meta, data, true), Question::Authority).await?;
            note(fact.is_some());
            if fact.is_some() {
                let authority = facts::authority(fact);
                lineage.0.push(Generation { number, authority, rotate: false });
            }
        }
    }
    Ok(created)
}

/// Makes sure of every certificate. `None` where there is no key yet.
///
/// # Errors
/// Where the server refuses, or no certificate can be made.
pub async fn issue(
    applier: &mut Applier<'_>,
    node: &Validated,
    observed: &mut Observed,
    now: Timestamp,
) -> anyhow::Result<Option<Issued>> {
    let names = &node.names;
    let Some(identity) = &node.identity else { return Ok(None) };
    let mut wanted = certificates::wanted(node);
    let mut keys = Keys::default();
    for (purpose, signing, reason) in due(node, observed, now) {
        let wanted = wanted.remove(&purpose).context("a certificate nobody wants")?;
        let authority = match wanted.authority {
            Authority::Network => names.network_authority(),
            Authority::Node => names.node_authority(),
            Authority::Requested | Authority::Provided => {
                anyhow::bail!("somebody else's certificate is not made")
            }
        };
        let authority = Names::generation(&authority, signing.generation);
        let order = Order { purpose, reason, authority, request: wanted.request, trusted: signing.trusted };
        if let Some(made) = keys.make(applier, observed, order, now).await? {
            observed.certificates.insert(purpose, Ok(made));
            observed.written.insert(purpose, now);
        }
    }
    let usable = |(purpose, read): (&Purpose, &Result<LeafFacts, _>)| Some((*purpose, read.clone().ok()?));
    let certificates = observed.certificates.iter().filter_map(usable).collect();
    let network_authorities = tls::bundle(rotation::made_known(&observed.network_authority, now));
    Ok(Some(Issued { identity: identity.clone(), network_authorities, certificates }))
}

/// Makes anew what a node that stalls has and needs.
///
/// # Errors
/// Where the server refuses, or no key can be made.
pub async fn keep(applier: &mut Applier<'_>, observed: &Observed, now: Timestamp) -> anyhow::Result<()> {
    let mut keys = Keys::default();
    for order in kept::due(observed, now) {
        keys.make(applier, observed, order, now).await?;
    }
    Ok(())
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

/// What is to be signed, and by whom.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the certificate is for.
    pub purpose: Purpose,
    /// Why it is made.
    pub reason: MintReason,
    /// The Secret of whoever signs.
    pub authority: String,
    /// What it is to say.
    pub request: LeafRequest,
    /// Whom its holder is to trust.
    pub trusted: Vec<AuthorityFacts>,
}

/// Authorities with their keys: each is read once for all that it signs in a pass, and dropped with it.
#[derive(Default)]
struct Keys(BTreeMap<String, Arc<Data>>);

impl Keys {
    /// By name: one that was just made is in no cache yet.
    async fn of(&mut self, client: &Client, namespace: &str, name: String) -> anyhow::Result<Arc<Data>> {
        match self.0.entry(name) {
            Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            Entry::Vacant(unknown) => {
                let data = read_secret(client, namespace, unknown.key()).await?;
                let data = data.with_context(|| format!("Secret {} is gone", unknown.key()))?;
                Ok(Arc::clone(unknown.insert(Arc::new(data))))
            }
        }
    }

    /// Signs anew, and notes on the Secret who asked for it: a restart neither forgets that nor repeats it. What
    /// the server holds then; `None` where someone fights over the Secret.
    async fn make(
        &mut self,
        applier: &mut Applier<'_>,
        observed: &Observed,
        order: Order,
        now: Timestamp,
    ) -> anyhow::Result<Option<LeafFacts>> {
        let names = names_of(observed);
        let owner = observed.node.controller_owner_ref(&()).unwrap_or_default();
        let mut meta = names.meta(names.certificate(order.purpose), names.labels(), &owner);
        if !applier.may_remake(&Secret { metadata: meta.clone(), ..Secret::default() }) {
            return Ok(None);
        }
        let (purpose, reason) = (order.purpose.as_str(), order.reason);
        tracing::info!(node = names.node, namespace = names.namespace, purpose, %reason, "certificate is made");
        let authority = self.of(applier.client, &names.namespace, order.authority).await?;
        let data = mint::trusting(made(authority, order.request, now).await?, &order.trusted);
        let asked = asked(observed);
        meta.annotations = asked.map(|asked| BTreeMap::from([(names::MADE_FOR.to_owned(), asked.clone())]));
        match applier.certificate(&secret(meta, data, false)).await? {
            Some(Fact::Certificate(held)) => Ok(held.ok()),
            _ => Ok(None),
        }
    }
}

/// A key of RSA takes a tenth of a second of a core, in which nothing else would be heard, nor the lease renewed.
async fn made(authority: Arc<Data>, request: LeafRequest, now: Timestamp) -> anyhow::Result<Data> {
    match request.algorithm {
        KeyAlgorithm::EcdsaP256 => mint::leaf(&authority, &request, now),
        KeyAlgorithm::Rsa2048 => {
            tokio::task::spawn_blocking(move || mint::leaf(&authority, &request, now)).await?
        }
    }
}

/// Metadata of what cannot be made again: without an owner, and held, so that its content outlives a deletion.
fn lasting(names: &Names, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta { finalizers: Some(vec![names::CLEANUP.into()]), ..names.unowned(name, labels) }
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
