//! What the server, hosts and kubelets say of a part, and what is told of it.

use k8s_openapi::jiff::SignedDuration;

use super::*;

/// Its pod was made so many seconds ago, has no host, and nobody has refused it one.
fn unplaced(seen: &mut Observed, seconds: i64) {
    let pod = samples::pod(seen, DATABASE);
    (pod.host, pod.ready) = (None, false);
    pod.created = Some(now() - SignedDuration::from_secs(seconds));
    let volume = Volume {
        size: "20Gi".into(),
        class: Some("fast".into()),
        mode: Some("ReadWriteOncePod".into()),
        said: Some("no such driver".into()),
        ..Volume::default()
    };
    seen.volumes.insert(DATABASE, volume);
}

#[rustfmt::skip]
pub(super) fn falls() -> Vec<Situation> {
    vec![
        up(|seen, _| {
            seen.pods.remove(&DATABASE);
            seen.unmade = [(DATABASE, "exceeded quota: small".to_owned())].into();
        }, "FailedCreate", "the database's pod cannot be made, which is tried again; the server says: \"exceeded quota: small\""),
        up(|seen, _| unplaced(seen, 60), "VolumePending",
            "the database's volume: PersistentVolumeClaim data-bob-tm-db-0 (class fast, ReadWriteOncePod, 20Gi) has had none"),
        up(|seen, _| {
            let pod = samples::pod(seen, DATABASE);
            (pod.ready, pod.terminating) = (false, true);
            seen.hosts.get_mut("host-c").expect("a host").lost = true;
        }, "HostLost", "host host-c of the database does not report: bring it back; or, once it is sure to be off"),
        stalls(|_, done| done.refused = vec![fault::two_budgets("bob-client-0")],
            "TwoBudgets", "metadata.name (Pod bob-client-0): more than one PodDisruptionBudget selects this pod"),
    ]
}

fn of(change: impl FnOnce(&mut Observed)) -> QuorumNodeStatus {
    let mut observed = in_order(member());
    change(&mut observed);
    report(&observed)
}

fn placement(status: &QuorumNodeStatus) -> (&str, &str, &str) {
    let found = condition(status, "PlacementIsolated").expect("judged");
    (&found.status, &found.reason, &found.message)
}

#[test]
fn a_host_that_no_longer_reports_is_named_with_both_ways_out_whatever_its_pod_says() {
    let lose = |seen: &mut Observed| seen.hosts.get_mut("host-b").expect("a host").lost = true;
    let status = of(lose);
    let (known, reason, message) = placement(&status);
    assert_eq!((known, reason), ("Unknown", "HostLost"));
    for way in [
        "host-b",
        "bring it back",
        "kubectl taint nodes host-b node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
    ] {
        assert!(message.contains(way), "{message}");
    }
    assert_eq!(ready(&status).reason, "HostLost", "although its pod is called ready");
    let status = of(|seen| {
        lose(seen);
        samples::pod(seen, MANAGER).ready = false;
    });
    let told = condition(&status, "TransactionManagerAvailable").expect("judged");
    assert_eq!((told.reason.as_str(), told.message.as_str()), ("HostLost", placement(&status).2));
    assert_eq!(
        of(|seen| seen.hosts.get_mut("host-b").expect("a host").cordoned = true).conditions[0].status,
        "True"
    );
}

#[test]
fn a_kernel_that_hosts_share_is_told_and_stalls_nobody_who_develops() {
    let status = of(|seen| {
        spec(seen).profile = crate::api::node::Profile::Development;
        seen.hosts.values_mut().for_each(|host| host.boot_id = "one".into());
    });
    assert_eq!((placement(&status).0, placement(&status).1), ("True", "SharedKernel"));
    assert_eq!(ready(&status).status, "True");
}

#[test]
fn a_volume_that_nobody_provides_is_told_after_a_minute_with_what_its_driver_says() {
    assert_eq!(placement(&of(|seen| unplaced(seen, 59))).1, "NotPlaced");
    let late = of(|seen| unplaced(seen, 60));
    assert_eq!((placement(&late).0, placement(&late).1), ("False", "VolumePending"));
    assert!(placement(&late).2.ends_with("; it says: \"no such driver\""), "{}", placement(&late).2);
    let bound = |seen: &mut Observed| {
        unplaced(seen, 3600);
        seen.volumes.get_mut(&DATABASE).expect("a volume").bound = true;
    };
    assert_eq!(placement(&of(bound)).1, "NotPlaced");
}

#[test]
fn a_part_that_was_killed_for_memory_says_so_while_it_serves_again() {
    for (component, kind) in [
        (CLIENT, "ClientAvailable"),
        (MANAGER, "TransactionManagerAvailable"),
        (DATABASE, "TransactionManagerAvailable"),
    ] {
        let status = of(|seen| samples::pod(seen, component).killed = Some("x was killed for memory".into()));
        let told = condition(&status, kind).expect("judged");
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "Available"));
        assert_eq!(told.message, format!("the {} serves; x was killed for memory", component.spoken()));
        assert_eq!(ready(&status).status, "True");
    }
}

#[test]
fn a_pod_with_an_earlier_configuration_serves_and_says_so() {
    for (component, kind) in [
        (CLIENT, "ClientAvailable"),
        (MANAGER, "TransactionManagerAvailable"),
        (DATABASE, "TransactionManagerAvailable"),
    ] {
        let mut observed = in_order(member());
        samples::pod(&mut observed, component).revision = Some("r6".into());
        let status = report(&observed);
        let told = condition(&status, kind).expect("judged");
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "Outdated"), "{component:?}");
        let message = format!("the {} serves, with an earlier configuration", component.spoken());
        assert!(told.message.starts_with(&message), "{}", told.message);
        assert_eq!(ready(&status).status, "True");
        assert_eq!(compute(&read(&observed, &status)), Computed::InProgress, "{component:?}");
    }
}
