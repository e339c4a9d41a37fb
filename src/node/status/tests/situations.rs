//! Tests of `Ready` in every situation of a starting and of a failing node, and of how tools interpret it.

mod parts;

use super::{kstatus::read, *};
use std::collections::BTreeMap;

use crate::{
    api::{
        status::DatabaseStatus,
        tls::{CertManager, Issuer, IssuerRef},
    },
    cluster::{
        drift::Drift,
        write::{AdmissionChanges, repair_limit::FieldConflict},
    },
    model::{lookup::Seen, names::Purpose, secrets::tls},
    node::{
        apply::{Left, Why},
        decide::{
            identity::Claim,
            volume_growth::{self, Volume},
        },
        observed::{Pod, Request},
    },
    protocol::database::{Report, Verdict},
    testing::kstatus::{Computed, compute},
};

const CLIENT: Component = Component::Client;
const MANAGER: Component = Component::TransactionManager;
const DATABASE: Component = Component::Database;

pub(super) struct Situation {
    change: fn(&mut Observed, &mut Applied),
    /// Reason of `Ready`.
    pub(super) reason: &'static str,
    message: &'static str,
    computed: Computed,
}

impl Situation {
    /// `bob`, with three parts and this change.
    fn made(&self) -> (Observed, Applied) {
        let (mut observed, mut applied) = (in_order(member()), applied());
        (self.change)(&mut observed, &mut applied);
        (observed, applied)
    }

    pub(super) fn status(&self) -> QuorumNodeStatus {
        let (observed, applied) = self.made();
        status(&observed, &validate::validate(&observed), &applied, now())
    }
}

fn up(change: fn(&mut Observed, &mut Applied), reason: &'static str, message: &'static str) -> Situation {
    Situation { change, reason, message, computed: Computed::InProgress }
}

fn stalls(change: fn(&mut Observed, &mut Applied), reason: &'static str, message: &'static str) -> Situation {
    Situation { change, reason, message, computed: Computed::Failed }
}

fn left(kind: &str, name: &str, why: Why) -> Left {
    Left { kind: kind.into(), name: name.into(), drift: Drift::default(), why }
}

pub(super) fn admission_changes(kind: &str, weakens: bool) -> AdmissionChanges {
    AdmissionChanges {
        kind: kind.into(),
        name: "bob-client".into(),
        fields: vec!["spec.template".into()],
        weakens,
    }
}

fn nothing_runs(seen: &mut Observed) {
    seen.workloads.clear();
    seen.pods.clear();
}

/// Certificates requested from cert-manager, which has issued none yet.
fn requested(seen: &mut Observed, requests: Seen<BTreeMap<Purpose, Request>>) {
    seen.certificates.remove(&Purpose::Metrics);
    seen.requests = requests;
    spec(seen).tls.issuer = Issuer::CertManager;
    spec(seen).tls.cert_manager = Some(CertManager {
        issuer_ref: IssuerRef {
            name: "bank".into(),
            kind: "ClusterIssuer".into(),
            group: "cert-manager.io".into(),
        },
    });
}

fn refused() -> Request {
    Request { failed: true, issuing: false, said: "no such order".into() }
}

/// Its identity is pinned, and another node claims it too.
fn claimed_by(seen: &mut Observed, claim: Claim) {
    samples::status(seen).identity = Some(samples::recorded('b'));
    seen.claims = vec![Claim { namespace: "other".into(), ..claim }];
}

fn fight(fields: &[&str], managers: &[&str]) -> FieldConflict {
    let texts = |listed: &[&str]| listed.iter().map(|text| (*text).to_owned()).collect();
    let object = "Service bob-p2p".into();
    FieldConflict { object, fields: texts(fields), managers: texts(managers), ..FieldConflict::default() }
}

/// With the callers of the sample, whose keys are all known.
pub(super) fn called(seen: &mut Observed) {
    let sample = samples::node(samples::called());
    seen.callers = samples::callers(&sample);
    spec(seen).rpc = sample.spec.rpc;
    let certificate = seen.certificates[&Purpose::Metrics].clone();
    seen.certificates.insert(Purpose::Rpc, certificate);
}

/// A deleted Secret that a finalizer preserves.
pub(super) fn deleted(name: &str) -> kube::api::ObjectMeta {
    kube::api::ObjectMeta {
        name: Some(name.into()),
        deletion_timestamp: Some(Time(now())),
        finalizers: Some(vec![names::CLEANUP.into()]),
        ..Default::default()
    }
}

/// With this state of the keys of the issuer of `explorer`.
fn issuer_is(seen: &mut Observed, found: Found<crate::protocol::policy::Issuer>) {
    called(seen);
    seen.callers.issuers.insert("https://id.example/realms/ledger".into(), found);
}

