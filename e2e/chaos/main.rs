//! Chaos test: two replicas of the real operator work with a real API server through proxies that fail as networks and
//! API servers fail, while users act. After each round the state must equal that of a namespace without faults.
//!
//! `make chaos` starts the control plane and runs the test. The seed determines actions, troubles and faults, but not
//! the timing of the processes.

mod api_server;
mod end_state;
mod process_faults;
mod proxy;
mod record;
mod replica;
#[path = "../support/rng.rs"]
mod rng;
mod scripted_hosts;
mod user_actions;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::sync::watch;

use api_server::{ApiServer, path};
use proxy::{Proxy, Weather};
use record::{RULES, Record};
use replica::{Replica, Start};
use rng::Rng;

const FOUL: &str = "chaos-foul";
const CALM: &str = "chaos-calm";
const OPERATOR: &str = "system:serviceaccount:quorum-system:quorum-operator";
/// Deadline for all nodes to settle, including backoff and the expiry of a stopped replica's lease.
const REST: Duration = Duration::from_secs(240);
/// Seconds within which they must settle, including ten seconds without a write.
const SOON: u64 = 60;
/// Deadline for a new leader after both replicas were killed: a lease of 15 s, polled every 2 s, and a start.
const LED_ANEW: Duration = Duration::from_secs(40);
/// Time to observe the new leader, and time after the kill in which no replica may write.
const LOOKED_AT: Duration = Duration::from_secs(40);
const UNWRITTEN: Duration = Duration::from_secs(65);

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().with_context(|| format!("{name}={text} is not a number"))
        }
        _ => Ok(default),
    }
}

struct World {
    api_server: ApiServer,
    record: Arc<Record>,
    calm: Arc<Record>,
    weather: watch::Sender<Weather>,
    replicas: [Replica; 2],
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bed = std::env::var("BED_DIR").context("BED_DIR: this is run by make chaos")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = number("CHAOS_SEED", now.as_secs())?;
    let minutes = number("CHAOS_MINUTES", 6)?;
    println!("seed {seed}: CHAOS_SEED={seed} CHAOS_MINUTES={minutes} make chaos repeats this run");
    let api_server = ApiServer::new().await?;
    let record = Arc::new(Record::new(&format!("{bed}/log/chaos-requests.log"))?);
    let world = world(&bed, seed, api_server, Arc::clone(&record)).await?;
    let outcome = rounds(&world, seed, Duration::from_secs(minutes * 60)).await;
    let (asked, faults, requests) = record.counts();
    println!(
        "requests of the operator: {requests}\nfaults: {faults:#?}\nrules and how often each was checked: {asked:#?}"
    );
    outcome.with_context(|| format!("seed {seed}; every request is in {bed}/log/chaos-requests.log"))?;
    let unasked: Vec<_> = RULES.iter().filter(|rule| !asked.contains_key(*rule)).collect();
    let broken = [record.broken(), world.calm.broken()].concat();
    if !broken.is_empty() {
        bail!("seed {seed}: {} times a rule was broken:\n{}", broken.len(), broken.join("\n"));
    }
    println!("rules that this run never checked: {unasked:?}");
    println!("seed {seed}: every round reached the calm state, and no rule was broken");
    Ok(())
}

async fn world(bed: &str, seed: u64, api_server: ApiServer, record: Arc<Record>) -> anyhow::Result<World> {
    scripted_hosts::make(&api_server).await?;
    tokio::spawn(scripted_hosts::live(api_server.clone()));
    for namespace in [FOUL, CALM] {
        for (resource, object) in user_actions::belongings(namespace) {
            api_server.create(&path(resource, namespace, ""), &object).await?;
        }
    }
    let folder = format!("{bed}/log");
    let (weather, forecast) = watch::channel(Weather::Calm);
    let mut replicas = vec![];
    for name in ["chaos-a", "chaos-b"] {
        let proxy = Proxy {
            replica: name.into(),
            api_server: api_server.clone(),
            upstream: api_server::client(Some(OPERATOR)).await?,
            record: Arc::clone(&record),
            weather: forecast.clone(),
            seed,
        };
        let start = Start {
            name,
            watched: FOUL,
            lease_namespace: record::LEASE.0,
            proxy: proxy.serve().await?,
            folder: &folder,
        };
        replicas.push(Replica::start(&start)?);
    }
    // a replica without faults, with the administrator's permissions and its own lease
    let always_calm = watch::channel(Weather::Calm);
    let calm = Arc::new(Record::new(&format!("{bed}/log/calm-requests.log"))?.without_rules());
    let proxy = Proxy {
        replica: "calm".into(),
        api_server: api_server.clone(),
        upstream: api_server::client(None).await?,
        record: Arc::clone(&calm),
        weather: always_calm.1,
        seed,
    };
    let start = Start {
        name: "calm",
        watched: CALM,
        lease_namespace: CALM,
        proxy: proxy.serve().await?,
        folder: &folder,
    };
    // keep the replica and the channel alive until the process ends
    std::mem::forget((Replica::start(&start)?, always_calm.0));
    let replicas = replicas.try_into().map_err(|_| anyhow::anyhow!("two replicas"))?;
    Ok(World { api_server, record, calm, weather, replicas })
}

