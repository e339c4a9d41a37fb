//! Policy of the guard: the callers, how it identifies each, and what each may call. Pure.
//!
//! The operator compiles it from `spec.rpc` and writes it as [`FILE`] into the ConfigMap `qn-NODE-guard`; the guard
//! reads it. It contains public keys and no secret.

pub mod grants;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use grants::{Grants, Wrong};

/// Key in the ConfigMap, and name of the file.
pub const FILE: &str = "policy.json";

/// Version of the file's format.
pub const VERSION: u32 = 1;

/// The policy: who may call which methods.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Must be [`VERSION`].
    pub version: u32,
    /// Accepted names in `Host`, in lower case and without a port.
    pub hosts: Vec<String>,
    /// Audience that a ServiceAccount token must have: the name of the Service.
    pub audience: String,
    /// Issuer of ServiceAccount tokens, one of `issuers`; `None` until the operator knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Issuers whose tokens the guard can verify.
    pub issuers: Vec<Issuer>,
    /// Callers that the guard admits.
    pub callers: Vec<Caller>,
    /// Limits of the guard.
    #[serde(default)]
    pub limits: Limits,
}

/// An issuer of tokens.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// Claim `iss` of its tokens, compared byte by byte.
    pub issuer: String,
    /// Keys with which it signs.
    pub keys: Vec<Key>,
}

/// A public key of an issuer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// Id of the key, in the token's `kid`.
    pub id: String,
    /// The only algorithm for which the key is accepted.
    pub algorithm: Algorithm,
    /// The key itself.
    pub public: Public,
}

/// The numbers of a public key in base64url without padding, as in RFC 7518 section 6.
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
    /// A point on the algorithm's curve.
    Ec {
        /// First coordinate.
        x: String,
        /// Second coordinate.
        y: String,
    },
}

/// Accepted algorithms of RFC 7518 section 3.1: none with a shared secret, and none without a signature.
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

/// A caller.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// Name in `spec.rpc.callers`, in audit records and in metrics.
    pub name: String,
    /// How the guard identifies it.
    pub identity: Identity,
    /// Patterns of methods that it may call, in the form that [`grants::Grants::read`] parses.
    pub methods: Vec<String>,
    /// Whether the wildcards in `methods` include methods that read private state.
    #[serde(default)]
    pub private_state: bool,
    /// Origins from which a browser may call as this caller, as `https://HOST[:PORT]`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Calls per second in the long run.
    pub calls_per_second: u32,
    /// Calls that may arrive at once after a pause.
    pub burst: u32,
    /// Maximum number of connections.
    pub connections: u32,
}

impl Caller {
    /// Parses the methods that the caller may call.
    ///
    /// # Errors
    /// The first pattern that is malformed or cannot be granted.
    pub fn grants(&self) -> Result<Grants, Wrong> {
        let grants = Grants::read(self.methods.iter().map(String::as_str))?;
        Ok(grants.with_private_state(self.private_state))
    }
}

/// How the guard identifies a caller.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Identity {
    /// A projected ServiceAccount token of the cluster.
    ServiceAccount {
        /// Namespace of the ServiceAccount.
        namespace: String,
        /// Name of the ServiceAccount.
        name: String,
    },
    /// A certificate that the caller shows in the TLS handshake.
    ClientCertificate {
        /// Certificates of the CAs that sign it, PEM.
        authority: String,
        /// Accepted subjects, `dns:NAME`, `uri:URI` or `cn:NAME`, compared byte by byte. The certificate must have
        /// one of them.
        subjects: Vec<String>,
    },
    /// A token of one of `issuers`.
    Oidc {
        /// Required claim `iss`.
        issuer: String,
        /// Required claim `aud`, or an element of it.
        audience: String,
        /// Accepted values of the claim `sub`.
        subjects: Vec<String>,
    },
}

/// Limits of the guard. Each has a default.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum number of connections, of all callers and of those that are not identified yet.
    pub connections: u32,
    /// Seconds for the TLS handshake.
    pub handshake_seconds: u32,
    /// Seconds within which a request's header must arrive.
    pub header_seconds: u32,
    /// Maximum size of a request's header in bytes.
    pub header_bytes: u32,
    /// Seconds within which a request's body must arrive, at any rate.
    pub body_seconds: u32,
    /// Bytes per second at which a body must arrive after the first second.
    pub body_bytes_per_second: u32,
    /// Maximum size of a request's body, or of a WebSocket message, in bytes. The client itself accepts at most 5
    /// MiB.
    pub body_bytes: u32,
    /// Maximum number of calls in a batch.
    pub batch_calls: u32,
    /// Seconds that a connection may be idle. The guard then sends a ping on a WebSocket, which has as long again
    /// to answer.
    pub idle_seconds: u32,
    /// Concurrency slots: calls that the client runs at a time.
    pub requests_at_client: u32,
    /// Maximum number of calls that wait for a slot; further calls are rejected at once.
    pub requests_waiting: u32,
    /// Seconds from when a call gets its slot to the last byte of its answer.
    pub answer_seconds: u32,
    /// Maximum size of the answer to one call, and of all answers to one batch, in bytes.
    pub answer_bytes: u32,
    /// Maximum number of subscriptions of one WebSocket.
    pub subscriptions: u32,
    /// Maximum number of filters that one caller has installed in the client.
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
    /// Each limit with its name in the file.
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
    /// Parses and checks the file.
    ///
    /// # Errors
    /// The field, its value and what to write instead. The file contains no secret, so the message may quote it.
    pub fn read(file: &[u8]) -> Result<Self, String> {
        let policy: Self = serde_json::from_slice(file).map_err(|error| error.to_string())?;
        policy.check()?;
        Ok(policy)
    }

    /// Serializes the policy for the file.
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
