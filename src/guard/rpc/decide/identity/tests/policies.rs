use super::*;

fn refused(change: impl FnOnce(&mut Policy)) -> String {
    let mut policy = policy();
    change(&mut policy);
    Identities::of(&policy).err().expect("it was read")
}

fn rsa(bits: usize) -> Public {
    let modulus = vec![0xff; bits / 8];
    Public::Rsa { n: URL_SAFE_NO_PAD.encode(modulus), e: "AQAB".into() }
}

#[test]
fn a_policy_that_names_nobody_in_particular_is_refused_by_its_field() {
    let key = |change: fn(&mut Key)| refused(|policy| change(&mut policy.issuers[0].keys[0]));
    let identity = |identity| refused(|policy| policy.callers[1].identity = identity);
    let oidc = |issuer: &str, audience: &str, subjects: &[&str]| Identity::Oidc {
        issuer: issuer.into(),
        audience: audience.into(),
        subjects: subjects.iter().map(|subject| (*subject).into()).collect(),
    };
    let account = |namespace: &str, name: &str| Identity::ServiceAccount {
        namespace: namespace.into(),
        name: name.into(),
    };
    let certificate = |authority: &str, subject: &str| Identity::ClientCertificate {
        authority: authority.into(),
        subjects: vec![subject.into()],
    };
    let ours = certificates::Ca::root("acme").pem;
    for (error, wanted) in [
        (refused(|policy| policy.audience.clear()), "audience: empty"),
        (
            refused(|policy| policy.issuers[1].issuer = CLUSTER.into()),
            "issuers.https://kubernetes.default.svc:",
        ),
        (key(|key| key.id.clear()), "issuers.https://kubernetes.default.svc.keys[0] (): give the id"),
        (
            key(|key| (key.id, key.algorithm, key.public) = ("three".into(), Algorithm::RS256, rsa(2048))),
            "each id once",
        ),
        (key(|key| key.algorithm = Algorithm::RS256), "keys[0] (one): ec keys are used"),
        (key(|key| key.algorithm = Algorithm::ES384), "as many bytes as the curve has"),
        (
            refused(|policy| policy.issuers[1].keys[0].algorithm = Algorithm::ES256),
            "ES256 and ES384 are of ec keys",
        ),
        (refused(|policy| policy.issuers[1].keys[0].public = rsa(2040)), "RSA has 2048 to 8192 bits"),
        (refused(|policy| policy.issuers[1].keys[0].public = rsa(8200)), "RSA has 2048 to 8192 bits"),
        (
            refused(|policy| {
                policy.issuers[1].keys[0].public = Public::Rsa { n: "a+/=".into(), e: "AQAB".into() }
            }),
            "without padding",
        ),
        (identity(account("", "wallet")), "callers.shop.identity.serviceAccount"),
        (identity(account("apps", "")), "callers.shop.identity.serviceAccount"),
        (identity(oidc("", "ledger", &["shop"])), "callers.shop.identity.oidc"),
        (identity(oidc(PROVIDER, "", &["shop"])), "callers.shop.identity.oidc"),
        (identity(oidc(PROVIDER, "ledger", &[])), "callers.shop.identity.oidc"),
        (identity(oidc(PROVIDER, "ledger", &["shop", ""])), "callers.shop.identity.oidc"),
        (identity(certificate("", "dns:a")), "callers.shop.identity.clientCertificate.authority: holds no"),
        (identity(certificate(&ours, "a.example")), "callers.shop.identity.clientCertificate.subjects"),
        (identity(certificate(&ours, "DNS:a.example")), "callers.shop.identity.clientCertificate.subjects"),
        (identity(certificate(&ours, "cn:")), "callers.shop.identity.clientCertificate.subjects"),
    ] {
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn reasons_are_a_list_of_which_each_is_one() {
    let mut reasons = Denied::REASONS.to_vec();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), Denied::REASONS.len());
    assert_eq!(Denied::Nothing.reason(), "no_credentials");
    assert_eq!(Denied::Unbound.reason(), "token_without_pod");
    assert_eq!(Denied::Stranger.reason(), "no_caller");
}

#[test]
fn nobody_is_known_of_an_issuer_whose_keys_are_not_known_yet() {
    let mut policy = policy();
    policy.issuers.clear();
    policy.cluster = None;
    let none = Identities::of(&policy).unwrap();
    assert_eq!(none.of_token(&of_cluster(&of_account()), NOW), Err(Denied::Issuer));
    policy = self::policy();
    policy.cluster = None;
    let unsaid = Identities::of(&policy).unwrap();
    assert_eq!(unsaid.of_token(&of_cluster(&of_account()), NOW), Err(Denied::Stranger));
}

#[test]
fn a_token_counts_as_long_as_its_issuer_has_its_key_and_it_is_of_this_cluster_for_this_node() {
    let provided = signed(
        r#"{"alg":"PS256","kid":"two","typ":"at+JWT"}"#,
        &of_provider().to_string(),
        &RSA,
        Signing::PS256,
    );
    let before = identities();
    let [account, other] =
        [of_cluster(&super::of_account()), provided].map(|token| before.of_token(&token, NOW).unwrap());
    let still = |known: &Known, change: &dyn Fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        Identities::of(&policy).unwrap().still_take(&before, known)
    };
    for (number, (of_account, of_other, change)) in [
        (true, true, (|_| {}) as fn(&mut Policy)),
        (true, true, |policy| policy.issuers[0].keys.push(P256.as_key("four", Algorithm::ES256))),
        (true, true, |policy| policy.issuers.reverse()),
        (true, true, |policy| policy.issuers[0].keys.truncate(1)),
        (false, true, |policy| drop(policy.issuers[0].keys.remove(0))),
        (false, true, |policy| policy.issuers[0].keys[0].id = "four".into()),
        (false, true, |policy| policy.issuers[0].keys[0].public = STRANGE.public.clone()),
        (true, false, |policy| policy.issuers[1].keys[0].algorithm = Algorithm::RS256),
        (false, true, |policy| drop(policy.issuers.remove(0))),
        (true, false, |policy| drop(policy.issuers.remove(1))),
        (false, true, |policy| policy.audience = "bob-rpc.ledger.svc".into()),
        (false, true, |policy| policy.cluster = Some("https://other.example".into())),
        // the same key of another issuer
        (false, true, |policy| policy.issuers[0].issuer = "https://other.example".into()),
    ]
    .into_iter()
    .enumerate()
    {
        let found = (still(&account, &change), still(&other, &change));
        assert_eq!(found, (of_account, of_other), "change {number}");
    }
    let shown = Known { signer: None, ..account };
    assert!(still(&shown, &|policy| policy.issuers.clear()), "a certificate's CAs belong to the entry");
}
