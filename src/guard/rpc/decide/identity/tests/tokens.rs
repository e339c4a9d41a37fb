use proptest::prelude::*;

use super::*;

const HEADER: &str = r#"{"alg":"ES256","kid":"one"}"#;

fn reason(token: &str) -> &'static str {
    identities().of_token(token, NOW).map_or_else(|denied| denied.reason(), |_| "known")
}

#[test]
fn a_projected_token_is_known_by_its_account_until_it_ends() {
    let backup = with(of_account(), "/kubernetes.io/serviceaccount/name", Some("backup".into()));
    let backup = with(backup, "/sub", Some("system:serviceaccount:apps:backup".into()));
    let until = NOW + 3000 + SKEW;
    for (token, caller, name) in
        [(of_cluster(&of_account()), 0, "wallet"), (of_cluster(&backup), 2, "backup")]
    {
        let who = format!(r#","subject":"system:serviceaccount:apps:{name}","pod":"wallet-0""#).into();
        let known = identities().of_token(&token, NOW).unwrap();
        assert_eq!((known.caller, known.until, known.who), (caller, until, who));
    }
    let token = signed(
        r#"{"alg":"PS256","kid":"two","typ":"at+JWT"}"#,
        &of_provider().to_string(),
        &RSA,
        Signing::PS256,
    );
    let (until, who) = (NOW + 36_000 + SKEW, r#","subject":"shop""#.into());
    let known = identities().of_token(&token, NOW).unwrap();
    assert_eq!((known.caller, known.until, known.who), (1, until, who));
}

#[test]
fn a_key_is_used_in_its_own_way_and_of_two_with_one_id_the_one_that_is_named() {
    let claims = of_account().to_string();
    let token = |alg: &str, kid: &str, signer: &Signer, algorithm| {
        signed(&format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#), &claims, signer, algorithm)
    };
    for (told, used, kid, wanted) in [
        ("ES256", Signing::ES256, "one", "known"),
        ("RS256", Signing::RS256, "three", "known"),
        ("ES384", Signing::ES384, "three", "known"),
        ("PS256", Signing::PS256, "three", "token_algorithm"),
        ("RS512", Signing::RS512, "three", "token_algorithm"),
        ("RS256", Signing::PS256, "three", "token_signature"),
        ("RS256", Signing::RS384, "three", "token_signature"),
        ("RS256", Signing::ES384, "three", "token_signature"),
        ("ES384", Signing::RS256, "three", "token_signature"),
        ("ES256", Signing::ES256, "three", "token_algorithm"),
        ("ES384", Signing::ES384, "one", "token_algorithm"),
        ("es256", Signing::ES256, "one", "token_algorithm"),
        ("ES256", Signing::ES256, "two", "token_key"),
        ("ES256", Signing::ES256, "One", "token_key"),
        ("ES256", Signing::ES256, "", "token_key"),
        ("none", Signing::ES256, "one", "token_algorithm"),
        ("HS256", Signing::ES256, "one", "token_algorithm"),
        ("EdDSA", Signing::ES256, "one", "token_algorithm"),
    ] {
        let signer = match used {
            Signing::ES256 => &P256,
            Signing::ES384 => &P384,
            _ => &RSA,
        };
        assert_eq!(reason(&token(told, kid, signer, used)), wanted, "{told} by {used:?} with {kid}");
    }
}

#[test]
fn what_is_public_is_no_secret_and_what_is_not_signed_is_not_said() {
    let claims = of_account().to_string();
    let Public::Ec { x, y } = &P256.public else { panic!("an ec key") };
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&P256.der)
    );
    let point = [vec![4], URL_SAFE_NO_PAD.decode(x).unwrap(), URL_SAFE_NO_PAD.decode(y).unwrap()].concat();
    for secret in [&P256.der[..], pem.as_bytes(), &point, x.as_bytes(), b""] {
        let hmac = Signer { key: EncodingKey::from_secret(secret), public: P256.public.clone(), der: vec![] };
        let header = |alg: &str| format!(r#"{{"alg":"{alg}","kid":"one"}}"#);
        let token = signed(&header("HS256"), &claims, &hmac, Signing::HS256);
        assert_eq!(reason(&token), "token_algorithm");
        let token = signed(&header("ES256"), &claims, &hmac, Signing::HS256);
        assert_eq!(reason(&token), "token_signature");
    }
    let own = format!(
        r#"{{"alg":"ES256","kid":"one","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}},"jku":"https://a.example"}}"#
    );
    assert_eq!(
        reason(&signed(&own, &claims, &STRANGE, Signing::ES256)),
        "token_signature",
        "the key it brings along"
    );
    let good = of_cluster(&of_account());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let cut = [&raw[..63], &raw[..32], &raw[..0], &[0; 64][..], &[&raw[..], &[0]].concat()]
        .map(|it| URL_SAFE_NO_PAD.encode(it));
    for signature in cut {
        assert_eq!(reason(&format!("{message}.{signature}")), "token_signature", "{signature}");
    }
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let (_, claims) = message.split_once('.').unwrap();
    assert_eq!(reason(&format!("{none}.{claims}.")), "token_malformed");
}

#[test]
fn one_byte_more_or_less_or_other_and_it_is_nobody() {
    let good = of_cluster(&of_account());
    let identities = identities();
    for at in 0..good.len() {
        let (before, rest) = good.split_at(at);
        let after = &rest[1..];
        let old = rest.as_bytes()[0];
        // the neighbour differs only in the lowest bits, which a lenient decoder drops at the end
        let others = [old ^ 1, b'A', b'=', b'.', b'-', b' ', b'\n'].map(char::from);
        let changed = others
            .into_iter()
            .filter(|other| *other != char::from(old))
            .map(|other| format!("{before}{other}{after}"));
        let inserted = ['=', '.', ' ', 'A'].map(|other| format!("{before}{other}{rest}"));
        for token in changed.chain(inserted).chain([format!("{before}{after}")]) {
            assert!(identities.of_token(&token, NOW).is_err(), "{token}");
        }
    }
    let parts = good.rsplit_once('.').unwrap().0;
    let four = format!("{parts}.e30");
    let signature = jsonwebtoken::crypto::sign(four.as_bytes(), &P256.key, Signing::ES256).unwrap();
    assert_eq!(reason(&format!("{four}.{signature}")), "token_malformed", "four parts, all of them signed");
    for token in [format!("{good}A"), format!("{good}="), format!("{good}\0"), format!("Bearer {good}")] {
        assert!(identities.of_token(&token, NOW).is_err(), "{token}");
    }
}

#[test]
fn a_text_that_can_be_read_in_two_ways_is_not_read() {
    let claims = of_account().to_string();
    let inner = claims.strip_prefix('{').unwrap();
    let header = |header: &str| signed(header, &claims, &P256, Signing::ES256);
    let body = |claims: &str| signed(HEADER, claims, &P256, Signing::ES256);
    for token in [
        header(r#"{"alg":"ES256","alg":"ES256","kid":"one"}"#),
        header(r#"{"alg":"none","\u0061lg":"ES256","kid":"one"}"#),
        header(r#"{"alg":"ES256"}"#),
        header(r#"{"kid":"one"}"#),
        header(r#"{"alg":"ES256","kid":1}"#),
        header(r#"{"alg":["ES256"],"kid":"one"}"#),
        header(r#"{"alg":"ES256","kid":"one","crit":[]}"#),
        header(r#"{"alg":"ES256","kid":"one","crit":["b64"],"b64":false}"#),
        header(r#"{"alg":"ES256","kid":"one","typ":"JOSE"}"#),
        header(r#"{"alg":"ES256","kid":"one","typ":null}"#),
        header(r#"[{"alg":"ES256","kid":"one"}]"#),
        header(r#"{"alg":"ES256","kid":"one"} {}"#),
        header("\u{feff}{\"alg\":\"ES256\",\"kid\":\"one\"}"),
        header("{\"alg\":\"ES256\",\"kid\":\"one\"}\0"),
        header(""),
        body(&format!(r#"{{"sub":"system:serviceaccount:apps:backup",{inner}"#)),
        body(&format!(r#"{{"s\u0075b":"x",{inner}"#)),
        body(&format!(r#"{{"iss":"{PROVIDER}",{inner}"#)),
        body(&claims.replace(r#""pod":{"#, r#""pod":{"uid":"p2","#)),
        body(&claims.replace(r#""pod":{"#, r#""pod":[],"pod":{"#)),
        body(&format!(r#"{{"a":[[{{"b":1,"b":1}}]],{inner}"#)),
        body(&format!("[{claims}]")),
        body(&format!("{claims}{claims}")),
        body(&format!("{claims},")),
        body("null"),
        body(r#""{}""#),
        body(""),
        body(&format!(r#"{{"a":{}1{},{inner}"#, "[".repeat(200), "]".repeat(200))),
        body(&format!(r#"{{"a":"{}",{inner}"#, "a".repeat(7000))),
    ] {
        assert_eq!(reason(&token), "token_malformed", "{token}");
    }
    assert_eq!(reason(&header(r#"{"alg":"ES256","kid":"one","typ":"jwt","x5c":[]}"#)), "known");
    assert_eq!(reason(&body(&format!(r#" {{ "a\/b" : [{{"b":1}},{{"b":1}}] ,{inner} "#))), "known");
}

#[test]
fn every_claim_of_an_account_counts() {
    let far = json!([u64::MAX]);
    let reads = |path, value: Value| reason(&of_cluster(&with(of_account(), path, Some(value))));
    for (path, value, wanted) in [
        ("/aud", json!(AUDIENCE), "known"),
        ("/aud", json!(["other", AUDIENCE]), "known"),
        ("/aud", json!("other"), "token_audience"),
        ("/aud", json!([]), "token_audience"),
        ("/aud", json!(format!("{AUDIENCE}.")), "token_audience"),
        ("/aud", json!("ledger"), "token_audience"),
        ("/aud", json!([AUDIENCE, 1]), "token_malformed"),
        ("/aud", json!({AUDIENCE: true}), "token_malformed"),
        ("/aud", json!(null), "token_malformed"),
        ("/iss", json!(PROVIDER), "token_key"),
        ("/iss", json!(format!("{CLUSTER}/")), "token_issuer"),
        ("/iss", json!("kubernetes/serviceaccount"), "token_issuer"),
        ("/iss", json!([CLUSTER]), "token_issuer"),
        ("/exp", json!(NOW - 29), "known"),
        ("/exp", json!(NOW - 30), "token_expired"),
        ("/exp", json!(NOW - 600), "token_malformed"),
        ("/exp", json!(NOW - 600 + 3607), "known"),
        ("/exp", json!(NOW - 600 + 3608), "token_lifetime"),
        ("/exp", json!((NOW + 3000).to_string()), "token_malformed"),
        ("/exp", json!(1_800_003_000.5), "token_malformed"),
        ("/exp", json!(-1), "token_malformed"),
        ("/exp", json!(1e300), "token_malformed"),
        ("/exp", json!(u64::MAX), "token_lifetime"),
        ("/exp", far, "token_malformed"),
        ("/nbf", json!(NOW + 30), "known"),
        ("/nbf", json!(NOW + 31), "token_not_yet_valid"),
        ("/nbf", json!("0"), "token_malformed"),
        ("/nbf", json!(null), "token_malformed"),
        ("/iat", json!(NOW + 30), "known"),
        ("/iat", json!(NOW + 31), "token_not_yet_valid"),
        ("/iat", json!(0), "token_lifetime"),
        ("/sub", json!("system:serviceaccount:apps:backup"), "token_malformed"),
        ("/sub", json!(["system:serviceaccount:apps:wallet"]), "token_malformed"),
        ("/kubernetes.io", json!("apps"), "token_without_pod"),
        ("/kubernetes.io/pod", json!(null), "token_without_pod"),
        ("/kubernetes.io/pod", json!({}), "token_without_pod"),
        ("/kubernetes.io/pod", json!({"name": "wallet-0", "uid": ""}), "token_without_pod"),
        ("/kubernetes.io/pod", json!("wallet-0"), "token_without_pod"),
        ("/kubernetes.io/namespace", json!("other"), "token_malformed"),
        ("/kubernetes.io/serviceaccount/name", json!("backup"), "token_malformed"),
        ("/kubernetes.io/serviceaccount", json!("wallet"), "token_malformed"),
    ] {
        assert_eq!(reads(path, value.clone()), wanted, "{path}: {value}");
    }
    for (path, wanted) in [
        ("/aud", "token_audience"),
        ("/iss", "token_issuer"),
        ("/exp", "token_malformed"),
        ("/iat", "token_malformed"),
        ("/nbf", "known"),
        ("/sub", "token_malformed"),
        ("/kubernetes.io", "token_without_pod"),
        ("/kubernetes.io/pod", "token_without_pod"),
        ("/kubernetes.io/namespace", "token_malformed"),
        ("/kubernetes.io/serviceaccount", "token_malformed"),
        ("/kubernetes.io/node", "known"),
    ] {
        assert_eq!(reason(&of_cluster(&with(of_account(), path, None))), wanted, "without {path}");
    }
    let other = with(of_account(), "/kubernetes.io/namespace", Some("other".into()));
    let other = with(other, "/sub", Some("system:serviceaccount:other:wallet".into()));
    assert_eq!(reason(&of_cluster(&other)), "no_caller");
    let bound = with(of_account(), "/kubernetes.io/pod", None);
    let bound = with(bound, "/kubernetes.io/secret", Some(json!({"name": "wallet-token", "uid": "x"})));
    assert_eq!(reason(&of_cluster(&bound)), "token_without_pod");
}

#[test]
fn every_claim_of_another_issuer_counts() {
    let token =
        |claims: &Value| signed(r#"{"alg":"PS256","kid":"two"}"#, &claims.to_string(), &RSA, Signing::PS256);
    for (path, value, wanted) in [
        ("/sub", json!("till"), "known"),
        ("/sub", json!("Shop"), "no_caller"),
        ("/sub", json!(""), "no_caller"),
        ("/sub", json!(1), "token_malformed"),
        ("/aud", json!(["x", "ledger"]), "known"),
        ("/aud", json!(AUDIENCE), "token_audience"),
        ("/exp", json!(NOW - 600 + 86_400), "known"),
        ("/exp", json!(NOW - 600 + 86_401), "token_lifetime"),
        ("/nbf", json!(NOW + 31), "token_not_yet_valid"),
        ("/iss", json!(CLUSTER), "token_key"),
    ] {
        assert_eq!(
            reason(&token(&with(of_provider(), path, Some(value.clone())))),
            wanted,
            "{path}: {value}"
        );
    }
}

/// A token of one issuer counts for another kind of caller only if that entry names the issuer.
#[test]
fn kinds_of_callers_are_kept_apart() {
    let account = of_account().to_string();
    let disguised = with(of_account(), "/iss", Some(PROVIDER.into())).to_string();
    let header = r#"{"alg":"PS256","kid":"two"}"#;
    assert_eq!(
        reason(&signed(header, &disguised, &RSA, Signing::PS256)),
        "token_audience",
        "a ServiceAccount of another issuer"
    );
    assert_eq!(
        reason(&signed(header, &account, &RSA, Signing::PS256)),
        "token_key",
        "the cluster's name, another's key"
    );
    let mut policy = policy();
    let subject = "system:serviceaccount:apps:wallet";
    policy.callers[1].identity =
        Identity::Oidc { issuer: CLUSTER.into(), audience: AUDIENCE.into(), subjects: vec![subject.into()] };
    let token = of_cluster(&with(of_account(), "/kubernetes.io/pod", None));
    let known = |policy: &Policy, token: &str| {
        Identities::of(policy).unwrap().of_token(token, NOW).map(|known| known.caller)
    };
    assert_eq!(known(&policy, &token), Ok(1), "the entry names the issuer, so no pod is required");
    assert_eq!(known(&policy, &of_cluster(&of_account())), Ok(0), "the first that fits");
    policy.callers.swap(0, 1);
    assert_eq!(known(&policy, &of_cluster(&of_account())), Ok(0));
    policy.callers.remove(0);
    assert_eq!(known(&policy, &token), Err(Denied::Unbound));
}

#[test]
fn what_is_told_helps_and_names_nobody() {
    let told = |token: &str| identities().of_token(token, NOW).unwrap_err().to_string();
    let other = |path: &str, value: Value| told(&of_cluster(&with(of_account(), path, Some(value))));
    assert!(other("/aud", json!("x")).contains("project one with audience alice-rpc.ledger.svc"));
    assert!(other("/exp", json!(NOW - 90)).contains("expired 90 s ago"));
    assert!(other("/nbf", json!(NOW + 45)).contains("valid in 45 s"));
    assert!(other("/iat", json!(NOW - 5000)).contains("lasts 8000 s and may last 3607 s"));
    // the same answer whether the issuer, its key or the signature is unknown
    let unknown = other("/iss", json!("https://x.example"));
    assert_eq!(unknown, other("/iss", json!(PROVIDER)));
    assert_eq!(unknown, told(&signed(HEADER, &of_account().to_string(), &STRANGE, Signing::ES256)));
    assert_eq!(
        unknown,
        told(&signed(r#"{"alg":"RS256","kid":"one"}"#, &of_account().to_string(), &RSA, Signing::RS256))
    );
    for text in [
        unknown,
        other("/sub", json!("SECRET")),
        other("/aud", json!("SECRET")),
        told("SECRET.SECRET.SECRET"),
    ] {
        for word in ["SECRET", "wallet", "backup", "apps", "shop", "ledger,", PROVIDER, CLUSTER] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

proptest! {
    /// A single wrong part makes the token invalid.
    #[test]
    fn a_token_is_known_exactly_where_all_of_it_is_right(
        audience in prop::sample::select(vec![(true, json!(AUDIENCE)), (true, json!([AUDIENCE, "x"])), (false, json!("x")), (false, json!(7))]),
        lasts in prop_oneof![(3570..=3640_u64), Just(60), Just(31_536_000)],
        age in 0..4000_u64,
        pod in any::<bool>(),
        namespace in prop::sample::select(vec!["apps", "ledger"]),
        said in prop::sample::select(vec!["apps", "ledger"]),
        right_key in prop::bool::weighted(0.8),
    ) {
        let mut claims = of_account();
        claims["aud"] = audience.1;
        claims["iat"] = json!(NOW - age);
        claims["nbf"] = json!(NOW - age);
        claims["exp"] = json!(NOW - age + lasts);
        claims["sub"] = json!(format!("system:serviceaccount:{said}:wallet"));
        claims["kubernetes.io"]["namespace"] = json!(namespace);
        if !pod {
            claims["kubernetes.io"]["pod"] = json!(null);
        }
        let signer = if right_key { &P256 } else { &STRANGE };
        let token = signed(HEADER, &claims.to_string(), signer, Signing::ES256);
        let right = audience.0 && lasts <= 3607 && age < lasts + 30 && pod && namespace == "apps" && said == "apps" && right_key;
        prop_assert_eq!(identities().of_token(&token, NOW).is_ok(), right);
    }

    #[test]
    fn no_text_makes_it_stumble(text in "[ -~]{0,60}|[A-Za-z0-9_.=-]{0,300}") {
        prop_assert!(identities().of_token(&text, NOW).is_err());
    }
}
