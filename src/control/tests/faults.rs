//! Tests with a fault of every kind at every request: each run must end like the run without faults.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    bank::{Bank, CERT_MANAGER},
    callers::{call, caller},
    cert_manager::through,
    handshakes::assert_no_handshake_fails,
    rotation::rotate,
    safety,
    world::{QUIET, ROTATED, World, client, manager_keys, member, node},
};
use crate::{
    model::secrets::tls::Usage,
    testing::server::{Fault, Plan, Server},
};

const FAULTS: [Fault; 9] = [
    Fault::Refused(409),
    Fault::Refused(410),
    Fault::Refused(429),
    Fault::Refused(500),
    Fault::Refused(503),
    Fault::AnswerLost,
    Fault::Hang,
    Fault::CrashBefore,
    Fault::CrashAfter,
];

/// Initial state, and the action on it.
#[derive(Clone, Copy)]
struct Scenario {
    first: fn(&Server),
    deed: fn(&Server),
    /// Additional rule that must hold at every moment.
    rule: fn(&Server),
    /// Time without changes after which the world is at rest.
    quiet: Duration,
}

const NOTHING: Scenario = Scenario { first: |_| {}, deed: |_| {}, rule: |_| {}, quiet: QUIET };

/// The state at rest, before the action.
async fn at_first(scenario: &Scenario) -> Arc<Server> {
    let mut world = World::new();
    (scenario.first)(&world.server);
    world.start();
    world.rest().await;
    Arc::clone(&world.server)
}

/// Runs the scenario. Returns the world, and the number of requests before the action.
async fn run(scenario: &Scenario, first: &Server, fault: Option<(usize, Fault)>) -> (World, usize) {
    let mut world = World::on(first.copy());
    world.start();
    world.rest().await;
    let before = world.server.calls().len();
    if let Some((at, fault)) = fault {
        world.server.plan(Plan { at: before + at, fault });
    }
    (scenario.deed)(&world.server);
    world.rest_after(scenario.quiet).await;
    (world, before)
}

async fn survives_every_fault(scenario: Scenario) {
    survives(scenario, |_| FAULTS.to_vec()).await;
}

/// One fault at every request, of the kinds in turn.
async fn survives_a_fault_at_each(scenario: Scenario) {
    survives(scenario, |at| vec![FAULTS[at % FAULTS.len()]]).await;
}

async fn survives(scenario: Scenario, faults: impl Fn(usize) -> Vec<Fault>) {
    let first = at_first(&scenario).await;
    let (calm, before) = run(&scenario, &first, None).await;
    safety::assert_safe(&calm.server);
    (scenario.rule)(&calm.server);
    let (end, counts) = (safety::end(&calm.server), safety::counts(&calm.server));
    let requests = calm.server.calls().len() - before;
    assert!(requests > 2, "{requests} requests");
    for at in 0..requests {
        for fault in faults(at) {
            let (mut world, _) = run(&scenario, &first, Some((at, fault))).await;
            let what = format!("{fault:?} at request {at}, {}", calm.server.calls()[before + at]);
            safety::assert_safe(&world.server);
            safety::assert_nothing_lost(&world.server);
            (scenario.rule)(&world.server);
            same(&what, &safety::end(&world.server), &end);
            same(&what, &safety::counts(&world.server), &counts);
            let version = world.server.version();
            world.start();
            world.rest_after(scenario.quiet).await;
            assert_eq!(
                world.server.version(),
                version,
                "{what}: one more reconcile wrote something: {:#?}",
                world.recent()
            );
        }
    }
}

