//! Fuzzes tokens: if a token identifies a caller, its issuer, subject, audience and lifetime must be those that any
//! other reader finds. The input holds a header, a NUL and claims, which the target signs. The input itself is tried as
//! a token too; it has no valid signature and must identify no caller.
#![no_main]

mod members;

use std::{collections::BTreeSet, sync::LazyLock};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use libfuzzer_sys::fuzz_target;
use members::Members;
use quorum_operator::{
    guard::rpc::decide::identity::{Identities, LIFETIME, SERVICE_ACCOUNT_LIFETIME, SKEW},
    protocol::policy::{Algorithm, Caller, Identity, Issuer, Key, Limits, Policy, Public, VERSION},
};
use serde_json::{Value, value::RawValue};

/// Current time in Unix seconds. The seeds are made for it.
const NOW: u64 = 1_700_000_000;

struct Signer {
    key: EcdsaKeyPair,
    identities: Identities,
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    // an uncompressed point: 4, then both coordinates
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let (x, y) = (BASE64.encode(x), BASE64.encode(y));
    let identities = Identities::of(&policy(&Public::Ec { x, y })).expect("a policy");
    Signer { key, identities }
});

fn policy(public: &Public) -> Policy {
    let issuer = |name: &str| Issuer {
        issuer: name.into(),
        keys: vec![Key { id: "one".into(), algorithm: Algorithm::ES256, public: public.clone() }],
    };
    let caller = |name: &str, identity| Caller {
        name: name.into(),
        identity,
        methods: vec![],
        private_state: false,
        origins: vec![],
        calls_per_second: 1,
        burst: 1,
        connections: 1,
    };
    Policy {
        version: VERSION,
        hosts: vec![],
        audience: "alice".into(),
        cluster: Some("https://cluster".into()),
        issuers: vec![issuer("https://cluster"), issuer("https://id")],
        callers: vec![
            caller("wallet", Identity::ServiceAccount { namespace: "apps".into(), name: "wallet".into() }),
            caller(
                "shop",
                Identity::Oidc {
                    issuer: "https://id".into(),
                    audience: "ledger".into(),
                    subjects: vec!["shop".into()],
                },
            ),
        ],
        limits: Limits::default(),
    }
}

fuzz_target!(|input: &[u8]| {
    let Signer { key, identities } = &*SIGNER;
    if let Ok(token) = std::str::from_utf8(input) {
        assert!(identities.of_token(token, NOW).is_err(), "known without a signature");
    }
    let Some(middle) = input.iter().position(|byte| *byte == 0) else { return };
    let (header, claims) = (&input[..middle], &input[middle + 1..]);
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    let signature = BASE64.encode(signature);
    let Ok(known) = identities.of_token(&format!("{signed}.{signature}"), NOW) else { return };
    unique(serde_json::from_slice(header).expect("a header"));
    unique(serde_json::from_slice(claims).expect("claims"));
    let header: Value = serde_json::from_slice(header).expect("a header");
    let claims: Value = serde_json::from_slice(claims).expect("claims");
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("ES256"), Some("one")));
    assert_eq!(header.get("crit"), None);
    let second = |name: &str| claims[name].as_u64().expect("a second");
    let is_for = |wanted: &str| match &claims["aud"] {
        Value::Array(several) => several.iter().any(|one| one == wanted),
        one => one == wanted,
    };
    assert!(second("exp") + SKEW > NOW && second("iat") <= NOW + SKEW);
    assert!(claims.get("nbf").is_none() || second("nbf") <= NOW + SKEW);
    assert_eq!(known.until, second("exp") + SKEW);
    let lasts = second("exp") - second("iat");
    if known.caller == 0 {
        let own = &claims["kubernetes.io"];
        assert!(claims["iss"] == "https://cluster" && is_for("alice") && lasts <= SERVICE_ACCOUNT_LIFETIME);
        assert_eq!(claims["sub"], "system:serviceaccount:apps:wallet");
        assert!(own["namespace"] == "apps" && own["serviceaccount"]["name"] == "wallet");
        assert!(own["pod"]["name"].is_string() && own["pod"]["uid"].is_string());
    } else {
        assert!(claims["iss"] == "https://id" && is_for("ledger") && lasts <= LIFETIME);
        assert_eq!(claims["sub"], "shop");
    }
});

/// Checks that no object has duplicate names, at any depth.
fn unique(value: &RawValue) {
    let text = value.get();
    if text.starts_with('{') {
        let Members(members) = serde_json::from_str(text).expect("an object");
        let names: BTreeSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), members.len(), "a name twice: {text}");
        members.iter().for_each(|(_, value)| unique(value));
    } else if text.starts_with('[') {
        let values: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
        values.into_iter().for_each(unique);
    }
}
