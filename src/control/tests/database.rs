//! Tests of a database that is lost, replaced, given up, or requested in another version, and of changes to what its
//! manager reads only once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::{NAMESPACE, World, base64, member, node, object, secret};
use crate::{
    model::secrets::generate,
    protocol::database::{Report, SystemIdentifier, Verdict},
    testing::{
        server::{Target, merge_patch},
        specs,
    },
};

const FIRST: SystemIdentifier = SystemIdentifier(7_713_822_710_339_601_900);
const SECOND: SystemIdentifier = SystemIdentifier(7_713_822_710_339_601_901);

fn pod(part: &str) -> Target {
    object("v1", "pods", &format!("alice-{part}-0"))
}

fn uid(world: &World, part: &str) -> Value {
    world.server.get(&pod(part)).expect("a pod")["metadata"]["uid"].clone()
}

/// Report of `initialise` about a directory that PostgreSQL 15 has created.
fn found(verdict: Verdict, identifier: SystemIdentifier) -> Report {
    Report { major_version: Some(15), ..Report::new(verdict, Some(identifier)) }
}

/// Sets the report in the status of the pod, as the kubelet does. A rejecting report makes the pod not ready.
fn tell(world: &World, (part, container): (&str, &str), report: &Report) {
    let refuses = report.verdict != Verdict::InUse;
    world.server.edit(&pod(part), "kubelet", |pod| {
        let ended = json!({"terminated": {"exitCode": i32::from(refuses), "message": report.to_string()}});
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let (state, last) = if refuses { (waits, ended) } else { (ended, json!({})) };
        pod["status"]["initContainerStatuses"] = json!([{"name": container, "image": "", "imageID": "",
            "ready": !refuses, "restartCount": i32::from(refuses), "state": state, "lastState": last}]);
        pod["status"]["conditions"][1]["status"] = json!(if refuses { "False" } else { "True" });
    });
}

const INITIALISE: (&str, &str) = ("tm-db", "initialise");
const EXTERNAL: (&str, &str) = ("tm", "external-database");

fn pinned(world: &World) -> Value {
    world.server.get(&node("alice")).expect("alice")["status"]["database"].clone()
}

/// Database that may start according to the ConfigMap.
fn expected(world: &World) -> Option<SystemIdentifier> {
    let map = world.server.get(&object("v1", "configmaps", "qn-alice-tm-db")).expect("the ConfigMap");
    let passwd = map["data"]["passwd"].as_str().expect("passwd");
    crate::protocol::database::expected_in_accounts(passwd).expect("an identifier or none")
}

fn accept(world: &World, lost: SystemIdentifier) {
    world.server.edit(&node("alice"), "kubectl-annotate", |alice| {
        alice["metadata"]["annotations"]["quorum.security/accept-database-loss"] = json!(lost.to_string());
    });
}

/// A member whose database was in use.
async fn in_use() -> World {
    let mut world = World::new();
    world.start();
    world.server.put(&member("alice"));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(expected(&world), None);
    let before = ["client", "tm", "tm-db"].map(|part| uid(&world, part));
    tell(&world, INITIALISE, &found(Verdict::InUse, FIRST));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(pinned(&world), json!({"systemIdentifier": FIRST.to_string(), "majorVersion": 15}));
    assert_eq!(expected(&world), Some(FIRST));
    assert_eq!(
        ["client", "tm", "tm-db"].map(|part| uid(&world, part)),
        before,
        "nothing is restarted for it"
    );
    world
}

/// Deletes its claim and its pod, and sets what the guard then finds.
async fn lose(world: &mut World, report: &Report) {
    world.server.delete(&object("v1", "persistentvolumeclaims", "data-alice-tm-db-0"), &json!({}));
    world.server.delete(&pod("tm-db"), &json!({}));
    tell(world, INITIALISE, report);
    world.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_gone_stalls_until_its_volume_is_back() {
    let mut world = in_use().await;
    lose(&mut world, &Report::new(Verdict::Replaced, None)).await;
    for kind in ["Stalled", "Ready"] {
        let (status, reason, message) = world.condition("alice", kind).expect("told");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            (if kind == "Ready" { "False" } else { "True" }, "DatabaseReplaced")
        );
        for part in [
            &FIRST.to_string(),
            "an empty volume",
            "restore the volume of that database",
            "accept-database-loss",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    assert_eq!((expected(&world), pinned(&world)["majorVersion"].as_i64()), (Some(FIRST), Some(15)));
    accept(&world, SECOND);
    world.rest().await;
    assert!(world.condition("alice", "Stalled").is_some(), "another one is given up, which is not lost");
    tell(&world, INITIALISE, &found(Verdict::InUse, FIRST));
    world.rest().await;
    world.assert_ready("alice");
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_is_accepted_pins_the_next_database_and_no_further_one() {
    let mut world = in_use().await;
    lose(&mut world, &Report::new(Verdict::Replaced, None)).await;
    accept(&world, FIRST);
    world.rest().await;
    assert_eq!(world.condition("alice", "Stalled"), None);
    assert_eq!(expected(&world), None, "any may be made");
    tell(&world, INITIALISE, &found(Verdict::InUse, SECOND));
    world.rest().await;
    world.assert_ready("alice");
    assert_eq!(
        (expected(&world), pinned(&world)["systemIdentifier"].clone()),
        (Some(SECOND), json!(SECOND.to_string()))
    );
    lose(&mut world, &found(Verdict::Replaced, FIRST)).await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("lost again");
    assert_eq!(reason, "DatabaseReplaced");
    assert!(message.contains(&format!("system identifier {FIRST}")) && message.contains(&SECOND.to_string()));
}

#[tokio::test(start_paused = true)]
async fn another_major_version_is_refused_before_the_pod_is_evicted() {
    let mut world = in_use().await;
    let before = uid(&world, "tm-db");
    let managed = |version: &str| {
        let version = json!({"image": specs::image("postgres-16"), "version": version});
        world.server.edit(&node("alice"), "kubectl-edit", |alice| {
            alice["spec"]["transactionManager"]["database"]["managed"] = version;
        });
    };
    managed("16.2");
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    assert_eq!(reason, "DatabaseMajorChanged");
    assert!(message.contains("PostgreSQL 15 created") && message.contains("PostgreSQL 16"), "{message}");
    assert_eq!(uid(&world, "tm-db"), before);
    let managed = json!({"image": specs::image("postgres"), "version": "15.9"});
    world.server.edit(&node("alice"), "kubectl-edit", |alice| {
        alice["spec"]["transactionManager"]["database"]["managed"] = managed;
    });
    world.rest().await;
    world.assert_ready("alice");
    assert_ne!(uid(&world, "tm-db"), before, "a minor version is taken");
}

fn authority(name: &str) -> String {
    let made =
        generate::authority(name, "2027-01-01T00:00:00Z".parse().expect("a time")).expect("an authority");
    String::from_utf8(made["ca.crt"].0.clone()).expect("PEM")
}

fn bundle(name: &str, pem: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": pem},
        "metadata": {"name": name, "namespace": NAMESPACE}})
}

fn password(text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "data": {"password": base64(text.as_bytes())},
        "metadata": {"name": "db-password", "namespace": NAMESPACE}})
}

