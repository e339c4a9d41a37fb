use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, Volume},
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::sample::{self, alone, client_alone, managed};
use crate::{model::names::Component, node::desired::Desired};

/// The pods of all samples, with the names of their workloads.
fn pods() -> Vec<(String, PodSpec)> {
    let desired: Vec<Desired> = sample::network().iter().map(sample::render).collect();
    let workloads = desired.iter().flat_map(|desired| &desired.workloads);
    workloads
        .map(|workload| (workload.metadata.name.clone().unwrap_or_default(), sample::pod(workload).clone()))
        .collect()
}

/// Names of the Secrets behind a volume, with the keys that are mounted from each.
fn secrets(volume: &Volume) -> BTreeMap<String, Vec<String>> {
    let direct = volume
        .secret
        .iter()
        .map(|secret| (secret.secret_name.clone().unwrap_or_default(), secret.items.clone()));
    let projected = volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten())
        .filter_map(|source| source.secret.as_ref())
        .map(|secret| (secret.name.clone(), secret.items.clone()));
    direct
        .chain(projected)
        .map(|(name, items)| {
            let items = items.expect("without a choice of keys all are mounted");
            (name, items.into_iter().map(|item| item.key).collect())
        })
        .collect()
}

fn mounts<'a>(container: &'a Container, volume: &'a str) -> bool {
    container.volume_mounts.iter().flatten().any(|mount| mount.name == volume)
}

