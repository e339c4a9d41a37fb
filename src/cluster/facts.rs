//! Contents of Secrets and ConfigMaps: read once per resource version, and only what follows from them kept.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, api::ObjectMeta};

use super::write::timely;
use crate::{
    node::{
        genesis::{self, GenesisFacts, Schedule},
        observed::Found,
        secrets::{
            self, Data, Unusable,
            keys::{self, NodeIdentity, TransactionManagerKey},
            tls::{self, AuthorityFacts, Fingerprint, LeafFacts},
        },
    },
    policy::{self, Policy},
};

/// What one wants to know of a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Whose node key is in this key of a Secret?
    NodeKey(String),
    /// Which transaction manager's keys are in these two keys of a Secret?
    ManagerKey(String, String),
    /// Is there a password in this key of a Secret?
    Password(String),
    /// Which authority is in this Secret?
    Authority,
    /// Which certificate is in this Secret?
    Certificate,
    /// Does this Secret hold a client certificate for a database?
    DatabaseCertificate,
    /// Which genesis is in this key of a ConfigMap?
    Genesis(String),
    /// Which certificates are in this key of a ConfigMap, by their digest?
    Bundle(String),
    /// Which certificates are there?
    Authorities(String),
    /// Which policy of callers is in this ConfigMap?
    Policy,
    /// What is in this Secret, as a digest?
    Content,
    /// What comes of a template with this digest when the password under this key is put in, as a digest?
    Filled(String, [u8; 32]),
}

/// The answer: derived facts, never the contents of a Secret.
#[derive(Clone, Debug)]
pub enum Fact {
    /// To [`Question::NodeKey`].
    NodeKey(Result<NodeIdentity, Unusable>),
    /// To [`Question::ManagerKey`].
    ManagerKey(Result<TransactionManagerKey, Unusable>),
    /// To [`Question::Password`] and [`Question::DatabaseCertificate`].
    Usable(Result<(), Unusable>),
    /// To [`Question::Authority`].
    Authority(Result<AuthorityFacts, Unusable>),
    /// To [`Question::Certificate`].
    Certificate(Result<LeafFacts, Unusable>),
    /// To [`Question::Genesis`].
    Genesis(Result<GenesisFacts, String>),
    /// To [`Question::Bundle`]: a digest of the certificates.
    Bundle(Result<String, String>),
    /// To [`Question::Authorities`]: PEM.
    Authorities(Result<String, String>),
    /// To [`Question::Policy`]; `None` where it cannot be read.
    Policy(Option<Arc<Policy>>),
    /// To [`Question::Content`] and [`Question::Filled`].
    Content([u8; 32]),
}

type Key = (String, String, Question);

/// Answers of earlier reads, by namespace, name and question, with the resource version they speak of.
#[derive(Default)]
pub struct Facts {
    known: Mutex<HashMap<Key, (String, Fact)>>,
}

impl Facts {
    /// Answers a question about a Secret that the cache shows as `meta`.
    ///
    /// # Errors
    /// Where the Secret cannot be read.
    pub async fn secret(
        &self,
        client: &Client,
        meta: &ObjectMeta,
        question: Question,
    ) -> anyhow::Result<Option<Fact>> {
        let answer = |data: &Data| of_secret(&question, data);
        self.secret_as(client, meta, question.clone(), answer).await
    }

    /// As [`Self::secret`], where who asks knows the answer's making.
    ///
    /// # Errors
    /// Where the Secret cannot be read.
    pub async fn secret_as(
        &self,
        client: &Client,
        meta: &ObjectMeta,
        question: Question,
        answer: impl FnOnce(&Data) -> Fact,
    ) -> anyhow::Result<Option<Fact>> {
        if let Some(known) = self.known(meta, &question) {
            return Ok(Some(known));
        }
        let (namespace, name) = place(meta);
        let Some(data) = read_secret(client, &namespace, &name).await? else { return Ok(None) };
        Ok(Some(self.keep(meta, question, |_| answer(&data))))
    }

