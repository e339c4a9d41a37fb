//! Situations of a part that the server, hosts and kubelets report.

use k8s_openapi::jiff::SignedDuration;

use super::*;

/// The database's pod was created this many seconds ago and has no host, and the scheduler has not rejected it.
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
            seen.rejected_pods = [(DATABASE, "exceeded quota: small".to_owned())].into();
        }, "FailedCreate", "the API server rejects the database's pod: \"exceeded quota: small\""),
        up(|seen, _| unplaced(seen, 60), "VolumePending",
            "the database has no volume, because PersistentVolumeClaim data-bob-tm-db-0 (class fast, ReadWriteOncePod, 20Gi) has been unbound"),
        up(|seen, _| {
            let pod = samples::pod(seen, DATABASE);
            (pod.ready, pod.terminating) = (false, true);
            seen.hosts.get_mut("host-c").expect("a host").lost = true;
        }, "HostUnreachable", "host host-c of the database does not report. Bring the host back. Or, once you are sure that the host is off"),
        stalls(|_, done| done.refused = vec![fault::two_budgets("bob-client-0")],
            "MultipleDisruptionBudgets", "metadata.name (Pod bob-client-0): more than one PodDisruptionBudget selects this pod"),
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
    assert_eq!((known, reason), ("Unknown", "HostUnreachable"));
    for way in [
        "host-b",
        "Bring the host back",
        "kubectl taint nodes host-b node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
    ] {
        assert!(message.contains(way), "{message}");
    }
    assert_eq!(ready(&status).reason, "HostUnreachable", "although its pod is called ready");
    let status = of(|seen| {
        lose(seen);
        samples::pod(seen, MANAGER).ready = false;
    });
    let told = condition(&status, "TransactionManagerAvailable").expect("judged");
    assert_eq!((told.reason.as_str(), told.message.as_str()), ("HostUnreachable", placement(&status).2));
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
    assert_eq!(placement(&of(|seen| unplaced(seen, 59))).1, "NotScheduled");
    let late = of(|seen| unplaced(seen, 60));
    assert_eq!((placement(&late).0, placement(&late).1), ("False", "VolumePending"));
    assert!(
        placement(&late).2.ends_with("; the provisioner reports: \"no such driver\""),
        "{}",
        placement(&late).2
    );
    let bound = |seen: &mut Observed| {
        unplaced(seen, 3600);
        seen.volumes.get_mut(&DATABASE).expect("a volume").bound = true;
    };
    assert_eq!(placement(&of(bound)).1, "NotScheduled");
}

#[test]
fn a_part_that_was_killed_for_memory_says_so_while_it_serves_again() {
    for (component, kind) in [
        (CLIENT, "ClientAvailable"),
        (MANAGER, "TransactionManagerAvailable"),
        (DATABASE, "TransactionManagerAvailable"),
    ] {
        let status = of(|seen| {
            samples::pod(seen, component).killed = Some("x ran out of memory and was killed".into())
        });
        let told = condition(&status, kind).expect("judged");
        assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "Available"));
        assert_eq!(
            told.message,
            format!("the {} serves; x ran out of memory and was killed", component.spoken())
        );
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
        let message = format!("the {} serves with an earlier configuration", component.spoken());
        assert!(told.message.starts_with(&message), "{}", told.message);
        assert_eq!(ready(&status).status, "True");
        assert_eq!(compute(&read(&observed, &status)), Computed::InProgress, "{component:?}");
    }
}

#[test]
fn a_client_that_runs_does_not_wait_for_nodes_that_join_later() {
    let mut observed = in_order(member());
    observed.network_members = vec![samples::network_member("carol", None)];
    assert_eq!(ready(&report(&observed)).status, "True");
}
