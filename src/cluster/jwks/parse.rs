//! Parses an issuer's discovery document and JSON Web Key Set. Pure.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::protocol::policy::{Algorithm, Key, Public};

/// Maximum number of keys of one issuer. An issuer that rotates its keys publishes two or three.
const KEYS: usize = 32;

/// Maximum length in bytes of a key ID, or of a field of the discovery document.
const NAME: usize = 512;

/// Accepted sizes of an RSA modulus in bits. 2048 is the minimum, and keys above 8192 are not verified.
const MODULUS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Members that only private and symmetric keys have.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Discovery document of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Value of `iss` in its tokens.
    pub issuer: String,
    /// URL of its keys.
    pub keys: String,
}

/// Parses `.well-known/openid-configuration`.
///
/// # Errors
/// A message that names the missing member.
pub fn discovery(document: &[u8]) -> Result<Discovery, String> {
    let document: Value = serde_json::from_slice(document).map_err(|_| "its configuration is not JSON")?;
    let text = |name: &str| {
        let text = document[name].as_str().filter(|text| !text.is_empty() && text.len() <= NAME);
        text.map(str::to_owned).ok_or_else(|| format!("its configuration has no {name}"))
    };
    Ok(Discovery { issuer: text("issuer")?, keys: text("jwks_uri")? })
}

/// Parses a JSON Web Key Set. Skips keys that cannot or must not be used, and sorts the others by ID.
///
/// # Errors
/// Fails if no key is usable.
pub fn keys(document: &[u8]) -> Result<Vec<Key>, String> {
    let document: Value = serde_json::from_slice(document).map_err(|_| "its keys are not JSON")?;
    let listed = document["keys"].as_array().ok_or("its keys are not a JSON Web Key Set")?;
    let mut keys: Vec<Key> = Vec::new();
    for key in listed.iter().filter_map(key) {
        // a token could not say which of two keys with the same ID it means
        if keys.len() < KEYS && keys.iter().all(|known| known.id != key.id) {
            keys.push(key);
        }
    }
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    if keys.is_empty() { Err("none of its keys can be used".into()) } else { Ok(keys) }
}

fn key(key: &Value) -> Option<Key> {
    let text = |name: &str| key[name].as_str();
    let id = text("kid").filter(|id| !id.is_empty() && id.len() <= NAME)?.to_owned();
    let is_private = PRIVATE.iter().any(|part| !key[*part].is_null());
    let signs = key["use"].is_null() || text("use") == Some("sig");
    let verifies = match &key["key_ops"] {
        Value::Null => true,
        operations => operations.as_array()?.iter().any(|operation| operation == "verify"),
    };
    if is_private || !signs || !verifies {
        return None;
    }
    let algorithm = match &key["alg"] {
        Value::Null => None,
        named => Some(serde_json::from_value::<Algorithm>(named.clone()).ok()?),
    };
    let (algorithm, public) = match text("kty")? {
        "RSA" => rsa(key, algorithm)?,
        "EC" => ec(key, algorithm)?,
        _ => return None,
    };
    Some(Key { id, algorithm, public })
}

/// Without `alg`, the algorithm is RS256, the default of OpenID Connect.
fn rsa(key: &Value, algorithm: Option<Algorithm>) -> Option<(Algorithm, Public)> {
    use Algorithm::{ES256, ES384, PS256, PS384, PS512, RS256, RS384, RS512};
    let algorithm = algorithm.unwrap_or(RS256);
    match algorithm {
        RS256 | RS384 | RS512 | PS256 | PS384 | PS512 => {}
        ES256 | ES384 => return None,
    }
    let (n, e) = (number(&key["n"])?, number(&key["e"])?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let exponent =
        e.iter().try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)))?;
    let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
    let usable = MODULUS.contains(&bits) && is_odd(&n) && is_odd(&e) && (3..1 << 33).contains(&exponent);
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    usable.then(|| (algorithm, Public::Rsa { n: encoded(&n), e: encoded(&e) }))
}

