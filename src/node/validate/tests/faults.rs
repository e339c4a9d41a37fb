//! Tests of validation faults, one case for each.

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{node::Engine, status::GenesisStatus},
    model::{fault, genesis::Engine as EngineOf},
};

/// A change that makes a valid node invalid, and the expected fault.
pub(super) struct Case {
    node: fn() -> Value,
    change: fn(&mut Observed),
    reason: Reason,
    field: &'static str,
    value: &'static str,
    remedy: &'static str,
}

const KEY: &str = "enode://0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

pub(super) fn cidr(range: &str) -> crate::api::parts::Source {
    serde_json::from_value(json!({"cidr": range})).expect("a source")
}

/// A node with a peer manager of another organisation and an encrypted key.
fn with_peers() -> Value {
    let mut node = member();
    node["spec"]["transactionManager"]["peers"] = json!([
        {"url": "https://tm.first.example:9000", "cidrs": ["192.0.2.0/24"]},
        {"url": "https://tm.second.example:9000/", "cidrs": ["2001:db8::/64", "192.0.2.0/24"]},
    ]);
    node["spec"]["transactionManager"]["keys"]["passwordRef"] =
        json!({"name": "bob-password", "key": "password"});
    node
}

fn with_certificate() -> Value {
    let mut node = member_of_external_database();
    let external = &mut node["spec"]["transactionManager"]["database"]["external"];
    external.as_object_mut().expect("a map").remove("passwordRef");
    external["clientCertificateRef"] = json!({"name": "pg-client"});
    node
}

fn adopting() -> Value {
    let mut node = smallest();
    node["spec"]["nodeKey"] = json!({"secretRef": {"name": "from-vault", "key": "key.hex"}});
    node
}

fn tm(observed: &mut Observed) -> &mut TransactionManager {
    spec(observed).transaction_manager.as_mut().expect("the sample has a transaction manager")
}

pub(super) fn case(
    node: fn() -> Value,
    change: fn(&mut Observed),
    reason: Reason,
    field: &'static str,
    value: &'static str,
    remedy: &'static str,
) -> Case {
    Case { node, change, reason, field, value, remedy }
}

pub(super) fn invalid(
    node: fn() -> Value,
    change: fn(&mut Observed),
    field: &'static str,
    value: &'static str,
    remedy: &'static str,
) -> Case {
    case(node, change, Reason::InvalidField, field, value, remedy)
}

pub(super) fn missing(node: fn() -> Value, change: fn(&mut Observed), field: &'static str) -> Case {
    let remedy = "create the object that the field names, in the node's namespace";
    case(node, change, Reason::ReferenceMissing, field, "missing", remedy)
}

pub(super) fn unusable(node: fn() -> Value, change: fn(&mut Observed), field: &'static str) -> Case {
    case(node, change, Reason::ReferenceInvalid, field, "invalid", "is empty: write the content of this key")
}

pub(super) fn empty<T>() -> Found<T> {
    Found::Invalid("password is empty: write the content of this key".into())
}