/// A part with a host that is not ready.
fn not_ready(seen: &mut Observed, component: Component, trouble: Option<&str>) {
    let pod = samples::pod(seen, component);
    (pod.ready, pod.trouble) = (false, trouble.map(str::to_owned));
}

fn facts(seen: &mut Observed, purpose: Purpose) -> &mut tls::LeafFacts {
    seen.certificates.get_mut(&purpose).and_then(|facts| facts.as_mut().ok()).expect("the sample has it")
}

fn foreign() -> Fault {
    let remedy = "an object with this name belongs to Deployment x: delete that object";
    Fault::new(Reason::NameConflict, "metadata.name", "Service bob-p2p", remedy)
}

/// The situations of a new node, in order.
#[rustfmt::skip]
pub(super) fn milestones_on_the_way_up() -> Vec<Situation> {
    vec![
        up(|seen, done| {
            nothing_runs(seen);
            seen.certificates.clear();
            (seen.node_key, seen.chain_data_exists, *done) = (Found::Missing, Some(false), Applied::default());
        }, "GeneratingKey", "the operator is generating the node key"),
        up(|seen, done| {
            nothing_runs(seen);
            seen.certificates.clear();
            *done = Applied::default();
        }, "Issuing", "the certificate in Secret qn-bob-tls-metrics is being issued"),
        up(|seen, done| {
            nothing_runs(seen);
            *done = Applied::default();
        }, "NotApplied", "not all network policies of the node are applied yet"),
        up(|seen, _| {
            nothing_runs(seen);
            seen.network_members = vec![samples::network_member("carol", None), samples::network_member("dave", None)];
        }, "WaitingForPeers", "the client starts once these nodes of the network have a key and an address: carol, dave"),
        up(|seen, _| {
            nothing_runs(seen);
            claimed_by(seen, Claim { name: "zoe".into(), since: Some(later(1)), ..Claim::default() });
        }, "WaitingForIdentity", "node other/zoe has the same key, so this node's client starts only once the client of other/zoe is known not to run"),
        up(|seen, _| seen.pods.clear(), "NotStarted", "the client has no pod yet"),
        up(|seen, _| {
            for component in [CLIENT, MANAGER, DATABASE] {
                *samples::pod(seen, component) = Pod::default();
            }
        }, "Starting", "the client is starting"),
        up(|seen, _| {
            let pod = samples::pod(seen, DATABASE);
            (pod.host, pod.ready, pod.unschedulable) = (None, false, Some("1 node(s) were unschedulable".into()));
            let host = seen.hosts.get_mut("host-c").expect("it is there");
            (host.schedulable, host.cordoned) = (false, true);
        }, "Unschedulable", "the database waits for a host: host-c is cordoned"),
        up(|seen, _| not_ready(seen, DATABASE, None), "Starting", "the database is starting"),
        up(|seen, _| not_ready(seen, MANAGER, None), "Starting", "the transaction manager is starting"),
        up(|seen, _| {
            called(seen);
            seen.callers.cluster = Some(Found::Missing);
        }, "FetchingKeys", "the operator is fetching the public keys of the cluster's token issuer. Until the keys are available, the guard rejects these callers: wallet"),
        up(|seen, _| seen.hosts.clear(), "NotScheduled", "host host-a of the client reports no machine id or boot id"),
    ]
}

