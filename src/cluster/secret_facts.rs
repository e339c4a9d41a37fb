//! Facts about the contents of Secrets and ConfigMaps. Each version is read once, and only derived facts are stored.

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
    model::{
        genesis::{self, GenesisFacts, Schedule},
        lookup::Found,
        secrets::{
            self, Data, InvalidContent,
            keys::{self, NodeIdentity, TransactionManagerKey},
            tls::{self, AuthorityFacts, Fingerprint, LeafFacts},
        },
    },
    protocol::policy::{self, Policy},
};

/// Question about the content of a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Which node identity belongs to the node key under this key of a Secret?
    NodeKey(String),
    /// Which transaction manager key pair is under these two keys of a Secret?
    ManagerKey(String, String),
    /// Is there a password under this key of a Secret?
    Password(String),
    /// Which CA is in this Secret?
    Authority,
    /// Which certificate is in this Secret?
    Certificate,
    /// Does this Secret contain a client certificate for a database?
    DatabaseCertificate,
    /// Which genesis is under this key of a ConfigMap?
    Genesis(String),
    /// What is the digest of the certificates under this key of a ConfigMap?
    Bundle(String),
    /// Which CA certificates are under this key of a ConfigMap?
    Authorities(String),
    /// Which caller policy is in this ConfigMap?
    Policy,
    /// What is the digest of this Secret's content?
    Content,
    /// What is the digest of the template with this digest, after the password under this key is filled in?
    Filled(String, [u8; 32]),
}

/// Answer to a [`Question`]: derived facts, never the content of a Secret.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Answers [`Question::NodeKey`].
    NodeKey(Result<NodeIdentity, InvalidContent>),
    /// Answers [`Question::ManagerKey`].
    ManagerKey(Result<TransactionManagerKey, InvalidContent>),
    /// Answers [`Question::Password`] and [`Question::DatabaseCertificate`].
    Usable(Result<(), InvalidContent>),
    /// Answers [`Question::Authority`].
    Authority(Result<AuthorityFacts, InvalidContent>),
    /// Answers [`Question::Certificate`].
    Certificate(Result<LeafFacts, InvalidContent>),
    /// Answers [`Question::Genesis`].
    Genesis(Result<GenesisFacts, String>),
    /// Answers [`Question::Bundle`]: digest of the certificates.
    Bundle(Result<String, String>),
    /// Answers [`Question::Authorities`]: PEM.
    Authorities(Result<String, String>),
    /// Answers [`Question::Policy`]; `None` if the policy does not decode.
    Policy(Option<Arc<Policy>>),
    /// Answers [`Question::Content`] and [`Question::Filled`].
    Content([u8; 32]),
}

type Key = (String, String, Question);

/// Stored answers by namespace, name and question, with the resource version that they hold for.
#[derive(Default)]
pub struct SecretFacts {
    known: Mutex<HashMap<Key, (String, Fact)>>,
}

impl SecretFacts {
    /// Answers a question about a Secret that the cache shows as `meta`.
    ///
    /// # Errors
    /// Fails if the Secret cannot be read.
    pub async fn secret(
        &self,
        client: &Client,
        meta: &ObjectMeta,
        question: Question,
    ) -> anyhow::Result<Option<Fact>> {
        let answer = |data: &Data| of_secret(&question, data);
        self.secret_as(client, meta, question.clone(), answer).await
    }

    /// As [`Self::secret`], with a function that computes the answer.
    ///
    /// # Errors
    /// Fails if the Secret cannot be read.
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
    /// Fails if the ConfigMap cannot be read.
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

    /// Answers a question about a Secret from the server's response to a write.
    pub fn of(&self, held: &Secret, question: Question) -> Fact {
        let none = Data::default();
        self.keep(&held.metadata, question, |question| {
            of_secret(question, held.data.as_ref().unwrap_or(&none))
        })
    }

    /// Certificate in a Secret, if this version was read already.
    pub fn certificate(&self, meta: &ObjectMeta) -> Option<Fingerprint> {
        match self.known(meta, &Question::Certificate)? {
            Fact::Certificate(Ok(leaf)) => Some(leaf.fingerprint),
            _ => None,
        }
    }

    /// Block schedule of the genesis under a key of a ConfigMap, if this version was read already.
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

/// Reads the content of a Secret, to sign with it or to pass on a password.
///
/// # Errors
/// Fails if the Secret cannot be read.
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

/// Text under a key of a Secret without trailing line breaks, for a password in a configuration.
#[must_use]
pub fn text(data: &Data, key: &str) -> Option<String> {
    let ByteString(bytes) = data.get(key)?;
    Some(std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']).to_owned())
}

/// Converts the fact about a reference into `Found`.
macro_rules! found {
    ($fact:expr, $variant:path) => {
        match $fact {
            Some($variant(Ok(content))) => Found::Present(content),
            Some($variant(Err(why))) => Found::Invalid(why.to_string()),
            _ => Found::Missing,
        }
    };
}

/// Converts [`Fact::NodeKey`].
#[must_use]
pub fn node_key(fact: Option<Fact>) -> Found<NodeIdentity> {
    found!(fact, Fact::NodeKey)
}

/// Converts [`Fact::ManagerKey`].
#[must_use]
pub fn manager_key(fact: Option<Fact>) -> Found<TransactionManagerKey> {
    found!(fact, Fact::ManagerKey)
}

/// Converts [`Fact::Usable`].
#[must_use]
pub fn usable(fact: Option<Fact>) -> Found<()> {
    found!(fact, Fact::Usable)
}

/// Converts [`Fact::Authority`].
#[must_use]
pub fn authority(fact: Option<Fact>) -> Found<AuthorityFacts> {
    found!(fact, Fact::Authority)
}

/// Converts [`Fact::Genesis`].
#[must_use]
pub fn genesis(fact: Option<Fact>) -> Found<GenesisFacts> {
    found!(fact, Fact::Genesis)
}

/// Converts [`Fact::Bundle`].
#[must_use]
pub fn bundle(fact: Option<Fact>) -> Found<String> {
    found!(fact, Fact::Bundle)
}

/// Converts [`Fact::Authorities`].
#[must_use]
pub fn authorities(fact: Option<Fact>) -> Found<String> {
    found!(fact, Fact::Authorities)
}