#[rustfmt::skip]
fn invalid_fields() -> Vec<Case> {
    vec![
        invalid(smallest, |seen| spec(seen).client.tunables.cache_mib = 1025,
            "spec.client.tunables.cacheMib", "1025", "at most half of spec.client.resources.memory (2048 MiB)"),
        invalid(smallest, |seen| spec(seen).peering.from = vec![cidr("192.0.2.0/24"), cidr("300.0.2.0/24")],
            "spec.peering.from[1].cidr", "300.0.2.0/24", "write a range such as 192.0.2.0/24 or 2001:db8::/64"),
        invalid(member, |seen| spec(seen).metrics.scrapers[0].from = cidr("1::2::3/64"),
            "spec.metrics.scrapers[0].from.cidr", "1::2::3/64", "write a range such as"),
        invalid(with_peers, |seen| tm(seen).peers[1].cidrs[0] = "2001:db8:::/64".into(),
            "spec.transactionManager.peers[1].cidrs", "2001:db8:::/64", "write a range such as"),
        invalid(member_of_external_database, |seen| {
            tm(seen).database.external.as_mut().expect("external").cidrs[0] = "198.51.100.256/28".into();
        }, "spec.transactionManager.database.external.cidrs", "198.51.100.256/28", "write a range such as"),
        invalid(with_peers, |seen| tm(seen).peers[1].cidrs.clear(),
            "spec.transactionManager.peers[1]", "empty", "set cidrs, pods, or both"),
        invalid(member_of_external_database, |seen| tm(seen).database.external.as_mut().expect("external").cidrs.clear(),
            "spec.transactionManager.database.external", "empty", "set cidrs, pods, or both"),
        invalid(smallest, |seen| spec(seen).peering.dialled = vec![format!("{KEY}@192.0.2.1:30303"), "enode://a@192.0.2.1:1".into()],
            "spec.peering.static[1]", "enode://a@192.0.2.1:1", "has 1 hexadecimal digits but must have exactly 128"),
        invalid(smallest, |seen| spec(seen).peering.permissioned = vec!["enr:-IS4Q".into()],
            "spec.peering.permissioned[0]", "enr:-IS4Q", "an ENR (node record), which the client does not accept as a peer"),
        invalid(smallest, |seen| {
            spec(seen).peering.advertise = Some(serde_json::from_value(json!({"address": "1.2.3.256"})).expect("an address"));
        }, "spec.peering.advertise.address", "1.2.3.256", "not an IP address"),
        invalid(with_peers, |seen| tm(seen).keys.password_ref.as_mut().expect("a password").name = "bob-tm-keys".into(),
            "spec.transactionManager.keys.passwordRef.name", "bob-tm-keys", "put the password into a different Secret"),
        invalid(with_peers, |seen| tm(seen).peers[1].url = "https://tm.second.example:65536/".into(),
            "spec.transactionManager.peers[1].url", "https://tm.second.example:65536/", "write a URL such as"),
        invalid(with_peers, |seen| tm(seen).peers[0].url = "https://tm.first.example:0".into(),
            "spec.transactionManager.peers[0].url", "https://tm.first.example:0", "write a URL such as"),
        invalid(member, |seen| tm(seen).advertise = Some("https://bob.example:70000".into()),
            "spec.transactionManager.advertise", "https://bob.example:70000", "write a URL such as"),
        invalid(member, |seen| tm(seen).database.managed = None,
            "spec.transactionManager.database", "empty", "set either managed or external"),
    ]
}