/// Reports only what differs.
fn same<V: PartialEq + std::fmt::Debug>(
    what: &str,
    one: &std::collections::BTreeMap<String, V>,
    other: &std::collections::BTreeMap<String, V>,
) {
    for name in one.keys().chain(other.keys()) {
        assert_eq!(one.get(name), other.get(name), "{what}: {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_is_made_whatever_fails() {
    survives_every_fault(Scenario { deed: |server| server.put(&client("alice")), ..NOTHING }).await;
}

fn called(server: &Server) {
    let mut alice = client("alice");
    alice["spec"]["rpc"] = json!({"callers": [caller("wallet")]});
    server.put(&alice);
}

/// Keys that arrive late change the policy once more, and nothing else.
#[tokio::test(start_paused = true)]
async fn callers_come_change_and_go_whatever_fails() {
    let first: fn(&Server) = |server| server.put(&client("alice"));
    for (first, deed) in [
        (first, (|server| call(server, json!([caller("wallet")]))) as fn(&Server)),
        (called, |server| call(server, json!([caller("shop")]))),
        (called, |server| call(server, json!([]))),
    ] {
        survives_a_fault_at_each(Scenario { first, deed, ..NOTHING }).await;
    }
}

/// The certificate may exist before the node requests it: it is found by its name.
#[tokio::test(start_paused = true)]
async fn a_client_has_its_certificate_from_cert_manager_whatever_fails() {
    survives_every_fault(Scenario {
        first: |server| {
            server.learn(CERT_MANAGER);
            let bank = Bank::new();
            server.put(&bank.issue("qn-alice-cm-metrics", "alice-metrics", Usage::Server));
        },
        deed: |server| server.put(&through(client("alice"))),
        ..NOTHING
    })
    .await;
    survives_every_fault(Scenario {
        first: |server| {
            server.learn(CERT_MANAGER);
            let bank = Bank::new();
            server.put(&bank.issue("qn-alice-cm-metrics", "alice-metrics", Usage::Server));
            server.put(&through(client("alice")));
        },
        deed: |server| {
            server.edit(&node("alice"), "kubectl-edit", |alice| {
                alice["spec"].as_object_mut().expect("a spec").remove("tls");
            });
        },
        ..NOTHING
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_node_joins_whatever_fails() {
    survives_every_fault(Scenario {
        first: |server| server.put(&client("alice")),
        deed: |server| server.put(&client("bob")),
        ..NOTHING
    })
    .await;
}

/// Only three kinds of faults, which leave most behind: a manager's RSA keys take time.
#[tokio::test(start_paused = true)]
async fn a_manager_is_made_whatever_fails() {
    let scenario = Scenario { deed: |server| server.put(&member("alice")), ..NOTHING };
    survives(scenario, |_| vec![Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter]).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: make chaos runs it"]
async fn a_manager_is_made_whatever_fails_in_every_way() {
    survives_every_fault(Scenario { deed: |server| server.put(&member("alice")), ..NOTHING }).await;
}

#[tokio::test(start_paused = true)]
async fn another_image_is_taken_whatever_fails() {
    survives_every_fault(Scenario {
        first: |server| server.put(&client("alice")),
        deed: |server| {
            server.edit(&node("alice"), "kubectl-edit", |alice| {
                alice["spec"]["client"]["image"] = json!(crate::testing::specs::image("goquorum-next"));
            });
        },
        ..NOTHING
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_grows_whatever_fails() {
    survives_every_fault(Scenario {
        first: |server| server.put(&client("alice")),
        deed: |server| {
            server.edit(&node("alice"), "kubectl-edit", |alice| {
                alice["spec"]["client"]["storage"]["size"] = json!("30Gi");
            });
        },
        ..NOTHING
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_scraper_comes_and_goes_whatever_fails() {
    fn with_scraper() -> serde_json::Value {
        let mut alice = client("alice");
        alice["spec"]["metrics"] = json!({"scrapers": [
            {"name": "prometheus", "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}}]});
        alice
    }
    survives_every_fault(Scenario {
        first: |server| server.put(&client("alice")),
        deed: |server| server.put(&with_scraper()),
        ..NOTHING
    })
    .await;
    survives_every_fault(Scenario {
        first: |server| server.put(&with_scraper()),
        deed: |server| server.put(&client("alice")),
        ..NOTHING
    })
    .await;
}

/// Without managers, whose keys take time.
const NETWORK_ROTATES: Scenario = Scenario {
    first: |server| {
        server.put(&client("alice"));
        server.put(&client("bob"));
    },
    deed: |server| rotate(server, "qnet-acme-ca"),
    rule: assert_no_handshake_fails,
    quiet: ROTATED,
};

#[tokio::test(start_paused = true)]
async fn a_networks_authority_is_followed_by_the_next_whatever_fails() {
    survives_a_fault_at_each(NETWORK_ROTATES).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: make chaos runs it"]
async fn the_authority_of_a_network_with_managers_is_followed_by_the_next_whatever_fails() {
    survives_a_fault_at_each(Scenario {
        first: |server| {
            server.put(&manager_keys("bob", [9; 32]));
            server.put(&member("alice"));
            server.put(&member("bob"));
        },
        ..NETWORK_ROTATES
    })
    .await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: make chaos runs it"]
async fn a_nodes_own_authority_is_followed_by_the_next_whatever_fails() {
    survives_every_fault(Scenario {
        first: |server| {
            server.put(&member("alice"));
            server.put(&client("bob"));
        },
        deed: |server| rotate(server, "qn-alice-ca"),
        ..NETWORK_ROTATES
    })
    .await;
}
