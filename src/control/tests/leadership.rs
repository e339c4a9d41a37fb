//! Tests with two replicas and one API server: who leads, who writes, and that two never write at once.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, channel::oneshot};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    jiff::{SignedDuration, Timestamp},
};
use kube::runtime::events::{Event, EventType};
use serde_json::json;
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use super::world::{START, World, client, object};
use crate::{
    cluster::{
        Fence, Writer,
        write::{
            fence::{Fenced, REQUEST},
            timely,
        },
    },
    control::{
        Clock, leader_election,
        lease::{DURATION, RETRY},
    },
    testing::server::{Call, Delayed, Target},
};

/// A running replica that a test can stop and freeze.
struct Running {
    task: JoinHandle<anyhow::Result<()>>,
    stop: Option<oneshot::Sender<()>>,
    frozen: Arc<Frozen>,
}

/// Like SIGSTOP and SIGCONT: while it is set, nothing of the replica is polled.
#[derive(Default)]
struct Frozen {
    is: AtomicBool,
    ends: Notify,
}

impl Frozen {
    async fn gate<T>(self: Arc<Self>, inner: impl Future<Output = T>) -> T {
        let mut inner = Box::pin(inner);
        loop {
            let ends = self.ends.notified();
            if self.is.load(Ordering::SeqCst) {
                ends.await;
            }
            let mut ends = Box::pin(self.ends.notified());
            let polled = std::future::poll_fn(|context| {
                // also woken when the switch changes
                let _ = ends.as_mut().poll_unpin(context);
                if self.is.load(Ordering::SeqCst) {
                    return std::task::Poll::Ready(None);
                }
                Pin::new(&mut inner).poll(context).map(Some)
            });
            if let Some(outcome) = polled.await {
                return outcome;
            }
        }
    }
}

impl Running {
    fn freeze(&self, frozen: bool) {
        self.frozen.is.store(frozen, Ordering::SeqCst);
        self.frozen.ends.notify_waiters();
    }