#[rustfmt::skip]
fn genesis_and_key() -> Vec<Case> {
    let genesis = "ConfigMap acme-genesis, key genesis.json";
    let at = "spec.genesis.configMapRef";
    vec![
        case(smallest, |seen| seen.genesis = Found::Missing,
            Reason::GenesisMissing, at, genesis, "create it with the network's genesis.json"),
        case(smallest, |seen| seen.genesis = Found::Invalid("`alloc` is missing: add it".into()),
            Reason::GenesisInvalid, at, genesis, "`alloc` is missing: add it"),
        case(smallest, |seen| chain(seen).chain_id = 1 << 63,
            Reason::GenesisInvalid, at, genesis, "`config.chainId` is 9223372036854775808: write 9223372036854775807 or less"),
        case(smallest, |seen| spec(seen).genesis.sha256 = Some("6f".repeat(32)),
            Reason::GenesisChanged, at, "sha256 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
            "spec.genesis.sha256 pins 6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f: restore the original genesis, byte for byte"),
        case(smallest, |seen| {
            let block = None;
            status(seen).genesis = Some(GenesisStatus { sha256: "6f".repeat(32), block, ..pinned() });
        }, Reason::GenesisChanged, at, "sha256 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
            "status.genesis.sha256 pins 6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f: restore the original genesis, byte for byte"),
        case(smallest, |seen| {
            let (sha256, chain_id) = ("6f".repeat(32), 7);
            let block = [("gasLimit".to_owned(), "0x1".to_owned())].into();
            status(seen).genesis = Some(GenesisStatus { sha256, chain_id, block: Some(block) });
        }, Reason::GenesisChanged, at, "sha256 5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
            "the node's client has, because config.chainId was 7 and is 41337, alloc differs, gasLimit was 0x1 and is 0xe0000000: restore the original genesis, or create a new QuorumNode for another chain. In the original genesis, only `config` may change, and `config.chainId` must stay"),
        case(smallest, |seen| chain(seen).engine = EngineOf::Ibft,
            Reason::ConsensusMismatch, "spec.consensus.type", "QBFT",
            "the genesis in ConfigMap acme-genesis, key genesis.json names IBFT: write a genesis that names QBFT into the ConfigMap, or recreate the QuorumNode with spec.consensus.type IBFT"),
        case(smallest, |seen| chain(seen).engine = EngineOf::Unspecified,
            Reason::ConsensusMismatch, "spec.consensus.type", "QBFT", "names neither QBFT nor IBFT: write a genesis that names QBFT into the ConfigMap"),
        case(smallest, |seen| spec(seen).consensus.engine = Engine::Ibft,
            Reason::ConsensusMismatch, "spec.consensus.type", "IBFT", "names QBFT: write a genesis that names IBFT into the ConfigMap"),
        case(smallest, |seen| {
            seen.node_key = Found::Missing;
            status(seen).identity = Some(recorded('b'));
        }, Reason::NodeKeyMissing, "metadata.name", "Secret qn-alice-nodekey",
            "the key of this node, with address 0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, is missing and cannot be generated again: restore the Secret from a backup"),
        case(adopting, |seen| (seen.node_key, seen.chain_data_exists) = (Found::Missing, Some(false)),
            Reason::NodeKeyMissing, "spec.nodeKey.secretRef", "Secret from-vault, key key.hex",
            "create it, or create a new QuorumNode without spec.nodeKey"),
        case(smallest, |seen| (seen.node_key, seen.chain_data_exists) = (Found::Missing, Some(true)),
            Reason::NodeKeyMissing, "metadata.name", "Secret qn-alice-nodekey",
            "restore the Secret, or delete PersistentVolumeClaim data-alice-client-0 to start from scratch"),
        case(adopting, |seen| seen.node_key = Found::Invalid("key.hex is empty: write the content of this key".into()),
            Reason::NodeKeyInvalid, "spec.nodeKey.secretRef", "Secret from-vault, key key.hex", "write the content of this key"),
        case(smallest, |seen| status(seen).identity = Some(recorded('c')),
            Reason::NodeKeyChanged, "metadata.name", "Secret qn-alice-nodekey",
            "the Secret has the key of address 0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, but this node has address 0xcccccccccccccccccccccccccccccccccccccccc: restore the original Secret"),
        case(smallest, |seen| {
            expects(seen, "0xcccccccccccccccccccccccccccccccccccccccc");
            (seen.node_key, seen.chain_data_exists) = (Found::Missing, Some(false));
        }, Reason::NodeKeyMissing, "spec.nodeKey.expect", "Secret qn-alice-nodekey, key nodekey",
            "spec.nodeKey.expect is 0xcccccccccccccccccccccccccccccccccccccccc, so the operator generates no key: restore the Secret"),
        case(adopting, |seen| {
            expects(seen, &format!("0x{}", "C".repeat(128)));
            (seen.node_key, seen.chain_data_exists) = (Found::Missing, Some(false));
        }, Reason::NodeKeyMissing, "spec.nodeKey.secretRef", "Secret from-vault, key key.hex",
            "spec.nodeKey.expect is cccccccc"),
        case(smallest, |seen| expects(seen, "0xcccccccccccccccccccccccccccccccccccccccc"),
            Reason::NodeKeyChanged, "spec.nodeKey.expect", "0xcccccccccccccccccccccccccccccccccccccccc",
            "Secret qn-alice-nodekey has the key of 0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: restore the original Secret"),
        case(smallest, |seen| {
            expects(seen, "0xcccccccccccccccccccccccccccccccccccccccc");
            status(seen).identity = Some(recorded('b'));
        }, Reason::NodeKeyChanged, "spec.nodeKey.expect", "0xcccccccccccccccccccccccccccccccccccccccc",
            "this node's identity is 0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, and Secret qn-alice-nodekey has the key of this identity: correct spec.nodeKey.expect"),
        case(smallest, |seen| expects(seen, &"5e".repeat(32)),
            Reason::InvalidField, "spec.nodeKey.expect", "not an identity", "never the private key"),
    ]
}

