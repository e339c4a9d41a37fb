//! Tests of the callers of JSON-RPC.

use super::{
    faults::{Case, case, cidr, empty, invalid, missing, unusable},
    *,
};
use crate::{
    api::{parts::Resources, rpc::Caller},
    node::observed::samples::{CLUSTER, called, issuer},
};

fn caller(observed: &mut Observed, at: usize) -> &mut Caller {
    &mut spec(observed).rpc.callers[at]
}

fn guard(observed: &mut Observed, memory: &str, connections: i32) {
    let rpc = &mut spec(observed).rpc;
    rpc.resources = Some(Resources::of("50m", memory));
    rpc.limits.connections = connections;
}

#[test]
fn a_guard_has_memory_for_its_connections() {
    for (memory, connections) in [("64Mi", 512), ("1282Mi", 20_000), ("33Mi", 16), ("4128Mi", 65_536)] {
        let mut observed = in_order(called());
        guard(&mut observed, memory, connections);
        valid(&observed);
        spec(&mut observed).rpc.limits.connections += 1;
        assert_eq!(faults(&observed)[0].field, "spec.rpc.resources.memory", "{memory}");
    }
    for connections in [1, 512, 65_536] {
        let mut observed = in_order(called());
        spec(&mut observed).rpc.limits.connections = connections;
        valid(&observed);
    }
}

/// Adds a caller with the same identity as the one at `at`.
fn again(observed: &mut Observed, at: usize) -> &mut Caller {
    let (another, name) = (caller(observed, at).clone(), "another".to_owned());
    let found = observed.callers.authorities.get(&another.name).cloned();
    observed.callers.authorities.extend(found.map(|found| (name.clone(), found)));
    spec(observed).rpc.callers.push(Caller { name, ..another });
    caller(observed, 3)
}

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    let authority = "spec.rpc.callers[1].identity.clientCertificate.authority";
    vec![
        invalid(called, |seen| caller(seen, 0).methods = vec!["eth_call".into(), "admin_*".into()],
            "spec.rpc.callers[0].methods", "admin_*", "wildcards are eth_*, net_*, txpool_* and web3_*"),
        invalid(called, |seen| caller(seen, 1).methods = vec!["personal_unlockAccount".into()],
            "spec.rpc.callers[1].methods", "personal_unlockAccount", "it cannot be granted"),
        invalid(called, |seen| caller(seen, 2).origins = vec!["https://a.example:8443".into(), "https://a.example:443".into()],
            "spec.rpc.callers[2].origins", "https://a.example:443", "remove the port"),
        invalid(called, |seen| caller(seen, 2).origins = vec!["http://a.example:443".into(), "http://a.example:80".into()],
            "spec.rpc.callers[2].origins", "http://a.example:80", "remove the port"),
        invalid(called, |seen| caller(seen, 2).origins = vec!["https://a.example:65536".into()],
            "spec.rpc.callers[2].origins", "https://a.example:65536", "from 1 to 65535"),
        invalid(called, |seen| caller(seen, 1).from = vec![cidr("192.0.2.0/24"), cidr("300.0.2.0/24")],
            "spec.rpc.callers[1].from[1].cidr", "300.0.2.0/24", "write a range such as"),
        invalid(called, |seen| guard(seen, "63Mi", 512),
            "spec.rpc.resources.memory", "63Mi", "spec.rpc.limits.connections (512) needs at least 64Mi"),
        invalid(called, |seen| guard(seen, "1Gi", 20_000),
            "spec.rpc.resources.memory", "1Gi", "spec.rpc.limits.connections (20000) needs at least 1282Mi"),
        invalid(called, |seen| { again(seen, 0); },
            "spec.rpc.callers[3].identity", "ServiceAccount apps/wallet", "callers wallet and another have the same identity"),
        invalid(called, |seen| {
            let certificate = again(seen, 1).identity.client_certificate.as_mut().expect("a certificate");
            certificate.subjects.insert(0, "cn:more".into());
        }, "spec.rpc.callers[3].identity", "dns:till.bank.example", "callers bank and another have the same identity"),
        invalid(called, |seen| { again(seen, 2); },
            "spec.rpc.callers[3].identity", "explorer", "callers explorer and another have the same identity"),
        invalid(called, |seen| {
            let oidc = again(seen, 2).identity.oidc.as_mut().expect("an issuer");
            oidc.subjects = vec!["somebody".into()];
            oidc.authority = Some(serde_json::from_value(json!({"name": "id-ca", "key": "ca.crt"})).expect("a key"));
        }, "spec.rpc.callers[3].identity.oidc.authority", "https://id.example/realms/ledger", "set identity.oidc.authority of both callers to the same value"),
        missing(called, |seen| drop(seen.callers.authorities.insert("bank".into(), Found::Missing)), authority),
        unusable(called, |seen| drop(seen.callers.authorities.insert("bank".into(), empty())), authority),
        case(called, |seen| drop(seen.callers.authorities.insert("bank".into(), Found::Present("x".repeat(16385)))),
            Reason::ReferenceInvalid, authority, "16385 bytes", "more than 16384 bytes of PEM"),
    ]
}