/// Containers, as `workload/container`, that mount a key of a Secret.
fn who_sees(secret: &str, key: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (name, pod) in pods() {
        for volume in pod.volumes.iter().flatten() {
            let there = secrets(volume).get(secret).is_some_and(|keys| keys.iter().any(|one| one == key));
            for container in
                sample::containers(&pod).filter(|container| there && mounts(container, &volume.name))
            {
                seen.insert(format!("{name}/{}", container.name));
            }
        }
    }
    seen
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn memory_is_requested_and_limited_alike_and_no_cpu_is_limited() {
    for (name, pod) in pods() {
        for container in sample::containers(&pod) {
            let of = format!("{name}/{}", container.name);
            let resources = container.resources.clone().expect("resources");
            let (requests, limits) =
                (resources.requests.expect("requests"), resources.limits.expect("limits"));
            assert!(requests["memory"].0.ends_with('i'), "{of}");
            assert_eq!(requests["memory"], limits["memory"], "{of}");
            assert!(!requests["cpu"].0.is_empty(), "{of}");
            assert_eq!(limits.keys().collect::<Vec<_>>(), ["memory"], "{of}");
        }
    }
}

#[test]
fn what_the_spec_asks_for_is_what_the_container_gets() {
    let change = serde_json::json!({"client": {"resources": {"cpu": "1300m", "memory": "5Gi"}}});
    let node = alone(&sample::with(client_alone(), &change));
    for name in ["client", "genesis"] {
        let container = sample::container(&node, Component::Client, name);
        let requests = container.resources.and_then(|resources| resources.requests).expect("requests");
        assert_eq!(
            (&requests["cpu"], &requests["memory"]),
            (&Quantity("1300m".into()), &Quantity("5Gi".into()))
        );
    }
}

#[test]
fn every_mount_has_its_volume_and_every_volume_its_mount() {
    for node in sample::network() {
        for workload in &sample::render(&node).workloads {
            let name = workload.metadata.name.clone().expect("a name");
            let pod = sample::pod(workload);
            let claims = workload.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
            let claims = claims.filter_map(|claim| claim.metadata.name.clone());
            let there: Vec<String> =
                pod.volumes.iter().flatten().map(|volume| volume.name.clone()).chain(claims).collect();
            let volumes: BTreeSet<String> = there.iter().cloned().collect();
            assert_eq!(there.len(), volumes.len(), "{name} has two volumes of one name");
            let mounted: BTreeSet<String> = sample::containers(pod)
                .flat_map(|container| container.volume_mounts.iter().flatten())
                .map(|mount| mount.name.clone())
                .collect();
            assert_eq!(volumes, mounted, "{name}");
        }
    }
}

#[test]
fn no_container_mounts_two_things_at_one_place() {
    for (name, pod) in pods() {
        for container in sample::containers(&pod) {
            let paths: Vec<_> =
                container.volume_mounts.iter().flatten().map(|mount| &mount.mount_path).collect();
            assert_eq!(
                paths.len(),
                BTreeSet::from_iter(&paths).len(),
                "{name}/{}: {paths:?}",
                container.name
            );
        }
    }
}

#[test]
fn only_what_checks_the_node_key_sees_its_secret() {
    assert_eq!(who_sees("qn-carol-nodekey", "nodekey"), set(["carol-client/prepare"]));
    assert_eq!(who_sees("hsm-dave", "k1"), set(["dave-client/prepare"]), "an adopted one");
    assert_eq!(who_sees("qn-dave-nodekey", "nodekey"), set([]), "nothing was minted for it");
}

/// A changed Secret is refreshed in a running pod, but not the copy that the client restarts with.
#[test]
fn the_checked_key_is_kept_in_memory_and_is_the_clients_to_read_alone() {
    let node = alone(&client_alone());
    let desired = sample::render(&node);
    let pod = sample::pod(&desired.workloads[0]).clone();
    let key = pod.volumes.iter().flatten().find(|volume| volume.name == "key").expect("the volume");
    assert_eq!(key.empty_dir.as_ref().and_then(|directory| directory.medium.as_deref()), Some("Memory"));
    let users = sample::containers(&pod).flat_map(|one| {
        let mounts = one.volume_mounts.iter().flatten().filter(|mount| mount.name == "key");
        mounts.map(|mount| (one.name.as_str(), mount.mount_path.as_str(), mount.read_only == Some(true)))
    });
    assert_eq!(users.collect::<Vec<_>>(), [("prepare", "/keys", false), ("client", "/keys", true)]);
    let prepare = sample::container(&node, Component::Client, "prepare").args.expect("arguments");
    let identity = node.identity.clone().expect("an identity").address;
    for argument in
        [&format!("--expect-key={identity}"), "--node-key=/secret/nodekey", "--node-key-to=/keys/nodekey"]
    {
        assert!(prepare.iter().any(|one| one == argument), "{argument}: {prepare:?}");
    }
    let client = sample::container(&node, Component::Client, "client").args.expect("arguments");
    assert!(client.contains(&"--nodekey=/keys/nodekey".to_owned()));
}

/// The additional pods of a workload that was scaled up fail in their first container, because of their names.
#[test]
fn the_first_container_of_every_pod_starts_in_the_one_pod_alone() {
    for (name, pod) in pods() {
        let mut guards = 0;
        let init = pod.init_containers.expect("init containers");
        for (at, container) in init.iter().enumerate() {
            let only = format!("--only-pod={name}-0");
            let told = container.args.iter().flatten().any(|argument| *argument == only);
            assert!(told || at > 0, "{name}/{}", container.name);
            let own = container.env.iter().flatten().find(|variable| variable.name == "POD_NAME");
            let field = own.and_then(|own| Some(&own.value_from.as_ref()?.field_ref.as_ref()?.field_path));
            assert_eq!(field.map(String::as_str), told.then_some("metadata.name"), "{name}");
            guards += usize::from(told);
        }
        assert_eq!(guards, if name.ends_with("-tm-db") { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn the_throw_away_key_is_kept_in_memory_alone() {
    let desired = sample::render(&alone(&client_alone()));
    let pod = sample::pod(&desired.workloads[0]).clone();
    let run = pod.volumes.iter().flatten().find(|volume| volume.name == "run").expect("the volume");
    assert_eq!(run.empty_dir.as_ref().and_then(|directory| directory.medium.as_deref()), Some("Memory"));
    let users: Vec<_> =
        sample::containers(&pod).filter(|one| mounts(one, "run")).map(|one| &one.name).collect();
    assert_eq!(users, ["prepare", "genesis"]);
}

#[test]
fn the_managers_own_keys_and_passwords_are_seen_by_the_manager() {
    assert_eq!(who_sees("alice-pair", "locked"), set(["alice-tm/tm"]));
    assert_eq!(who_sees("alice-unlock", "word"), set(["alice-tm/tm"]));
    assert_eq!(who_sees("bank-login", "pw"), set([]), "it is in the manager's configuration");
    let bob = set(["bob-tm/external-database", "bob-tm/probe", "bob-tm/tm"]);
    let erin = set(["erin-tm/external-database", "erin-tm/probe", "erin-tm/tm"]);
    assert_eq!(who_sees("qn-bob-tm-config", "config.json"), bob);
    assert_eq!(who_sees("bank-client", "tls.key"), erin);
    assert_eq!(who_sees("bank-client", "tls.pk8"), erin);
}

#[test]
fn a_certificates_key_is_seen_where_it_is_used_and_nowhere_else() {
    for (purpose, users) in [
        ("metrics", set(["alice-client/metrics"])),
        ("rpc", set(["alice-client/guard"])),
        ("client", set(["alice-client/client", "alice-client/prepare"])),
        ("tm", set(["alice-tm/tm"])),
        ("tm-peers", set(["alice-tm/tm"])),
        ("tm-probe", set(["alice-tm/probe"])),
        ("tm-db-client", set(["alice-tm/probe", "alice-tm/tm"])),
        ("tm-db", set(["alice-tm-db/postgres"])),
    ] {
        assert_eq!(who_sees(&format!("qn-alice-tls-{purpose}"), "tls.key"), users, "{purpose}");
    }
}

#[test]
fn no_pod_mounts_an_authoritys_secret() {
    for (name, pod) in pods() {
        for volume in pod.volumes.iter().flatten() {
            for secret in secrets(volume).into_keys() {
                assert!(!secret.ends_with("-ca"), "{name} mounts {secret}");
            }
        }
    }
}

#[test]
fn secrets_are_read_only_and_for_the_pods_user_alone() {
    for (name, pod) in pods() {
        for volume in pod.volumes.iter().flatten().filter(|volume| !secrets(volume).is_empty()) {
            let direct = volume.secret.as_ref().and_then(|secret| secret.default_mode);
            let mode = direct.or(volume.projected.as_ref().and_then(|projected| projected.default_mode));
            assert_eq!(mode, Some(0o400), "{name}: {}", volume.name);
            for container in sample::containers(&pod) {
                for mount in container.volume_mounts.iter().flatten().filter(|one| one.name == volume.name) {
                    assert_eq!(mount.read_only, Some(true), "{name}/{}: {}", container.name, volume.name);
                }
            }
        }
    }
}

#[test]
fn the_sidecar_watches_every_certificate_without_its_key() {
    let node = alone(&managed());
    let desired = sample::render(&node);
    let pod = sample::pod(sample::workload(&desired, Component::Client).expect("a client"));
    let watched = pod.volumes.iter().flatten().find(|volume| volume.name == "watched").expect("the volume");
    let expected: BTreeMap<_, _> =
        ["metrics", "client", "tm", "tm-peers", "tm-probe", "tm-db-client", "tm-db"]
            .into_iter()
            .map(|purpose| (format!("qn-alice-tls-{purpose}"), vec!["tls.crt".to_owned()]))
            .collect();
    assert_eq!(secrets(watched), expected);
}

/// Summary of the startup, liveness and readiness probes.
fn probes(container: &Container) -> [Option<String>; 3] {
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    [&container.startup_probe, &container.liveness_probe, &container.readiness_probe].map(|probe| {
        let probe = probe.as_ref()?;
        let tcp = probe.tcp_socket.as_ref().map(|socket| format!("tcp {}", port(&socket.port)));
        let http = probe.http_get.as_ref().map(|get| {
            let scheme = get.scheme.as_deref().unwrap_or("HTTP");
            format!("{scheme} {} {}", port(&get.port), get.path.as_deref().unwrap_or_default())
        });
        let exec = probe.exec.iter().flat_map(|exec| exec.command.iter().flatten()).next().cloned();
        tcp.or(http).or(exec)
    })
}

#[test]
fn every_running_container_is_probed_as_what_it_is() {
    let health = |port: i32| ["/livez", "/livez", "/readyz"].map(|path| Some(format!("HTTP {port} {path}")));
    let (sidecar, guard) = (health(8081), health(8546));
    let tcp = |port: i32| Some(format!("tcp {port}"));
    // readiness comes from the sidecar: missing peers or a missing manager are no reason to restart geth
    let client = [tcp(30303), tcp(30303), None];
    let manager = [tcp(9101), tcp(9101), None];
    let database = [Some("pg_isready".into()), tcp(5432), Some("pg_isready".into())];
    let mut seen = 0;
    for (name, pod) in pods() {
        for container in &pod.containers {
            let expected = match container.name.as_str() {
                "client" => &client,
                "metrics" | "probe" => &sidecar,
                "guard" => &guard,
                "tm" => &manager,
                "postgres" => &database,
                other => panic!("{name} has {other}, which is unknown"),
            };
            assert_eq!(&probes(container), expected, "{name}/{}", container.name);
            seen += 1;
        }
        for container in pod.init_containers.iter().flatten() {
            assert_eq!(probes(container), [None, None, None], "{name}/{}", container.name);
        }
    }
    assert_eq!(seen, 5 * 2 + 1 + 3 * 2 + 1);
}

#[test]
fn a_slow_start_is_not_killed() {
    for (name, pod) in pods() {
        for container in &pod.containers {
            let probe = container.startup_probe.clone().expect("a startup probe");
            let patience = probe.period_seconds.unwrap_or(10) * probe.failure_threshold.unwrap_or(3);
            let least = match container.name.as_str() {
                // time to open a large chain database
                "client" => 1800,
                // time to unlock a key, and to recover after an unclean shutdown
                "tm" | "postgres" => 300,
                _ => 30,
            };
            assert!(patience >= least, "{name}/{}: {patience} s", container.name);
        }
    }
}

#[test]
fn the_databases_probe_verifies_the_certificate_and_its_name() {
    let container = sample::container(&alone(&managed()), Component::Database, "postgres");
    let command =
        container.readiness_probe.and_then(|probe| probe.exec?.command).expect("a command").join(" ");
    for part in ["host=alice-tm-db.ledger.svc ", "hostaddr=127.0.0.1 ", "sslmode=verify-full"] {
        assert!(command.contains(part), "{part} is not in {command}");
    }
}

#[test]
fn every_container_leaves_its_last_words_in_the_pods_status() {
    for (name, pod) in pods() {
        for container in pod.init_containers.iter().flatten().chain(&pod.containers) {
            let policy = container.termination_message_policy.as_deref();
            // the guard's log has audit records
            let due = if container.name == "guard" { "File" } else { "FallbackToLogsOnError" };
            assert_eq!(policy, Some(due), "{name}: {}", container.name);
        }
    }
}

#[test]
fn what_holds_state_is_given_time_to_end() {
    for (name, pod) in pods() {
        let grace = pod.termination_grace_period_seconds.expect("a grace period");
        // after an unclean shutdown geth loses the states of up to an hour
        let least = if name.ends_with("-client") { 120 } else { 30 };
        assert!(grace >= least, "{name}: {grace} s");
    }
}

/// Each pod has images of several registries, including quorum-guard's. If the spec sets nothing, nothing is rendered,
/// so that no pod is replaced.
#[test]
fn registries_are_entered_and_priority_is_given_as_the_spec_says() {
    for (name, pod) in pods() {
        assert_eq!((pod.image_pull_secrets, pod.priority_class_name), (None, None), "{name}");
    }
    let node = sample::with(
        managed(),
        &serde_json::json!({"imagePullSecrets": [{"name": "ghcr"}, {"name": "internal"}], "priorityClassName": "ledger"}),
    );
    let desired = sample::render(&alone(&node));
    assert_eq!(desired.workloads.len(), 3);
    for workload in &desired.workloads {
        let pod = sample::pod(workload);
        let secrets = pod.image_pull_secrets.iter().flatten().map(|secret| secret.name.as_str());
        assert_eq!(secrets.collect::<Vec<_>>(), ["ghcr", "internal"], "{:?}", workload.metadata.name);
        assert_eq!(pod.priority_class_name.as_deref(), Some("ledger"), "{:?}", workload.metadata.name);
    }
}

/// Ports for probes, scrapers and callers listen on both address families.
#[test]
fn whatever_listens_for_others_does_so_in_both_families() {
    for (name, pod) in pods() {
        for container in pod.init_containers.iter().flatten().chain(&pod.containers) {
            let listens = |flag: &&String| flag.starts_with("--listen=") || flag.starts_with("--health=");
            for flag in container.args.iter().flatten().filter(listens) {
                assert!(flag.contains("=[::]:"), "{name}: {}: {flag}", container.name);
            }
        }
    }
}