/// A member that trusts other CAs and has an external database.
async fn outside() -> World {
    let mut world = World::new();
    world.start();
    world.server.put(&bundle("db-ca", &authority("db")));
    world.server.put(&bundle("rivals", &(authority("one") + &authority("two"))));
    world.server.put(&password("first"));
    let mut alice = member("alice");
    alice["spec"]["transactionManager"]["database"] =
        specs::with_password()["spec"]["transactionManager"]["database"].clone();
    alice["spec"]["tls"] = json!({"trust": [{"configMapRef": {"name": "rivals", "key": "ca.crt"}}],
        "duration": "2160h", "renewBefore": "720h"});
    alice["spec"]["consensus"]["operators"] = json!("ThirdParty");
    world.server.put(&alice);
    world.rest().await;
    world.assert_ready("alice");
    world
}

#[tokio::test(start_paused = true)]
async fn what_a_manager_reads_once_replaces_its_pod_when_it_changes() {
    let mut world = outside().await;
    let changes: BTreeMap<&str, Value> = [
        ("an authority is taken out of tls.trust", bundle("rivals", &authority("one"))),
        ("the database's authority is another one", bundle("db-ca", &authority("db"))),
        ("the password is rotated", password("second")),
    ]
    .into();
    for (what, changed) in changes {
        let before = (uid(&world, "tm"), uid(&world, "client"));
        world.server.put(&changed);
        world.rest().await;
        world.assert_ready("alice");
        assert_ne!(uid(&world, "tm"), before.0, "{what}");
        assert_eq!(uid(&world, "client"), before.1, "{what}");
    }
    let before = uid(&world, "tm");
    let held = world.server.get(&object("v1", "configmaps", "rivals")).expect("it is there");
    let pem = held["data"]["ca.crt"].as_str().expect("PEM").to_owned();
    world.server.put(&bundle("rivals", &format!("# the same\n{pem}{pem}")));
    world.rest().await;
    assert_eq!(uid(&world, "tm"), before, "the same authorities are trusted");
    let config = world.server.get(&secret("qn-alice-tm-config")).expect("the configuration");
    assert!(config.to_string().contains("password-version"));
}

#[tokio::test(start_paused = true)]
async fn an_external_database_is_pinned_too() {
    let mut world = outside().await;
    tell(&world, EXTERNAL, &Report::new(Verdict::InUse, Some(FIRST)));
    world.rest().await;
    assert_eq!(pinned(&world), json!({"systemIdentifier": FIRST.to_string()}));
    let map = world.server.get(&object("v1", "configmaps", "qn-alice-tm-db")).expect("the ConfigMap");
    assert_eq!(map["data"], json!({"system-identifier": FIRST.to_string()}));
    tell(&world, EXTERNAL, &Report::new(Verdict::Replaced, Some(SECOND)));
    world.rest().await;
    let (_, reason, message) = world.condition("alice", "Stalled").expect("told");
    assert_eq!(reason, "DatabaseReplaced");
    assert!(message.contains("set external to the server with that database"), "{message}");
    accept(&world, FIRST);
    world.rest().await;
    assert_eq!(pinned(&world), json!({"systemIdentifier": SECOND.to_string()}));
}

/// Managed fields show nothing if a writer uses the operator's field manager name.
#[tokio::test(start_paused = true)]
async fn a_configuration_with_a_password_is_compared_by_its_content() {
    let mut world = outside().await;
    let config = secret("qn-alice-tm-config");
    let before = world.server.get(&config).expect("the configuration")["data"].clone();
    for change in [json!({"added": "eA=="}), json!({"config.json": "e30="})] {
        let calls = world
            .calls_of(|server| {
                server.edit(&config, "quorum-operator", |secret| merge_patch(&mut secret["data"], &change));
            })
            .await;
        let now = world.server.get(&config).expect("the configuration");
        assert_eq!(now["data"], before, "{change}");
        assert!(calls.iter().filter(|call| call.is_write()).count() <= 3, "{calls:#?}");
    }
    world.assert_ready("alice");
    let calls = world.calls_of(|_| {}).await;
    assert_eq!(calls.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
}