#[test]
fn callers_come_with_what_is_known_of_them() {
    let node = valid(&in_order(called()));
    assert!(node.has_callers() && !valid(&in_order(smallest())).has_callers());
    assert_eq!(node.callers.authorities, [("bank".to_owned(), "authority of bank\n".to_owned())].into());
    assert_eq!(node.callers.cluster, Some(issuer(CLUSTER)));
    let url = "https://id.example/realms/ledger";
    assert_eq!(node.callers.issuers, [(url.to_owned(), issuer(url))].into());
}

/// Callers that differ in one property have different identities.
#[test]
fn callers_that_differ_in_anything_that_is_proven_are_two() {
    for change in [
        (|seen| {
            again(seen, 0).identity.service_account.as_mut().expect("an account").namespace = "other".into()
        }) as fn(&mut Observed),
        |seen| again(seen, 0).identity.service_account.as_mut().expect("an account").name = "other".into(),
        |seen| again(seen, 1).identity.client_certificate.as_mut().expect("one").subjects[0] = "dns:b".into(),
        |seen| again(seen, 1).identity.client_certificate.as_mut().expect("one").authority.name = "b".into(),
        |seen| again(seen, 2).identity.oidc.as_mut().expect("an issuer").audience = "b".into(),
        |seen| again(seen, 2).identity.oidc.as_mut().expect("an issuer").issuer = "https://b".into(),
        |seen| again(seen, 2).identity.oidc.as_mut().expect("an issuer").subjects[0] = "b".into(),
    ] {
        let mut observed = in_order(called());
        change(&mut observed);
        assert_eq!(valid(&observed).spec.rpc.callers.len(), 4);
    }
}

#[test]
fn a_policy_that_no_config_map_holds_is_a_fault_and_not_an_error() {
    let mut observed = in_order(called());
    let methods: Vec<String> = (0..128).map(|i| format!("eth_{i:0>124}")).collect();
    for i in 0..32 {
        let (mut more, name) = (caller(&mut observed, 0).clone(), format!("more-{i}"));
        more.identity.service_account.as_mut().expect("an account").name = name.clone();
        spec(&mut observed).rpc.callers.push(Caller { name, methods: methods.clone(), ..more });
    }
    assert!(validate(&observed).is_ok(), "methods alone fit");
    for i in 0..32 {
        let pem = Found::Present("x".repeat(16384));
        observed.callers.authorities.insert(format!("more-{i}"), pem);
        let identity = &mut caller(&mut observed, 3 + i).identity;
        identity.service_account = None;
        identity.client_certificate = Some(
            serde_json::from_value(json!({
                "authority": {"name": "ca", "key": "ca.crt"}, "subjects": [format!("cn:{i}")],
            }))
            .expect("a certificate"),
        );
    }
    let faults = faults(&observed);
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert_eq!((fault.reason, fault.field.as_str()), (Reason::InvalidField, "spec.rpc.callers"));
}
