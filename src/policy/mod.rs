//! What the guard goes by: which callers there are, how each is known, and what it may call. Pure.
//!
//! The operator compiles it from `spec.rpc` and writes it as [`FILE`] into the ConfigMap `qn-NODE-guard`; the
//! guard reads it. It holds public keys and no secret.

pub mod grants;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use grants::{Grants, Wrong};

/// The key of the ConfigMap, and the name of the file.
pub const FILE: &str = "policy.json";

/// The one shape of the file that there is.
pub const VERSION: u32 = 1;

/// Who may call what.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// [`VERSION`].
    pub version: u32,
    /// Names in `Host` that are answered, in lower case and without a port.
    pub hosts: Vec<String>,
    /// What a token of a ServiceAccount must be made for: the name of the Service.
    pub audience: String,
    /// Who issues tokens of ServiceAccounts, one of `issuers`. None as long as the operator does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Whose tokens can be verified.
    pub issuers: Vec<Issuer>,
    /// Who may call.
    pub callers: Vec<Caller>,
    /// How much of everything.
    #[serde(default)]
    pub limits: Limits,
}

/// Somebody who signs tokens.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// What its tokens say in `iss`, byte by byte.
    pub issuer: String,
    /// What it signs with.
    pub keys: Vec<Key>,
}

/// A public key.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// What tokens say in `kid`.
    pub id: String,
    /// The one algorithm it is used with.
    pub algorithm: Algorithm,
    /// The key itself.
    pub public: Public,
}

/// The numbers of a public key, base64url without padding, as RFC 7518 section 6 has them.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Public {
    /// RSA, at least 2048 bits.
    Rsa {
        /// Modulus.
        n: String,
        /// Exponent.
        e: String,
    },
    /// A point of the curve that the algorithm names.
    Ec {
        /// First coordinate.
        x: String,
        /// Second coordinate.
        y: String,
    },
}

/// Algorithms of RFC 7518 section 3.1 that are accepted: none with a shared secret, and none without a signature.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names are the standard's")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
}

/// Somebody who may call.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// Its name in `spec.rpc.callers`, in audit records and in metrics.
    pub name: String,
    /// How it is known.
    pub identity: Identity,
    /// What it may call, as [`grants::Grants::read`] reads it.
    pub methods: Vec<String>,
    /// Whether wildcards among `methods` include methods that read private state.
    #[serde(default)]
    pub private_state: bool,
    /// Origins from which a browser may call in its name, as `https://HOST[:PORT]`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Calls a second, in the long run.
    pub calls_per_second: u32,
    /// Calls that may come at once after a pause.
    pub burst: u32,
    /// Connections at a time.
    pub connections: u32,
}

impl Caller {
    /// What it may call.
    ///
    /// # Errors
    /// At the first pattern that grants nothing, or too much.
    pub fn grants(&self) -> Result<Grants, Wrong> {
        let grants = Grants::read(self.methods.iter().map(String::as_str))?;
        Ok(grants.with_private_state(self.private_state))
    }
}

/// How a caller is known.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Identity {
    /// By a projected token of the cluster.
    ServiceAccount {
        /// Namespace of the account.
        namespace: String,
        /// Name of the account.
        name: String,
    },
    /// By a certificate that it shows in the TLS handshake.
    ClientCertificate {
        /// Authorities that sign it, PEM.
        authority: String,
        /// Names of which the certificate must have one: `dns:NAME`, `uri:URI` or `cn:NAME`, byte by byte.
        subjects: Vec<String>,
    },
    /// By a token of one of `issuers`.
    Oidc {
        /// What the token says in `iss`.
        issuer: String,
        /// What it says in `aud`, or has among it.
        audience: String,
        /// Of which it says one in `sub`.
        subjects: Vec<String>,
    },
}

/// How much of everything; each has a default.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time, of all callers and of those not yet known.
    pub connections: u32,
    /// For the TLS handshake.
    pub handshake_seconds: u32,
    /// For a request's header to arrive.
    pub header_seconds: u32,
    /// Bytes of a request's header.
    pub header_bytes: u32,
    /// For a request's body to arrive, whatever its rate.
    pub body_seconds: u32,
    /// Bytes a second at which a body must arrive, after the first second.
    pub body_bytes_per_second: u32,
    /// Bytes of a request's body, or of a WebSocket's message. The client itself refuses more than 5 MiB.
    pub body_bytes: u32,
    /// Calls in a batch.
    pub batch_calls: u32,
    /// How long a connection may say nothing; a WebSocket is asked by a ping, and has as long to answer.
    pub idle_seconds: u32,
    /// Calls that the client executes at a time.
    pub requests_at_client: u32,
    /// Calls that wait for their turn at the client; one more is refused at once.
    pub requests_waiting: u32,
    /// From a call's turn to the last byte of the answer.
    pub answer_seconds: u32,
    /// Bytes of the answer to one call, and of all answers to one batch.
    pub answer_bytes: u32,
    /// Subscriptions of one WebSocket at a time.
    pub subscriptions: u32,
    /// Filters that one caller has installed in the client at a time.
    pub filters: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            handshake_seconds: 5,
            header_seconds: 5,
            header_bytes: 16 * 1024,
            body_seconds: 30,
            body_bytes_per_second: 1024,
            body_bytes: 1024 * 1024,
            batch_calls: 100,
            idle_seconds: 120,
            requests_at_client: 16,
            requests_waiting: 256,
            answer_seconds: 60,
            answer_bytes: 32 * 1024 * 1024,
            subscriptions: 32,
            filters: 64,
        }
    }
}

impl Limits {
    /// Each by the name it has in the file.
    fn named(&self) -> [(&'static str, u32); 15] {
        [
            ("connections", self.connections),
            ("handshakeSeconds", self.handshake_seconds),
            ("headerSeconds", self.header_seconds),
            ("headerBytes", self.header_bytes),
            ("bodySeconds", self.body_seconds),
            ("bodyBytesPerSecond", self.body_bytes_per_second),
            ("bodyBytes", self.body_bytes),
            ("batchCalls", self.batch_calls),
            ("idleSeconds", self.idle_seconds),
            ("requestsAtClient", self.requests_at_client),
            ("requestsWaiting", self.requests_waiting),
            ("answerSeconds", self.answer_seconds),
            ("answerBytes", self.answer_bytes),
            ("subscriptions", self.subscriptions),
            ("filters", self.filters),
        ]
    }
}

impl Policy {
    /// Reads the file.
    ///
    /// # Errors
    /// Names the field, its value and what would be right. The file holds no secret, so it may be quoted.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let policy: Self = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        policy.check()?;
        Ok(policy)
    }

    /// As the file holds it.
    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version: {}: this guard reads version {VERSION}", self.version));
        }
        if let Some((name, _)) = self.limits.named().into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("limits.{name}: 0: give at least 1, or leave it out for its default"));
        }
        let mut names = BTreeSet::new();
        for caller in &self.callers {
            if !names.insert(&caller.name) {
                return Err(format!("callers: {}: each name once", caller.name));
            }
            let at = |field: &str| format!("callers.{}.{field}", caller.name);
            caller.grants().map_err(|wrong| format!("{}: {wrong}", at("methods")))?;
            let numbers = [
                ("callsPerSecond", caller.calls_per_second),
                ("burst", caller.burst),
                ("connections", caller.connections),
            ];
            if let Some((name, _)) = numbers.into_iter().find(|(_, value)| *value == 0) {
                return Err(format!("{}: 0: give at least 1", at(name)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