#[rustfmt::skip]
pub(super) fn falls() -> Vec<Situation> {
    let mut falls = parts::falls();
    falls.extend(vec![
        up(|_, done| done.field_conflicts = vec![fight(&["spec.selector"], &["fighter"])], "RepeatedlyChanged",
            "the fields spec.selector of Service bob-p2p are repeatedly changed by fighter; the operator repairs each object at most six times"),
        up(|_, done| done.field_conflicts = vec![fight(&[], &[])], "RepeatedlyChanged",
            "Service bob-p2p is repeatedly deleted by a writer without a name"),
        up(|_, done| done.left = vec![left("NetworkPolicy", "bob-deny", Why::Deleted(vec!["x/y".into()]))], "Drifted",
            "NetworkPolicy bob-deny is being deleted but has the finalizers x/y: remove these finalizers"),
        up(|_, done| done.admission_changes = vec![admission_changes("StatefulSet", true)], "Drifted",
            "at every write, an admission webhook changes the fields spec.template"),
        up(|seen, _| samples::pod(seen, CLIENT).terminating = true, "Terminating", "the client's pod is terminating"),
        up(|seen, _| not_ready(seen, CLIENT, Some("container client waits: ImagePullBackOff")),
            "NotReady", "the client does not serve: container client waits: ImagePullBackOff"),
        up(|seen, _| not_ready(seen, MANAGER, Some("tm exited with code 2, see its log")),
            "NotReady", "the transaction manager does not serve: tm exited with code 2, see its log"),
        up(|seen, _| {
            not_ready(seen, MANAGER, Some("tm exited with code 2, see its log"));
            not_ready(seen, DATABASE, Some("postgres exited with code 1, see its log"));
        }, "NotReady", "the database does not serve: postgres exited with code 1, see its log"),
        up(|seen, _| drop(seen.pods.remove(&DATABASE)), "NotStarted", "the database has no pod yet"),
        up(|seen, _| facts(seen, Purpose::Probe).not_after = now(), "Expired", "Secret qn-bob-tls-tm-probe expired at"),
        up(|seen, _| requested(seen, Seen::Missing), "ApiMissing", "install cert-manager"),
        up(|seen, _| {
            issuer_is(seen, Found::Invalid("it cannot be reached".into()));
            seen.callers.cluster = Some(Found::Missing);
        }, "KeysUnavailable", "the public keys of the token issuer https://id.example/realms/ledger are unavailable: it cannot be reached. The operator retries every ten seconds. Until the keys are available, the guard rejects these callers: explorer"),
        up(|seen, _| requested(seen, Seen::Present([(Purpose::Metrics, refused())].into())),
            "NotIssued", "ClusterIssuer bank did not issue Certificate qn-bob-cm-metrics: no such order"),
        up(|seen, _| facts(seen, Purpose::Probe).not_before = later(1),
            "NotYetValid", "qn-bob-tls-tm-probe is not valid before 2031-03-07T11:13:18Z: compare the clock"),
        up(|seen, _| {
            drop(seen.certificates.insert(Purpose::Database, tls::read_leaf(&Default::default())));
        }, "Invalid", "the certificate in Secret qn-bob-tls-tm-db is invalid: tls.crt is missing"),
        up(|seen, _| {
            facts(seen, Purpose::Manager).not_before = now() - samples::hours(1);
            seen.served = Some([(Purpose::Manager, tls::Fingerprint::of(b"another"))].into());
        }, "ServedCertificateMismatch", "tm (the transaction manager at port 9101) serves a different certificate from the one in Secret qn-bob-tls-tm, "),
        up(|seen, _| {
            let other = seen.node_authority.usable().next().expect("an authority").1.fingerprint.clone();
            facts(seen, Purpose::ManagerPeers).authority = other;
        }, "Issuing", "another CA signed the certificate in Secret qn-bob-tls-tm-peers"),
        stalls(|seen, _| {
            let pod = samples::pod(seen, DATABASE);
            (pod.host, pod.ready, pod.unschedulable) = (None, false, Some("0/2 nodes are available".into()));
            seen.hosts.remove("host-c");
        }, "InsufficientHosts", "3 machines are needed, one for each part, but only 2 can be used: add 1 more"),
        stalls(|seen, _| samples::pod(seen, DATABASE).host = Some("host-a".into()),
            "SharedHost", "Provide a machine for each part, then delete one of the two pods"),
        stalls(|seen, _| {
            nothing_runs(seen);
            claimed_by(seen, Claim { name: "zoe".into(), since: Some(later(-1)), wants: true, ..Claim::default() });
        }, "DuplicateIdentity", "QuorumNode other/zoe has the same key"),
        stalls(|_, done| done.refused = vec![foreign()], "NameConflict", "delete that object"),
        stalls(|_, done| {
            let volume = Volume { size: "20Gi".into(), class: Some("slow".into()), ..Volume::default() };
            done.volumes_not_grown = vec![volume_growth::refused(CLIENT, &volume, "30Gi", "no expansion")];
        }, "GrowthRefused", "still requests 20Gi, because the API server rejects the change: no expansion. Depending on that cause, set allowVolumeExpansion: true on StorageClass slow"),
        stalls(|_, done| {
            let volume = Volume { size: "20Gi".into(), ..Volume::default() };
            done.volumes_not_grown = vec![volume_growth::shrinks(CLIENT, &volume, ("20Gi", "9Gi"))];
        }, "ShrinkRefused", "has 20Gi, and a volume cannot be made smaller: set this field to 20Gi or more"),
        stalls(|seen, _| {
            let system_identifier = "7713822710339601900".to_owned();
            samples::status(seen).database = Some(DatabaseStatus { system_identifier, major_version: Some(15) });
            samples::pod(seen, DATABASE).database = Some(Report::new(Verdict::Replaced, None));
        }, "DatabaseReplaced", "spec.transactionManager.database (an empty volume): the node's private state is in a different database"),
        stalls(|seen, _| seen.genesis = Found::Missing, "GenesisMissing", "create it with the network's genesis.json"),
        stalls(|seen, _| seen.node_key = Found::Missing, "NodeKeyMissing", "restore the Secret"),
        stalls(|seen, _| seen.network_authority = Found::Invalid("tls.crt is empty".into()).into(),
            "CertificateAuthorityInvalid", "restore the Secret from a backup"),
    ]);
    falls
}

