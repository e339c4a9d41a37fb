//! A fault of every kind at every request, and rest: it must end as the calm run ends.

use serde_json::json;

use super::{
    safety,
    world::{World, client, member, node},
};
use crate::testing::server::{Fault, Plan, Server};

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

/// What is there at first, and what is done to it.
#[derive(Clone, Copy)]
struct Scenario {
    first: fn(&Server),
    deed: fn(&Server),
}

async fn run(scenario: &Scenario, fault: Option<(usize, Fault)>) -> World {
    let mut world = World::new();
    (scenario.first)(&world.server);
    world.start();
    world.rest().await;
    let before = world.server.calls().len();
    if let Some((at, fault)) = fault {
        world.server.plan(Plan { at: before + at, fault });
    }
    (scenario.deed)(&world.server);
    world.rest().await;
    world
}

async fn survives_every_fault(scenario: Scenario) {
    survives(scenario, &FAULTS).await;
}

async fn survives(scenario: Scenario, faults: &[Fault]) {
    let calm = run(&scenario, None).await;
    safety::assert_safe(&calm.server);
    let (end, counts) = (safety::end(&calm.server), safety::counts(&calm.server));
    let first = run(&Scenario { deed: |_| {}, ..scenario }, None).await.server.calls().len();
    let requests = calm.server.calls().len() - first;
    assert!(requests > 2, "{requests} requests");
    for at in 0..requests {
        for &fault in faults {
            let mut world = run(&scenario, Some((at, fault))).await;
            let what = format!("{fault:?} at request {at}, {}", calm.server.calls()[first + at]);
            safety::assert_safe(&world.server);
            safety::assert_nothing_lost(&world.server);
            same(&what, &safety::end(&world.server), &end);
            same(&what, &safety::counts(&world.server), &counts);
            let version = world.server.version();
            world.start();
            world.rest().await;
            assert_eq!(
                world.server.version(),
                version,
                "{what}: one more pass wrote something: {:#?}",
                world.recent()
            );
        }
    }
}

/// Names what differs, not everything.
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
    survives_every_fault(Scenario { first: |_| {}, deed: |server| server.put(&client("alice")) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_node_joins_whatever_fails() {
    survives_every_fault(Scenario {
        first: |server| server.put(&client("alice")),
        deed: |server| server.put(&client("bob")),
    })
    .await;
}

/// A manager's keys are RSA and take their time: these three leave most behind.
#[tokio::test(start_paused = true)]
async fn a_manager_is_made_whatever_fails() {
    let scenario = Scenario { first: |_| {}, deed: |server| server.put(&member("alice")) };
    survives(scenario, &[Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter]).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes: make chaos runs it"]
async fn a_manager_is_made_whatever_fails_in_every_way() {
    survives_every_fault(Scenario { first: |_| {}, deed: |server| server.put(&member("alice")) }).await;
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
    })
    .await;
    survives_every_fault(Scenario {
        first: |server| server.put(&with_scraper()),
        deed: |server| server.put(&client("alice")),
    })
    .await;
}