    /// Answers a question about a ConfigMap that the cache shows as `meta`.
    ///
    /// # Errors
    /// Where the ConfigMap cannot be read.
    pub async fn config_map(
        &self,
        client: &Client,
        meta: &ObjectMeta,
        question: Question,
    ) -> anyhow::Result<Option<Fact>> {
        if let Some(known) = self.known(meta, &question) {
            return Ok(Some(known));
        }
        let (namespace, name) = place(meta);
        let api = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
        let Some(map) = timely(api.get_opt(&name)).await?.with_context(|| format!("ConfigMap {name}"))?
        else {
            return Ok(None);
        };
        let mut data: BTreeMap<String, Vec<u8>> =
            map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes())).collect();
        data.extend(map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)));
        Ok(Some(self.keep(meta, question, |question| of_config_map(question, &data))))
    }

    /// Answers a question about a Secret as a write's answer shows it: whole, and as the server holds it.
    pub fn of(&self, held: &Secret, question: Question) -> Fact {
        let none = Data::default();
        self.keep(&held.metadata, question, |question| {
            of_secret(question, held.data.as_ref().unwrap_or(&none))
        })
    }

    /// The certificate in a Secret, where that was read in this version.
    pub fn certificate(&self, meta: &ObjectMeta) -> Option<Fingerprint> {
        match self.known(meta, &Question::Certificate)? {
            Fact::Certificate(Ok(leaf)) => Some(leaf.fingerprint),
            _ => None,
        }
    }

    /// What the genesis under a key of a ConfigMap says of blocks, where that was read in this version.
    pub fn schedule(&self, meta: &ObjectMeta, key: &str) -> Option<Arc<Schedule>> {
        match self.known(meta, &Question::Genesis(key.into()))? {
            Fact::Genesis(Ok(genesis)) => Some(genesis.schedule),
            _ => None,
        }
    }

    fn known(&self, meta: &ObjectMeta, question: &Question) -> Option<Fact> {
        let (namespace, name) = place(meta);
        let known = self.lock();
        let (version, fact) = known.get(&(namespace, name, question.clone()))?;
        (Some(version) == meta.resource_version.as_ref()).then(|| fact.clone())
    }

    fn keep(&self, meta: &ObjectMeta, question: Question, answer: impl FnOnce(&Question) -> Fact) -> Fact {
        let fact = answer(&question);
        let (namespace, name) = place(meta);
        let version = meta.resource_version.clone().unwrap_or_default();
        self.lock().insert((namespace, name, question), (version, fact.clone()));
        fact
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, (String, Fact)>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn place(meta: &ObjectMeta) -> (String, String) {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The contents of a Secret, for those who must have them: to sign, or to hand a password on.
///
/// # Errors
/// Where the Secret cannot be read.
pub async fn read_secret(client: &Client, namespace: &str, name: &str) -> anyhow::Result<Option<Data>> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = timely(api.get_opt(name)).await?.with_context(|| format!("Secret {name}"))?;
    Ok(secret.map(|secret| secret.data.unwrap_or_default()))
}

fn of_secret(question: &Question, data: &Data) -> Fact {
    match question {
        Question::NodeKey(key) => Fact::NodeKey(keys::read_node_key(data, key)),
        Question::ManagerKey(private, public) => {
            Fact::ManagerKey(keys::read_transaction_manager_key(data, private, public))
        }
        Question::Password(key) => Fact::Usable(keys::read_password(data, key)),
        Question::Authority => Fact::Authority(tls::read_authority(data)),
        Question::Content => Fact::Content(secrets::digest(data)),
        Question::DatabaseCertificate => Fact::Usable(keys::read_database_certificate(data)),
        _ => Fact::Certificate(tls::read_leaf(data)),
    }
}

fn of_config_map(question: &Question, data: &BTreeMap<String, Vec<u8>>) -> Fact {
    let content = |key: &String| {
        data.get(key)
            .ok_or_else(|| format!("key {key} is not in the ConfigMap, which has {}: add it", listed(data)))
    };
    match question {
        Question::Genesis(key) => Fact::Genesis(content(key).and_then(|bytes| genesis::read_genesis(bytes))),
        Question::Bundle(key) => Fact::Bundle(content(key).and_then(|bytes| tls::read_bundle(bytes))),
        Question::Authorities(key) => {
            Fact::Authorities(content(key).and_then(|bytes| tls::read_authorities(bytes)))
        }
        Question::Policy => {
            let policy = data.get(policy::FILE).and_then(|file| Policy::read(file).ok());
            Fact::Policy(policy.map(Arc::new))
        }
        _ => Fact::Bundle(Err("a question about a Secret".into())),
    }
}

fn listed(data: &BTreeMap<String, Vec<u8>>) -> String {
    match data.len() {
        0 => "none".into(),
        _ => data.keys().cloned().collect::<Vec<_>>().join(", "),
    }
}

/// The text under a key, for a password that goes into a configuration.
#[must_use]
pub fn text(data: &Data, key: &str) -> Option<String> {
    let ByteString(bytes) = data.get(key)?;
    Some(std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']).to_owned())
}

/// Turns an answer about a reference into what the pass decides from.
macro_rules! found {
    ($fact:expr, $variant:path) => {
        match $fact {
            Some($variant(Ok(content))) => Found::Is(content),
            Some($variant(Err(why))) => Found::Unusable(why.to_string()),
            _ => Found::Missing,
        }
    };
}

/// See [`Fact::NodeKey`].
#[must_use]
pub fn node_key(fact: Option<Fact>) -> Found<NodeIdentity> {
    found!(fact, Fact::NodeKey)
}

/// See [`Fact::ManagerKey`].
#[must_use]
pub fn manager_key(fact: Option<Fact>) -> Found<TransactionManagerKey> {
    found!(fact, Fact::ManagerKey)
}

/// See [`Fact::Usable`].
#[must_use]
pub fn usable(fact: Option<Fact>) -> Found<()> {
    found!(fact, Fact::Usable)
}

/// See [`Fact::Authority`].
#[must_use]
pub fn authority(fact: Option<Fact>) -> Found<AuthorityFacts> {
    found!(fact, Fact::Authority)
}

/// See [`Fact::Genesis`].
#[must_use]
pub fn genesis(fact: Option<Fact>) -> Found<GenesisFacts> {
    found!(fact, Fact::Genesis)
}

/// See [`Fact::Bundle`].
#[must_use]
pub fn bundle(fact: Option<Fact>) -> Found<String> {
    found!(fact, Fact::Bundle)
}

/// See [`Fact::Authorities`].
#[must_use]
pub fn authorities(fact: Option<Fact>) -> Found<String> {
    found!(fact, Fact::Authorities)
}
