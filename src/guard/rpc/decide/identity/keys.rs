//! Public keys of issuers, and verification of signatures. Pure.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use crate::protocol::policy::{Algorithm, Issuer, Key, Public};

/// Issuer and key that signed a token. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Name of the issuer.
    pub(super) issuer: String,
    pub(super) key: Key,
}

/// A key with its algorithm.
pub(super) struct VerifyingKey {
    /// Issuer and key. Tokens carry its id as `kid`.
    pub(super) signer: Arc<Signer>,
    /// The `alg` of its tokens.
    pub(super) name: &'static str,
    algorithm: jsonwebtoken::Algorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    /// Whether this key made the signature.
    pub(super) fn verifies(&self, signed: &str, signature: &Vec<u8>) -> bool {
        // named explicitly: the automatic choice panics if two providers are compiled in
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .is_ok_and(|key| key.verify(signed.as_bytes(), signature).is_ok())
    }
}

/// Parses the keys of an issuer. An error begins with the key's index.
pub(super) fn read(issuer: &Issuer) -> Result<Vec<VerifyingKey>, String> {
    let mut read: Vec<VerifyingKey> = Vec::with_capacity(issuer.keys.len());
    for (index, key) in issuer.keys.iter().enumerate() {
        let wrong = |remedy: &str| Err(format!("[{index}] ({}): {remedy}", key.id));
        let (name, algorithm) = algorithm(key.algorithm);
        if key.id.is_empty() {
            return wrong("give the id that tokens say in kid");
        }
        if read.iter().any(|other| other.signer.key.id == key.id && other.name == name) {
            return wrong("each id once for an algorithm");
        }
        match public(key.algorithm, &key.public) {
            Ok(public) => {
                let signer = Arc::new(Signer { issuer: issuer.issuer.clone(), key: key.clone() });
                read.push(VerifyingKey { signer, name, algorithm, key: public });
            }
            Err(remedy) => return wrong(remedy),
        }
    }
    Ok(read)
}

fn algorithm(algorithm: Algorithm) -> (&'static str, jsonwebtoken::Algorithm) {
    use jsonwebtoken::Algorithm as Theirs;
    match algorithm {
        Algorithm::RS256 => ("RS256", Theirs::RS256),
        Algorithm::RS384 => ("RS384", Theirs::RS384),
        Algorithm::RS512 => ("RS512", Theirs::RS512),
        Algorithm::PS256 => ("PS256", Theirs::PS256),
        Algorithm::PS384 => ("PS384", Theirs::PS384),
        Algorithm::PS512 => ("PS512", Theirs::PS512),
        Algorithm::ES256 => ("ES256", Theirs::ES256),
        Algorithm::ES384 => ("ES384", Theirs::ES384),
    }
}

fn public(algorithm: Algorithm, public: &Public) -> Result<DecodingKey, &'static str> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text);
    match (algorithm, public) {
        (Algorithm::ES256 | Algorithm::ES384, Public::Ec { x, y }) => {
            let size = if algorithm == Algorithm::ES256 { 32 } else { 48 };
            let is_coordinate = |text| bytes(text).is_ok_and(|bytes| bytes.len() == size);
            if !is_coordinate(x) || !is_coordinate(y) {
                return Err("give x and y as base64url of as many bytes as the curve has");
            }
            DecodingKey::from_ec_components(x, y).map_err(|_| "give a point of the curve")
        }
        (Algorithm::ES256 | Algorithm::ES384, Public::Rsa { .. }) => Err("ES256 and ES384 are of ec keys"),
        (_, Public::Ec { .. }) => Err("ec keys are used with ES256 or ES384"),
        (_, Public::Rsa { n, e }) => {
            let (Ok(modulus), Ok(exponent)) = (bytes(n), bytes(e)) else {
                return Err("give n and e as base64url without padding");
            };
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let bits = modulus[zeros..]
                .first()
                .map_or(0, |first| (modulus.len() - zeros) * 8 - first.leading_zeros() as usize);
            if !(2048..=8192).contains(&bits) {
                return Err("RSA has 2048 to 8192 bits");
            }
            Ok(DecodingKey::from_rsa_raw_components(&modulus[zeros..], &exponent))
        }
    }
}
