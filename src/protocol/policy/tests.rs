use super::*;

fn policy() -> Policy {
    let caller = |name: &str, identity| Caller {
        name: name.into(),
        identity,
        methods: vec!["eth_*".into(), "net_version".into()],
        private_state: name == "bank",
        origins: vec!["https://app.example".into()],
        calls_per_second: 100,
        burst: 200,
        connections: 64,
    };
    let rsa = Key {
        id: "one".into(),
        algorithm: Algorithm::RS256,
        public: Public::Rsa { n: "AQAB".into(), e: "AQAB".into() },
    };
    Policy {
        version: VERSION,
        hosts: vec!["alice-rpc.ledger.svc".into()],
        audience: "alice-rpc.ledger.svc".into(),
        cluster: Some("https://kubernetes.default.svc".into()),
        issuers: vec![Issuer { issuer: "https://kubernetes.default.svc".into(), keys: vec![rsa] }],
        callers: vec![
            caller("wallet", Identity::ServiceAccount { namespace: "apps".into(), name: "wallet".into() }),
            caller(
                "bank",
                Identity::ClientCertificate {
                    authority: "PEM".into(),
                    subjects: vec!["dns:bank.example".into()],
                },
            ),
            caller(
                "shop",
                Identity::Oidc {
                    issuer: "https://id.example".into(),
                    audience: "ledger".into(),
                    subjects: vec!["shop".into()],
                },
            ),
        ],
        limits: Limits::default(),
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let policy = policy();
    assert_eq!(Policy::read(policy.write().as_bytes()), Ok(policy));
}

#[test]
fn a_caller_whose_entry_does_not_say_has_no_private_state() {
    let mut file: serde_json::Value = serde_json::from_str(&policy().write()).unwrap();
    let reads = |file: &serde_json::Value| {
        let policy = Policy::read(file.to_string().as_bytes()).unwrap();
        policy.callers.iter().map(|caller| caller.grants().unwrap().allow("eth_call")).collect::<Vec<_>>()
    };
    assert_eq!(reads(&file), [false, true, false]);
    file["callers"][1].as_object_mut().unwrap().remove("privateState");
    assert_eq!(reads(&file), [false; 3]);
}

#[test]
fn limits_that_are_left_out_have_their_defaults() {
    let mut file: serde_json::Value = serde_json::from_str(&policy().write()).unwrap();
    file["limits"] = serde_json::json!({"batchCalls": 7});
    let read = Policy::read(file.to_string().as_bytes()).unwrap();
    assert_eq!(read.limits, Limits { batch_calls: 7, ..Limits::default() });
}

#[test]
fn a_file_that_is_wrong_names_field_value_and_what_to_do() {
    let with = |change: fn(&mut Policy)| {
        let mut policy = policy();
        change(&mut policy);
        Policy::read(policy.write().as_bytes()).unwrap_err()
    };
    for (error, wanted) in [
        (with(|policy| policy.version = 2), "version: 2: this guard reads version 1"),
        (with(|policy| policy.limits.batch_calls = 0), "limits.batchCalls: 0: give at least 1"),
        (with(|policy| policy.callers[1].name = "wallet".into()), "callers: wallet: each name once"),
        (with(|policy| policy.callers[0].burst = 0), "callers.wallet.burst: 0: give at least 1"),
        (
            with(|policy| policy.callers[2].methods = vec!["admin_*".into()]),
            "callers.shop.methods: \"admin_*\": wildcards are",
        ),
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    let unknown = policy().write().replace("\"hosts\"", "\"hostnames\"");
    assert!(Policy::read(unknown.as_bytes()).unwrap_err().contains("hostnames"));
}

#[test]
fn every_limit_has_its_name_of_the_file() {
    let file = serde_json::to_value(Limits::default()).unwrap();
    let file: BTreeSet<&str> = file.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(file, Limits::default().named().iter().map(|(name, _)| *name).collect());
}