async fn rounds(world: &World, seed: u64, time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        round += 1;
        let mut rng = Rng::new(seed, "round", round);
        world.weather.send_replace(Weather::Foul);
        let deeds = async {
            if round == 1 {
                for name in user_actions::NODES {
                    for namespace in [FOUL, CALM] {
                        world
                            .api_server
                            .create(&path("quorumnodes", namespace, ""), &user_actions::node(name, namespace))
                            .await?;
                    }
                }
                tokio::time::sleep(Duration::from_secs(15)).await;
            } else {
                for _ in 0..4 {
                    let action = user_actions::deal(&mut rng);
                    world.record.note(&format!("round {round}: {action:?}"));
                    for name in action.touched() {
                        world.record.touches(FOUL, name);
                    }
                    let foul = user_actions::do_it(&world.api_server, FOUL, action);
                    let calm = async {
                        if action.is_wanted() {
                            user_actions::do_it(&world.api_server, CALM, action).await
                        } else {
                            Ok(())
                        }
                    };
                    futures::future::try_join(foul, calm).await.with_context(|| format!("{action:?}"))?;
                    tokio::time::sleep(rng.millis(500, 6000)).await;
                }
            }
            anyhow::Ok(())
        };
        let troubles = process_faults::of_round(world, Rng::new(seed, "troubles", round), round);
        futures::future::try_join(deeds, troubles).await?;
        world.weather.send_replace(Weather::Calm);
        let rested = Instant::now();
        calm_end(world).await.with_context(|| format!("round {round}"))?;
        let rested = rested.elapsed().as_secs();
        world.record.note(&format!("round {round}: calm state after {rested} s"));
        if rested > SOON {
            world.record.breaks(format!("round {round}: calm state only after {rested} s, more than {SOON}"));
        }
    }
    let killed = Instant::now();
    for replica in &world.replicas {
        replica.signal("KILL").await;
    }
    led_anew(world).await?;
    // time for a reconcile of every node and for late writes
    let end = (killed + UNWRITTEN).max(Instant::now() + LOOKED_AT);
    tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
    let writes = world.record.writes_within(killed.elapsed());
    anyhow::ensure!(writes.is_empty(), "a reconcile of every node after the restart writes: {writes:#?}");
    world.record.note("reconcile of every node after the restart: no write in 65 s");
    Ok(())
}

/// Waits until the lease of the killed leader has expired and a restarted replica holds it.
async fn led_anew(world: &World) -> anyhow::Result<()> {
    let lease = path("leases", record::LEASE.0, record::LEASE.1);
    let renewed = |lease: &Value| lease["spec"]["renewTime"].clone();
    let (before, end) = (renewed(&world.api_server.get(&lease).await?), Instant::now() + LED_ANEW);
    loop {
        let lease = world.api_server.get(&lease).await?;
        if renewed(&lease) != before && lease["spec"]["holderIdentity"] != "" {
            world.record.note(&format!("both killed, now {} leads", lease["spec"]["holderIdentity"]));
            return Ok(());
        }
        let late = format!("no replica leads {} s after both were killed", LED_ANEW.as_secs());
        anyhow::ensure!(Instant::now() < end, late);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until every node is Ready and equal to its calm counterpart, without a write for ten seconds.
async fn calm_end(world: &World) -> anyhow::Result<()> {
    let end = Instant::now() + REST;
    for look in 1_u32.. {
        let why = match looks_calm(world).await {
            Ok(Ok(())) if world.record.writes_within(Duration::from_secs(10)).is_empty() => return Ok(()),
            Ok(Ok(())) => format!("still writes: {:#?}", world.record.writes_within(Duration::from_secs(10))),
            Ok(Err(why)) => why,
            Err(error) => format!("{error:#}"),
        };
        anyhow::ensure!(Instant::now() < end, "not at rest after {} s: {why}", REST.as_secs());
        if look.is_multiple_of(20) {
            world.record.note(&format!("not at rest yet: {why}"));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

async fn looks_calm(world: &World) -> anyhow::Result<Result<(), String>> {
    for namespace in [CALM, FOUL] {
        if let Err(why) = end_state::is_ready(&world.api_server, namespace).await? {
            return Ok(Err(why));
        }
    }
    let (calm, foul): (BTreeMap<String, Value>, _) =
        (end_state::end(&world.api_server, CALM).await?, end_state::end(&world.api_server, FOUL).await?);
    let mut differences = end_state::difference(&calm, &foul);
    differences.truncate(20);
    Ok(if differences.is_empty() { Ok(()) } else { Err(json!(differences).to_string()) })
}