fn all() -> Vec<Situation> {
    milestones_on_the_way_up().into_iter().chain(falls()).collect()
}

#[test]
fn ready_says_what_is_missing_and_tools_see_the_same() {
    for situation in all() {
        let (observed, _) = situation.made();
        let status = situation.status();
        let ready = ready(&status);
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", situation.reason),
            "{}",
            ready.message
        );
        assert!(ready.message.contains(situation.message), "{}: {}", situation.reason, ready.message);
        assert_eq!(compute(&read(&observed, &status)), situation.computed, "{}", situation.reason);
    }
}

#[test]
fn each_milestone_has_a_message_of_its_own() {
    let messages: Vec<_> = milestones_on_the_way_up()
        .iter()
        .map(|milestone| ready(&milestone.status()).message.clone())
        .collect();
    for (i, message) in messages.iter().enumerate() {
        assert!(!messages[..i].contains(message), "{message}");
    }
}

#[test]
fn ready_is_first_and_either_reconciling_or_stalled_is_beside_it_until_it_is_true() {
    for situation in all() {
        let status = situation.status();
        let ready = ready(&status);
        assert_eq!(status.conditions[0].type_, "Ready");
        let beside = ["Reconciling", "Stalled"].map(|kind| condition(&status, kind));
        let [reconciling, stalled] = beside;
        assert!(reconciling.is_some() != stalled.is_some(), "{}", situation.reason);
        assert_eq!(stalled.is_some(), situation.computed == Computed::Failed, "{}", situation.reason);
        for condition in beside.into_iter().flatten() {
            assert_eq!(condition.status, "True", "{}", condition.type_);
            assert_eq!((&condition.reason, &condition.message), (&ready.reason, &ready.message));
        }
    }
}

#[test]
fn a_reason_that_only_a_person_can_mend_always_stalls() {
    for situation in all() {
        let status = situation.status();
        let needs_a_person =
            reasons::STALLING.iter().any(|reason| reason.to_string() == ready(&status).reason);
        assert_eq!(condition(&status, "Stalled").is_some(), needs_a_person, "{}", situation.reason);
    }
}

#[test]
fn every_condition_is_one_that_the_server_takes() {
    for situation in all() {
        let conditions = situation.status().conditions;
        for (i, condition) in conditions.iter().enumerate() {
            assert!(
                conditions[..i].iter().all(|other| other.type_ != condition.type_),
                "{} twice",
                condition.type_
            );
            assert!(["True", "False", "Unknown"].contains(&condition.status.as_str()));
            let mut reason = condition.reason.chars();
            assert!(reason.next().is_some_and(|first| first.is_ascii_uppercase()), "{}", condition.reason);
            assert!(reason.all(|letter| letter.is_ascii_alphanumeric()), "{}", condition.reason);
            assert!(!condition.message.trim().is_empty(), "{} has no message", condition.reason);
        }
    }
}

#[test]
fn what_is_unknown_is_never_green() {
    let unknown = all().into_iter().filter(|situation| {
        situation.status().conditions.iter().any(|condition| condition.status == "Unknown")
    });
    let mut seen = 0;
    for situation in unknown {
        assert_ne!(ready(&situation.status()).status, "True", "{}", situation.reason);
        seen += 1;
    }
    assert!(seen > 1, "the situations show it");
}

#[test]
fn a_part_that_is_known_to_be_missing_is_told_before_what_follows_from_it() {
    let waiting = up(|seen, _| seen.pods.clear(), "NotStarted", "");
    let status = waiting.status();
    let placement = condition(&status, "PlacementIsolated").expect("judged");
    assert_eq!((placement.status.as_str(), placement.reason.as_str()), ("Unknown", "NotScheduled"));
    assert_eq!(ready(&status).reason, "NotStarted");
}

#[test]
fn a_part_without_a_host_points_to_the_condition_that_says_why() {
    let status = falls().iter().find(|fall| fall.reason == "InsufficientHosts").expect("a fall").status();
    let manager = condition(&status, "TransactionManagerAvailable").expect("judged");
    assert_eq!(manager.reason, "Unschedulable");
    assert_eq!(
        manager.message,
        "the database's pod cannot be scheduled, see the condition PlacementIsolated"
    );
}

#[test]
fn every_object_that_belongs_to_someone_else_is_told() {
    let mut done = applied();
    let other = Fault { value: "ConfigMap qn-bob-peers".into(), ..foreign() };
    done.refused = vec![foreign(), other];
    let observed = in_order(member());
    let status = status(&observed, &validate::validate(&observed), &done, now());
    let message = &condition(&status, "Stalled").expect("stalled").message;
    assert!(message.contains("Service bob-p2p") && message.contains("ConfigMap qn-bob-peers"), "{message}");
}
