//! Issue stage: generates keys, CAs and certificates that are missing or due. Those that cannot be replaced are
//! created, never applied.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use anyhow::Context as _;
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Client, Resource as _, ResourceExt as _, api::ObjectMeta};

use super::{
    apply::Applier,
    decide::ca_rotation,
    desired::{
        Issued,
        certificates::{self, Authority},
    },
    observed::{Generation, Observed},
    validate::{Validated, names_of},
};
use crate::model::secrets::renewal;
use crate::{
    cluster::secret_facts::{self, Fact, Question, read_secret},
    model::{
        names::{self, Names, Purpose},
        secrets::{
            Data, generate,
            renewal::{Decision, IssueReason},
            tls::{self, AuthorityFacts, KeyAlgorithm, LeafFacts, LeafRequest, Signing},
        },
    },
};

/// Result of generating missing keys and CAs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// None was missing.
    Nothing,
    /// Some were created, and the facts about them are known.
    Known,
    /// Another client created one first. It must be read.
    Theirs,
}

/// Generates the keys and CAs that are missing or due, and adds them to `observed`.
///
/// # Errors
/// Fails if the server rejects a request, or a key cannot be generated.
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
        let meta = irreplaceable_secrets(names, names.node_key(), names.lasting_labels());
        let key = secret(meta, generate::node_key()?, true);
        let fact = applier.create_once(&key, Question::NodeKey(generate::NODE_KEY.into())).await?;
        note(fact.is_some());
        if fact.is_some() {
            observed.node_key = secret_facts::node_key(fact);
            observed.chain_data_exists = None;
        }
    }
    let network = BTreeMap::from([(names::NETWORK.to_owned(), names.network.clone())]);
    let mut authorities = vec![(names.network_authority(), &mut observed.network_authority, network)];
    if node.manager.is_some() {
        authorities.push((names.node_authority(), &mut observed.node_authority, names.lasting_labels()));
    }
    // a deleted CA can still be restored meanwhile
    if applier.frozen && applier.established {
        authorities.clear();
    }
    for (name, ca_generations, labels) in authorities {
        if let Some(number) = ca_rotation::due(ca_generations, now) {
            let common_name = format!("{} {name}", names.namespace);
            let data = generate::authority(&common_name, now)?;
            let meta = irreplaceable_secrets(names, Names::generation(&name, number), labels);
            let fact = applier.create_once(&secret(meta, data, true), Question::Authority).await?;
            note(fact.is_some());
            if fact.is_some() {
                let authority = secret_facts::authority(fact);
                ca_generations.0.push(Generation { number, authority, rotate: false });
            }
        }
    }
    Ok(created)
}

/// Issues every certificate that is missing or due. Returns `None` if there is no node key yet.
///
/// # Errors
/// Fails if the server rejects a request, or a certificate cannot be issued.
pub async fn issue(
    applier: &mut Applier<'_>,
    node: &Validated,
    observed: &mut Observed,
    now: Timestamp,
) -> anyhow::Result<Option<Issued>> {
    let names = &node.names;
    let Some(identity) = &node.identity else { return Ok(None) };
    let mut wanted = certificates::wanted(node);
    let mut keys = IssuerKeys::default();
    for (purpose, signing, reason) in due(node, observed, now) {
        let wanted = wanted.remove(&purpose).context("the certificate is not wanted")?;
        let authority = match wanted.authority {
            Authority::Network => names.network_authority(),
            Authority::Node => names.node_authority(),
            Authority::Requested | Authority::Provided => {
                anyhow::bail!("the certificate has another issuer")
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
    let network_authorities = tls::bundle(ca_rotation::made_known(&observed.network_authority, now));
    Ok(Some(Issued { identity: identity.clone(), network_authorities, certificates }))
}

/// Renews the certificates of a stalled node.
///
/// # Errors
/// Fails if the server rejects a request, or a key cannot be generated.
pub async fn keep(applier: &mut Applier<'_>, observed: &Observed, now: Timestamp) -> anyhow::Result<()> {
    let mut keys = IssuerKeys::default();
    for order in stalled_renewal::due(observed, now) {
        keys.make(applier, observed, order, now).await?;
    }
    Ok(())
}

/// Value of the annotation that requests new certificates. It has no meaning: a new value is a new request.
fn asked(observed: &Observed) -> Option<&String> {
    observed.node.annotations().get(names::RENEW)
}

/// Certificates to issue, with their signers and reasons. Pure.
#[must_use]
pub fn due(node: &Validated, observed: &Observed, now: Timestamp) -> Vec<(Purpose, Signing, IssueReason)> {
    let wanted = certificates::wanted(node);
    let by = |authority| ca_rotation::of(node, observed, authority, now);
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
            let reason = match renewal::decide(&wanted.request, signing, existing, now, &node.owner.uid) {
                Decision::Keep => asked(observed)
                    .is_some_and(|asked| made_for != Some(asked))
                    .then_some(IssueReason::Asked)?,
                Decision::Issue(reason) => reason,
            };
            Some((purpose, signing.clone(), reason))
        })
        .collect()
}

/// Order for a certificate.
#[derive(Clone, Debug)]
pub struct Order {
    /// What the certificate is for.
    pub purpose: Purpose,
    /// Why it is issued.
    pub reason: IssueReason,
    /// Name of the CA's Secret.
    pub authority: String,
    /// Content of the certificate.
    pub request: LeafRequest,
    /// CAs that its holder trusts.
    pub trusted: Vec<AuthorityFacts>,
}

/// CAs with their keys. Each is read at most once in a reconcile, and dropped at its end.
#[derive(Default)]
struct IssuerKeys(BTreeMap<String, Arc<Data>>);

impl IssuerKeys {
    /// Reads a CA by name, since a new one is in no cache yet.
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

    /// Issues a certificate, and records the renewal request on its Secret, so that a restart neither forgets nor
    /// repeats it. Returns the facts about what the server stored; `None` if a field conflict over the Secret limits
    /// the write.
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
        tracing::info!(node = names.node, namespace = names.namespace, purpose, %reason, "issuing certificate");
        let authority = self.of(applier.client, &names.namespace, order.authority).await?;
        let data = generate::trusting(made(authority, order.request, now).await?, &order.trusted);
        let asked = asked(observed);
        meta.annotations = asked.map(|asked| BTreeMap::from([(names::MADE_FOR.to_owned(), asked.clone())]));
        match applier.certificate(&secret(meta, data, false)).await? {
            Some(Fact::Certificate(held)) => Ok(held.ok()),
            _ => Ok(None),
        }
    }
}

/// Signs a certificate. An RSA key takes a tenth of a second of a core, so it is generated on a thread of its own and
/// does not delay events or the renewal of the lease.
async fn made(authority: Arc<Data>, request: LeafRequest, now: Timestamp) -> anyhow::Result<Data> {
    match request.algorithm {
        KeyAlgorithm::EcdsaP256 => generate::leaf(&authority, &request, now),
        KeyAlgorithm::Rsa2048 => {
            tokio::task::spawn_blocking(move || generate::leaf(&authority, &request, now)).await?
        }
    }
}

/// Metadata of an irreplaceable Secret: without an owner and with a finalizer, so that its content outlives a deletion.
fn irreplaceable_secrets(names: &Names, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
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

pub mod stalled_renewal;
