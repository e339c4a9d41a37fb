//! OIDC discovery documents: issuer and signing key of service account tokens.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Refusal, Server, lock};

/// ID of the only signing key; `None` while the server does not publish its documents.
pub(super) struct Documents(Mutex<Option<String>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Mutex::new(Some("one".into())))
    }
}

/// Issuer of service account tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

impl Server {
    /// Publishes this key ID as the signing key, or stops publishing the documents.
    pub fn issue(&self, key: Option<&str>) {
        *lock(&self.documents.0) = key.map(str::to_owned);
    }

    pub(super) fn document(&self, path: &str) -> Result<Value, Refusal> {
        let key = lock(&self.documents.0).clone();
        match (key, path) {
            (Some(_), "/.well-known/openid-configuration") => {
                let keys = "https://192.0.2.7:6443/openid/v1/jwks";
                Ok(json!({"issuer": ISSUER, "jwks_uri": keys}))
            }
            (Some(key), "/openid/v1/jwks") => Ok(json!({"keys": [{
                "kty": "EC", "use": "sig", "kid": key, "alg": "ES256", "crv": "P-256",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            }]})),
            _ => Err(Refusal::new(404, "NotFound", "the server could not find it")),
        }
    }
}