#[rustfmt::skip]
fn references_and_authorities() -> Vec<Case> {
    let at = [
        "spec.transactionManager.keys.secretRef",
        "spec.transactionManager.keys.passwordRef",
        "spec.transactionManager.database.external.passwordRef",
        "spec.transactionManager.database.external.clientCertificateRef",
    ];
    vec![
        missing(member, |seen| references(seen).keys = Found::Missing, at[0]),
        unusable(member, |seen| references(seen).keys = empty(), at[0]),
        missing(with_peers, |seen| references(seen).key_password = Some(Found::Missing), at[1]),
        unusable(with_peers, |seen| references(seen).key_password = Some(empty()), at[1]),
        missing(member_of_external_database, |seen| references(seen).database_password = Some(Found::Missing), at[2]),
        unusable(member_of_external_database, |seen| references(seen).database_password = Some(empty()), at[2]),
        missing(with_certificate, |seen| references(seen).database_certificate = Some(Found::Missing), at[3]),
        unusable(with_certificate, |seen| references(seen).database_certificate = Some(empty()), at[3]),
        missing(smallest, |seen| drop(seen.bundles.insert("spec.tls.trust[1].configMapRef".into(), Found::Missing)),
            "spec.tls.trust[1].configMapRef"),
        unusable(smallest, |seen| drop(seen.bundles.insert("spec.metrics.clientAuthority".into(), empty())),
            "spec.metrics.clientAuthority"),
        case(member, |seen| locked(seen, true), Reason::ReferenceInvalid, at[1], "Secret bob-tm-keys",
            "the private key is encrypted: set passwordRef to the Secret with the key's password"),
        case(with_peers, |seen| locked(seen, false), Reason::ReferenceInvalid, at[1], "Secret bob-tm-keys",
            "the private key is not encrypted: remove passwordRef"),
        case(smallest, |seen| seen.network_authority = Found::Invalid("tls.key is missing".into()).into(),
            Reason::CertificateAuthorityInvalid, "metadata.namespace", "Secret qnet-acme-ca",
            "tls.key is missing; restore the Secret from a backup, or delete the Secret so that the operator generates a new CA"),
        case(member, |seen| status(seen).database = Some(crate::api::status::DatabaseStatus {
                system_identifier: "7713822710339601900".into(), major_version: Some(14) }),
            Reason::DatabaseMajorChanged, "spec.transactionManager.database.managed.version", "15",
            "PostgreSQL 14 created the database, and PostgreSQL 15 cannot read that database"),
        case(member, |seen| seen.node_authority = Found::Invalid("tls.key is missing".into()).into(),
            Reason::CertificateAuthorityInvalid, "metadata.namespace", "Secret qn-bob-ca",
            "restore the Secret from a backup, or delete the Secret so that the operator generates a new CA"),
    ]
}

fn expects(observed: &mut Observed, identity: &str) {
    spec(observed)
        .node_key
        .get_or_insert(crate::api::node_key::NodeKey { secret_ref: None, expect: None })
        .expect = Some(identity.to_owned());
}

fn chain(observed: &mut Observed) -> &mut GenesisFacts {
    match &mut observed.genesis {
        Found::Present(facts) => facts,
        other => panic!("the sample has a genesis: {other:?}"),
    }
}

fn locked(observed: &mut Observed, locked: bool) {
    let public_key = crate::node::observed::samples::MANAGER_KEY.into();
    references(observed).keys =
        Found::Present(crate::model::secrets::keys::TransactionManagerKey { public_key, locked });
}

fn cases() -> Vec<Case> {
    let all = [invalid_fields(), genesis_and_key(), references_and_authorities(), callers::cases()];
    all.into_iter().flatten().collect()
}

#[test]
fn each_fault_is_told_alone_with_field_value_and_way_out() {
    for case in cases() {
        let mut observed = in_order((case.node)());
        (case.change)(&mut observed);
        let faults = faults(&observed);
        let [fault] = faults.as_slice() else { panic!("{}: {faults:?}", case.field) };
        assert_eq!(
            (fault.reason, fault.field.as_str(), fault.value.as_str()),
            (case.reason, case.field, case.value)
        );
        assert!(fault.remedy.contains(case.remedy), "{}: {}", case.field, fault.remedy);
        assert_eq!(fault.to_string(), format!("{} ({}): {}", case.field, case.value, fault.remedy));
    }
}