fn ec(key: &Value, algorithm: Option<Algorithm>) -> Option<(Algorithm, Public)> {
    let (of_curve, bytes) = match key["crv"].as_str()? {
        "P-256" => (Algorithm::ES256, 32),
        "P-384" => (Algorithm::ES384, 48),
        _ => return None,
    };
    let coordinate = |name: &str| {
        let text = key[name].as_str()?;
        URL_SAFE_NO_PAD.decode(text).ok().filter(|decoded| decoded.len() == bytes)
    };
    let (x, y) = (coordinate("x")?, coordinate("y")?);
    let point = [&[4], &*x, &*y].concat();
    let on_curve = match of_curve {
        Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
        _ => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).is_ok(),
    };
    let usable = on_curve && algorithm.is_none_or(|algorithm| algorithm == of_curve);
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    usable.then(|| (of_curve, Public::Ec { x: encoded(&x), y: encoded(&y) }))
}

/// Decodes a base64url number, without leading zeros.
fn number(text: &Value) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text.as_str()?).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// 2048 bits.
    fn modulus() -> String {
        let mut n = [0xc5; 256];
        n[255] = 0x03;
        URL_SAFE_NO_PAD.encode(n)
    }

    fn rsa() -> Value {
        json!({"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": modulus(), "e": "AQAB"})
    }

    /// From RFC 7517, appendix A.1.
    fn ec() -> Value {
        json!({"kty": "EC", "kid": "two", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
    }

    fn read(listed: Value) -> Result<Vec<Key>, String> {
        keys(json!({"keys": listed}).to_string().as_bytes())
    }

    fn with(mut key: Value, change: &Value) -> Value {
        for (name, value) in change.as_object().expect("an object") {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn keys_that_can_be_used_are_read_in_the_order_of_their_names() {
        let keys = read(json!([ec(), rsa()])).expect("keys");
        let public = Public::Rsa { n: modulus(), e: "AQAB".into() };
        assert_eq!(keys[0], Key { id: "one".into(), algorithm: Algorithm::RS256, public });
        assert_eq!((keys[1].id.as_str(), keys[1].algorithm), ("two", Algorithm::ES256));
        assert_eq!(read(json!([rsa(), ec()])), Ok(keys), "whatever order they are published in");
    }

    #[test]
    fn a_key_that_names_no_algorithm_has_the_one_of_its_kind() {
        let algorithm = |key: Value| read(json!([key])).expect("a key")[0].algorithm;
        assert_eq!(algorithm(with(rsa(), &json!({"alg": null}))), Algorithm::RS256);
        assert_eq!(algorithm(with(rsa(), &json!({"alg": "PS384"}))), Algorithm::PS384);
        assert_eq!(algorithm(ec()), Algorithm::ES256);
        let p384 = json!({"kty": "EC", "kid": "k", "crv": "P-384",
            "x": "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3",
            "y": "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f"});
        assert_eq!(algorithm(p384), Algorithm::ES384);
    }

    #[test]
    fn what_must_not_be_used_is_left_out() {
        let sound = read(json!([rsa()]));
        for (key, change) in [
            (rsa(), json!({"kid": null})),
            (rsa(), json!({"kid": ""})),
            (rsa(), json!({"kid": 7})),
            (rsa(), json!({"kid": "k".repeat(513)})),
            (rsa(), json!({"use": "enc"})),
            (rsa(), json!({"use": ["sig"]})),
            (rsa(), json!({"key_ops": ["sign"]})),
            (rsa(), json!({"key_ops": "verify"})),
            (rsa(), json!({"alg": "HS256"})),
            (rsa(), json!({"alg": "none"})),
            (rsa(), json!({"alg": "ES256"})),
            (rsa(), json!({"alg": "RSA-OAEP"})),
            (rsa(), json!({"alg": ""})),
            (rsa(), json!({"kty": "oct", "k": "c2VjcmV0"})),
            (rsa(), json!({"kty": "oct", "alg": "HS256", "k": null})),
            (rsa(), json!({"k": "c2VjcmV0"})),
            (rsa(), json!({"d": "AQ"})),
            (rsa(), json!({"oth": []})),
            (rsa(), json!({"kty": "rsa"})),
            (rsa(), json!({"n": URL_SAFE_NO_PAD.encode([0xc5; 128])})),
            (rsa(), json!({"n": URL_SAFE_NO_PAD.encode([0x7f; 256])})),
            (rsa(), json!({"n": URL_SAFE_NO_PAD.encode([&[0xc5; 255][..], &[2]].concat())})),
            (rsa(), json!({"n": URL_SAFE_NO_PAD.encode([0xc5; 1025])})),
            (rsa(), json!({"n": format!("{}=", modulus())})),
            (rsa(), json!({"n": ""})),
            (rsa(), json!({"e": "AQ"})),
            (rsa(), json!({"e": "AQAA"})),
            (rsa(), json!({"e": ""})),
            (rsa(), json!({"e": URL_SAFE_NO_PAD.encode([0xff; 9])})),
            (ec(), json!({"crv": "P-521"})),
            (ec(), json!({"crv": "secp256k1"})),
            (ec(), json!({"crv": "P-384"})),
            (ec(), json!({"alg": "ES384"})),
            (ec(), json!({"alg": "RS256"})),
            (ec(), json!({"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"})),
            (ec(), json!({"x": ec()["y"]})),
            (ec(), json!({"y": "AA"})),
            (ec(), json!({"kty": "OKP", "crv": "Ed25519"})),
        ] {
            let left_out = with(key, &change);
            assert_eq!(read(json!([left_out])), Err("none of its keys can be used".into()), "{change}");
            assert_eq!(read(json!([left_out, rsa()])), sound, "{change}: the others are read all the same");
        }
    }

    /// Java libraries write leading zeros.
    #[test]
    fn a_modulus_with_zeros_in_front_is_the_same_modulus() {
        let zeros =
            URL_SAFE_NO_PAD.encode([&[0][..], &URL_SAFE_NO_PAD.decode(modulus()).expect("bytes")].concat());
        assert_eq!(read(json!([with(rsa(), &json!({"n": zeros}))])), read(json!([rsa()])));
        let short = URL_SAFE_NO_PAD.encode([&[0; 128][..], &[0xc5; 128]].concat());
        assert!(read(json!([with(rsa(), &json!({"n": short}))])).is_err(), "zeros make no key longer");
    }

    #[test]
    fn of_two_keys_with_one_name_the_first_counts_and_there_are_not_too_many() {
        let keys = read(json!([rsa(), with(ec(), &json!({"kid": "one"}))])).expect("keys");
        assert_eq!(keys.iter().map(|key| key.algorithm).collect::<Vec<_>>(), [Algorithm::RS256]);
        let many: Vec<_> = (0..40).map(|i| with(rsa(), &json!({"kid": format!("{i}")}))).collect();
        assert_eq!(read(json!(many)).expect("keys").len(), KEYS);
    }

    #[test]
    fn a_configuration_names_issuer_and_keys() {
        let read = |document: Value| discovery(document.to_string().as_bytes());
        let sound = json!({"issuer": "https://id.example", "jwks_uri": "https://id.example/keys", "more": 1});
        let (issuer, keys) = ("https://id.example".to_owned(), "https://id.example/keys".to_owned());
        assert_eq!(read(sound.clone()), Ok(Discovery { issuer, keys }));
        for (name, value) in [("issuer", json!(null)), ("issuer", json!("")), ("jwks_uri", json!(7))] {
            let why = read(with(sound.clone(), &json!({(name): value}))).expect_err(name);
            assert_eq!(why, format!("its configuration has no {name}"));
        }
        assert!(read(json!([])).is_err() && discovery(b"<html>").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Only public keys of a known type are accepted, whatever the document contains.
        #[test]
        fn nothing_symmetric_and_nothing_short_gets_in(
            kty in "RSA|EC|oct|OKP", alg in prop::option::of("RS256|PS512|ES256|HS256|none"), n in 0usize..600,
        ) {
            let n = URL_SAFE_NO_PAD.encode(vec![0xc5; n]);
            let key = json!({"kty": kty, "kid": "k", "alg": alg, "n": n, "e": "AQAB"});
            for key in read(json!([key])).unwrap_or_default() {
                let Public::Rsa { n, .. } = &key.public else { panic!("no point was given") };
                prop_assert!(URL_SAFE_NO_PAD.decode(n).expect("bytes").len() >= 256 && kty == "RSA");
                prop_assert!(matches!(key.algorithm, Algorithm::RS256 | Algorithm::PS512));
            }
        }
    }
}