    async fn terminate(&mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        (&mut self.task).await.expect("no panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start_at(world: &World, identity: &str, clock: Clock) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(|_| ()).shared();
    let (replica, scopes) = (world.replica(identity, clock), world.scopes.clone());
    let frozen = Arc::new(Frozen::default());
    let running = async move { replica.stand(&scopes, stopped).await };
    let task = tokio::spawn(Arc::clone(&frozen).gate(running));
    Running { task, stop: Some(stop), frozen }
}

fn start(world: &World, identity: &str) -> Running {
    start_at(world, identity, wrong_by(SignedDuration::ZERO))
}

/// A clock that runs, but is wrong.
fn wrong_by(hours: SignedDuration) -> Clock {
    let began = Instant::now();
    Arc::new(move || {
        let passed = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
        Timestamp::from_second(START).unwrap_or_default() + passed + hours
    })
}

fn lease() -> Target {
    let place = object("coordination.k8s.io/v1", "leases", leader_election::NAME);
    Target { namespace: "quorum-system".into(), ..place }
}

fn holder(world: &World) -> String {
    let lease = world.server.get(&lease()).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Writes of a replica, except those of its lease.
fn writes(world: &World, caller: &str) -> Vec<Call> {
    let calls = world.server.calls().into_iter();
    calls
        .filter(|call| call.caller == caller && call.is_write() && call.target.resource != "leases")
        .collect()
}

/// Asserts that no write of one replica comes after the first write of the other.
fn assert_apart(world: &World, first: &str, then: &str) {
    let (before, after) = (writes(world, first), writes(world, then));
    let (last, began) = (before.last().expect("it wrote"), after.first().expect("so did the other"));
    assert!(last.at < began.at, "{first}: {last} at {:?}, {then}: {began} at {:?}", last.at, began.at);
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Another writer changes an object of alice's every second, so that there is always something to write.
fn meddle(world: &World) -> JoinHandle<()> {
    let (server, node) = (Arc::clone(&world.server), super::world::node("alice"));
    tokio::spawn(async move {
        for version in 0.. {
            server.edit(&node, "kubectl", |node| {
                node["spec"]["client"]["storage"] = json!({"size": "20Gi"});
                node["spec"]["metrics"] = json!({"scrapers": [{"name": format!("p{version}"),
                    "from": {"namespace": "monitoring", "podLabels": {"app": "prometheus"}}}]});
            });
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
}

/// Two replicas; the first one leads, with a network at rest.
async fn two() -> (World, Running, Running) {
    let world = World::new();
    let first = start(&world, "first");
    seconds(1).await;
    let second = start(&world, "second");
    world.server.put(&client("alice"));
    seconds(60).await;
    world.assert_ready("alice");
    assert_eq!(holder(&world), "first");
    (world, first, second)
}

#[tokio::test(start_paused = true)]
async fn a_standby_keeps_its_caches_and_writes_nothing() {
    let (world, _first, _second) = two().await;
    assert_eq!(writes(&world, "second").len(), 0);
    let asked = |caller: &str| {
        let calls = world.server.calls().into_iter();
        calls.filter(|call| call.caller == caller && call.target.resource != "leases").count()
    };
    assert!(asked("first") > 0);
    assert_eq!(asked("second"), 0, "its watches apart it asks for nothing");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_is_succeeded_when_its_lease_ends() {
    let (world, first, second) = two().await;
    let meddling = meddle(&world);
    let died = Instant::now();
    drop(first);
    while holder(&world) != "second" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(died.elapsed() >= DURATION - RETRY && died.elapsed() <= DURATION + RETRY, "{:?}", died.elapsed());
    seconds(1).await;
    assert_apart(&world, "first", "second");
    let began = writes(&world, "second")[0].at;
    assert!(
        began - died < DURATION + RETRY + Duration::from_secs(1),
        "its caches were warm: {:?}",
        began - died
    );
    meddling.abort();
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_to_end_is_succeeded_at_once() {
    let (world, mut first, _second) = two().await;
    let meddling = meddle(&world);
    seconds(2).await;
    let told = Instant::now();
    first.terminate().await.expect("it ends well");
    assert_eq!(holder(&world), "");
    seconds(4).await;
    assert_apart(&world, "first", "second");
    let began = writes(&world, "second")[0].at;
    assert!(began - told < Duration::from_millis(2500), "{:?}", began - told);
    meddling.abort();
}

/// The renewal is rejected or not answered, and every write takes almost as long as it may.
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_writing_before_another_one_may_begin() {
    for slow in [Delayed::of("first", "update leases", 86_400_000), Delayed::of("first", "apply", 4_900)] {
        let (world, mut first, _second) = two().await;
        let meddling = meddle(&world);
        seconds(2).await;
        if slow.requests == "apply" {
            world.server.break_for("first update leases", Some(500));
        }
        world.server.delay(Some(slow.clone()));
        let began = Instant::now();
        seconds(40).await;
        let wrote = writes(&world, "first").iter().filter(|call| call.at > began).count();
        assert!(wrote > 0, "{slow:?}: it goes on for as long as it may");
        assert_eq!(holder(&world), "second");
        assert_apart(&world, "first", "second");
        assert!((&mut first.task).await.expect("no panic").is_err(), "its process ends");
        meddling.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_stopped_for_a_minute_writes_nothing_when_it_goes_on() {
    // at any moment of its work
    for moment in (100..180).step_by(20) {
        let (world, mut first, _second) = two().await;
        world.server.delay(Some(Delayed::of("first", "apply", 20)));
        let meddling = meddle(&world);
        tokio::time::sleep(Duration::from_millis(2_000 + moment)).await;
        first.freeze(true);
        let stopped = Instant::now();
        seconds(60).await;
        // it does not read the lease at once
        world.server.delay(Some(Delayed::of("first", "get leases", 4_000)));
        first.freeze(false);
        seconds(6).await;
        let late = writes(&world, "first");
        // except requests that the server was processing when it was stopped
        let late: Vec<_> = late.iter().filter(|call| call.at > stopped + Duration::from_millis(20)).collect();
        assert!(late.is_empty(), "{moment}: {late:#?}");
        assert_apart(&world, "first", "second");
        assert!((&mut first.task).await.expect("no panic").is_err(), "its process ends");
        meddling.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_wrong_or_jump_change_nothing() {
    let hour = SignedDuration::from_hours(1);
    for (one, other) in [(hour, -hour), (-hour, hour)] {
        let world = World::new();
        let _first = start_at(&world, "first", wrong_by(one));
        seconds(1).await;
        let _second = start_at(&world, "second", wrong_by(other));
        world.server.put(&client("alice"));
        seconds(300).await;
        assert_eq!(holder(&world), "first");
        assert_eq!(writes(&world, "second").len(), 0);
    }
    let jumping: Clock = {
        let began = Instant::now();
        Arc::new(move || {
            let passed = i64::try_from(began.elapsed().as_secs()).unwrap_or_default();
            let jump = if passed / 7 % 2 == 0 { 3600 } else { -3600 };
            Timestamp::from_second(START + passed + jump).unwrap_or_default()
        })
    };
    let world = World::new();
    let first = start_at(&world, "first", Arc::clone(&jumping));
    seconds(1).await;
    let _second = start_at(&world, "second", jumping);
    world.server.put(&client("alice"));
    seconds(300).await;
    assert_eq!((holder(&world).as_str(), writes(&world, "second").len()), ("first", 0));
    drop(first);
    seconds((DURATION + RETRY).as_secs()).await;
    assert_eq!(holder(&world), "second", "nor are they needed to take over");
}

#[tokio::test(start_paused = true)]
async fn an_event_too_is_published_by_nobody_but_the_leader() {
    let world = World::new();
    let (_end, fence) = Fence::new();
    let writer = Writer::new(world.server.client(), fence, "late", Arc::default());
    let event = Event {
        type_: EventType::Normal,
        reason: "Ready".into(),
        note: None,
        action: "Reconcile".into(),
        secondary: None,
    };
    let refused = writer.publish(&event, &ObjectReference::default()).await.expect_err("it does not lead");
    assert!(refused.is::<Fenced>(), "{refused:#}");
    assert_eq!(world.server.calls().len(), 0);
}

/// The deadline of a request is checked before the request is polled.
#[tokio::test(start_paused = true)]
async fn a_request_that_has_had_its_time_is_not_polled_again() {
    let mut polls = 0;
    let request = std::future::poll_fn(|_| {
        polls += 1;
        std::task::Poll::<kube::Result<()>>::Pending
    });
    let mut request = Box::pin(timely(request));
    assert!(futures::poll!(request.as_mut()).is_pending());
    tokio::time::advance(REQUEST).await;
    assert!(request.await.is_err());
    assert_eq!(polls, 1);
}