#[test]
fn there_is_a_case_for_every_reason_that_a_spec_can_give() {
    // without a wildcard, so that a new reason must be classified
    let is_given = |reason| match reason {
        Reason::InvalidField
        | Reason::GenesisMissing
        | Reason::GenesisInvalid
        | Reason::GenesisChanged
        | Reason::ConsensusMismatch
        | Reason::NodeKeyMissing
        | Reason::NodeKeyInvalid
        | Reason::NodeKeyChanged
        | Reason::ReferenceMissing
        | Reason::ReferenceInvalid
        | Reason::CertificateAuthorityInvalid
        | Reason::DatabaseMajorChanged => true,
        Reason::DuplicateIdentity
        | Reason::NameConflict
        | Reason::GrowthRefused
        | Reason::ShrinkRefused
        | Reason::DatabaseReplaced
        | Reason::MultipleDisruptionBudgets
        | Reason::InsufficientHosts
        | Reason::SharedHost => false,
    };
    let mut given: Vec<_> = cases().into_iter().map(|case| case.reason).collect();
    given.sort_unstable();
    given.dedup();
    assert!(given.iter().all(|reason| is_given(*reason)), "{given:?}");
    assert_eq!(given.len(), 12, "{given:?}");
}

#[test]
fn four_faults_are_told_all_at_once() {
    let mut observed = in_order(with_peers());
    spec(&mut observed).client.tunables.cache_mib = 4096;
    spec(&mut observed).peering.permissioned = vec!["enode://a@nowhere:1".into()];
    observed.genesis = Found::Missing;
    references(&mut observed).keys = Found::Missing;
    let faults = faults(&observed);
    let told: Vec<_> = faults.iter().map(|fault| (fault.reason, fault.field.as_str())).collect();
    assert_eq!(
        told,
        [
            (Reason::InvalidField, "spec.client.tunables.cacheMib"),
            (Reason::InvalidField, "spec.peering.permissioned[0]"),
            (Reason::GenesisMissing, "spec.genesis.configMapRef"),
            (Reason::ReferenceMissing, "spec.transactionManager.keys.secretRef"),
        ]
    );
    let message = fault::list(&faults);
    for fault in &faults {
        assert!(message.contains(&fault.to_string()), "{message}");
    }
}

#[test]
fn a_key_that_is_not_there_hides_nothing_that_is_wrong_with_its_password() {
    let mut observed = in_order(with_peers());
    references(&mut observed).keys = Found::Missing;
    tm(&mut observed).keys.password_ref.as_mut().expect("a password").name = "bob-tm-keys".into();
    let reasons: Vec<_> = faults(&observed).iter().map(|fault| fault.reason).collect();
    assert_eq!(reasons, [Reason::InvalidField, Reason::ReferenceMissing]);
}

#[test]
fn no_fault_hides_another() {
    // every fault is reported, whatever else is wrong: each pair of cases of one sample gives both
    let all = cases();
    for (i, one) in all.iter().enumerate() {
        for other in &all[i + 1..] {
            let (Ok(a), Ok(b)) = (both(one, other), both(other, one)) else { continue };
            for found in [a, b] {
                for case in [one, other] {
                    assert!(
                        found
                            .iter()
                            .any(|fault| (fault.reason, fault.field.as_str()) == (case.reason, case.field)),
                        "{:?} {} is hidden by {:?} {}: {found:?}",
                        one.reason,
                        one.field,
                        other.reason,
                        other.field
                    );
                }
            }
        }
    }
}

/// The faults of both cases; an error where they exclude each other.
fn both(first: &Case, second: &Case) -> Result<Vec<Fault>, ()> {
    let about = |case: &Case| case.field.split('.').take(3).collect::<Vec<_>>().join(".");
    let key = |case: &Case| {
        matches!(case.reason, Reason::NodeKeyMissing | Reason::NodeKeyInvalid | Reason::NodeKeyChanged)
            || case.field == "spec.nodeKey.expect"
    };
    let chain = |case: &Case| {
        matches!(
            case.reason,
            Reason::GenesisMissing
                | Reason::GenesisInvalid
                | Reason::GenesisChanged
                | Reason::ConsensusMismatch
        )
    };
    let exclusive =
        about(first) == about(second) || (key(first) && key(second)) || (chain(first) && chain(second));
    if exclusive || (first.node)() != (second.node)() {
        return Err(());
    }
    let mut observed = in_order((first.node)());
    (first.change)(&mut observed);
    (second.change)(&mut observed);
    Ok(faults(&observed))
}
