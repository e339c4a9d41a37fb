use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm as Signing, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData};
use serde_json::{Value, json};

use super::*;
use crate::protocol::policy::{Algorithm, Issuer, Key, Limits, Public, VERSION};

mod certificates;
mod policies;
mod tokens;

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const CLUSTER: &str = "https://kubernetes.default.svc";
pub(super) const PROVIDER: &str = "https://id.example";
pub(super) const AUDIENCE: &str = "alice-rpc.ledger.svc";

/// A key pair. The policy has its public half.
pub(super) struct Signer {
    pub(super) key: EncodingKey,
    pub(super) public: Public,
    /// The public half as bytes that an implementation might take for a shared secret.
    pub(super) der: Vec<u8>,
}

impl Signer {
    fn new(algorithm: Signing) -> Self {
        let of = match algorithm {
            Signing::ES256 => &PKCS_ECDSA_P256_SHA256,
            Signing::ES384 => &PKCS_ECDSA_P384_SHA384,
            _ => &PKCS_RSA_SHA256,
        };
        let pair = KeyPair::generate_for(of).unwrap();
        let pkcs8 = pair.serialize_der();
        let key = match algorithm {
            Signing::ES256 | Signing::ES384 => EncodingKey::from_ec_der(&pkcs8),
            // PKCS#8 contains PKCS#1 after a header of 26 bytes
            _ => EncodingKey::from_rsa_der(&pkcs8[26..]),
        };
        let public = match Jwk::from_encoding_key(&key, algorithm).unwrap().algorithm {
            AlgorithmParameters::RSA(rsa) => Public::Rsa { n: rsa.n, e: rsa.e },
            AlgorithmParameters::EllipticCurve(ec) => Public::Ec { x: ec.x, y: ec.y },
            other => panic!("{other:?}"),
        };
        Self { key, public, der: pair.subject_public_key_info() }
    }

    pub(super) fn as_key(&self, id: &str, algorithm: Algorithm) -> Key {
        Key { id: id.into(), algorithm, public: self.public.clone() }
    }
}

pub(super) static P256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Signing::ES256));
pub(super) static P384: LazyLock<Signer> = LazyLock::new(|| Signer::new(Signing::ES384));
pub(super) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::new(Signing::RS256));
/// A key of no issuer.
pub(super) static STRANGE: LazyLock<Signer> = LazyLock::new(|| Signer::new(Signing::ES256));

pub(super) fn policy() -> Policy {
    let account = |name: &str| Identity::ServiceAccount { namespace: "apps".into(), name: name.into() };
    let shop = Identity::Oidc {
        issuer: PROVIDER.into(),
        audience: "ledger".into(),
        subjects: vec!["shop".into(), "till".into()],
    };
    let named = [("wallet", account("wallet")), ("shop", shop), ("backup", account("backup"))];
    Policy {
        version: VERSION,
        hosts: vec![],
        audience: AUDIENCE.into(),
        cluster: Some(CLUSTER.into()),
        issuers: vec![
            Issuer {
                issuer: CLUSTER.into(),
                keys: vec![
                    P256.as_key("one", Algorithm::ES256),
                    RSA.as_key("three", Algorithm::RS256),
                    P384.as_key("three", Algorithm::ES384),
                ],
            },
            Issuer { issuer: PROVIDER.into(), keys: vec![RSA.as_key("two", Algorithm::PS256)] },
        ],
        callers: named.into_iter().map(|(name, identity)| caller(name, identity)).collect(),
        limits: Limits::default(),
    }
}

pub(super) fn caller(name: &str, identity: Identity) -> Caller {
    Caller {
        name: name.into(),
        identity,
        methods: vec![],
        private_state: false,
        origins: vec![],
        calls_per_second: 1,
        burst: 1,
        connections: 1,
    }
}

pub(super) fn identities() -> Identities {
    Identities::of(&policy()).unwrap()
}

/// Claims of a projected token of `apps/wallet`, as the API server writes them.
pub(super) fn of_account() -> Value {
    json!({
        "aud": [AUDIENCE],
        "exp": NOW + 3000,
        "iat": NOW - 600,
        "iss": CLUSTER,
        "jti": "b8f0c0de",
        "kubernetes.io": {
            "namespace": "apps",
            "node": {"name": "host", "uid": "n1"},
            "pod": {"name": "wallet-0", "uid": "p1"},
            "serviceaccount": {"name": "wallet", "uid": "s1"},
        },
        "nbf": NOW - 600,
        "sub": "system:serviceaccount:apps:wallet",
    })
}

/// Claims of a token of the other issuer.
pub(super) fn of_provider() -> Value {
    json!({"iss": PROVIDER, "aud": "ledger", "sub": "shop", "iat": NOW - 600, "exp": NOW + 36_000})
}

/// A token with this header and these claims, valid or not.
pub(super) fn signed(header: &str, claims: &str, signer: &Signer, algorithm: Signing) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &signer.key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A token of the cluster with these claims.
pub(super) fn of_cluster(claims: &Value) -> String {
    signed(r#"{"alg":"ES256","kid":"one"}"#, &claims.to_string(), &P256, Signing::ES256)
}

/// Returns the claims with another value at a path, or without it if `value` is `None`.
pub(super) fn with(mut claims: Value, path: &str, value: Option<Value>) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let members = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.replace("~1", "/"), value),
        None => members.remove(name),
    };
    claims
}
