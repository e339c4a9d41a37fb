//! Chaos: the real operator, twice, before a real API server, with a proxy between them that fails as networks
//! and API servers fail; deeds of users all the while; and at the end of each round the same as on a calm day.
//!
//! `make chaos` brings the control plane up and runs this. The same seed deals the same deeds, troubles and
//! faults; how the processes' steps fall between them is the machine's.

mod deeds;
#[path = "../dice.rs"]
mod dice;
mod hosts;
mod plane;
mod proxy;
mod record;
mod replica;
mod rest;
mod troubles;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::sync::watch;

use dice::Dice;
use plane::{Plane, path};
use proxy::{Proxy, Weather};
use record::{RULES, Record};
use replica::{Replica, Start};

const FOUL: &str = "chaos-foul";
const CALM: &str = "chaos-calm";
const OPERATOR: &str = "system:serviceaccount:quorum-system:quorum-operator";
/// Time for the nodes to come to rest, back-off and the end of a stopped replica's lease included.
const REST: Duration = Duration::from_secs(240);
/// How soon they are to, in seconds; the ten are among them in which nothing is written any more.
const SOON: u64 = 60;
/// How soon one leads after both were killed: a lease of 15 s, looked at every 2 s, and a start.
const LED_ANEW: Duration = Duration::from_secs(40);
/// How long the new leader is watched, and how long after the end of the old one nothing may be written.
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
    plane: Plane,
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
    println!("seed {seed}: CHAOS_SEED={seed} CHAOS_MINUTES={minutes} make chaos deals the same again");
    let plane = Plane::new().await?;
    let record = Arc::new(Record::new(&format!("{bed}/log/chaos-requests.log"))?);
    let world = world(&bed, seed, plane, Arc::clone(&record)).await?;
    let outcome = rounds(&world, seed, Duration::from_secs(minutes * 60)).await;
    let (asked, faults, requests) = record.counts();
    println!(
        "requests of the operator: {requests}\nfaults: {faults:#?}\nrules, and how often each was asked: {asked:#?}"
    );
    outcome.with_context(|| format!("seed {seed}; every request is in {bed}/log/chaos-requests.log"))?;
    let unasked: Vec<_> = RULES.iter().filter(|rule| !asked.contains_key(*rule)).collect();
    let broken = [record.broken(), world.calm.broken()].concat();
    if !broken.is_empty() {
        bail!("seed {seed}: {} times a rule was broken:\n{}", broken.len(), broken.join("\n"));
    }
    println!("never asked, so not shown by this seed: {unasked:?}");
    println!("seed {seed}: every round came to the calm end, and no rule was broken");
    Ok(())
}

async fn world(bed: &str, seed: u64, plane: Plane, record: Arc<Record>) -> anyhow::Result<World> {
    hosts::make(&plane).await?;
    tokio::spawn(hosts::live(plane.clone()));
    for namespace in [FOUL, CALM] {
        for (resource, object) in deeds::belongings(namespace) {
            plane.create(&path(resource, namespace, ""), &object).await?;
        }
    }
    let folder = format!("{bed}/log");
    let (weather, forecast) = watch::channel(Weather::Calm);
    let mut replicas = vec![];
    for name in ["chaos-a", "chaos-b"] {
        let proxy = Proxy {
            replica: name.into(),
            plane: plane.clone(),
            upstream: plane::client(Some(OPERATOR)).await?,
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
    // the same program on a calm day, by the administrator's rights, with a lease of its own
    let always_calm = watch::channel(Weather::Calm);
    let calm = Arc::new(Record::new(&format!("{bed}/log/calm-requests.log"))?.without_rules());
    let proxy = Proxy {
        replica: "calm".into(),
        plane: plane.clone(),
        upstream: plane::client(None).await?,
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
    // neither is to end while the process lives
    std::mem::forget((Replica::start(&start)?, always_calm.0));
    let replicas = replicas.try_into().map_err(|_| anyhow::anyhow!("two replicas"))?;
    Ok(World { plane, record, calm, weather, replicas })
}

async fn rounds(world: &World, seed: u64, time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        round += 1;
        let mut dice = Dice::new(seed, "round", round);
        world.weather.send_replace(Weather::Foul);
        let deeds = async {
            if round == 1 {
                for name in deeds::NODES {
                    for namespace in [FOUL, CALM] {
                        world
                            .plane
                            .create(&path("quorumnodes", namespace, ""), &deeds::node(name, namespace))
                            .await?;
                    }
                }
                tokio::time::sleep(Duration::from_secs(15)).await;
            } else {
                for _ in 0..4 {
                    let deed = deeds::deal(&mut dice);
                    world.record.note(&format!("round {round}: {deed:?}"));
                    for name in deed.touched() {
                        world.record.touches(FOUL, name);
                    }
                    let foul = deeds::do_it(&world.plane, FOUL, deed);
                    let calm = async {
                        if deed.is_wanted() { deeds::do_it(&world.plane, CALM, deed).await } else { Ok(()) }
                    };
                    futures::future::try_join(foul, calm).await.with_context(|| format!("{deed:?}"))?;
                    tokio::time::sleep(dice.millis(500, 6000)).await;
                }
            }
            anyhow::Ok(())
        };
        let troubles = troubles::of_round(world, Dice::new(seed, "troubles", round), round);
        futures::future::try_join(deeds, troubles).await?;
        world.weather.send_replace(Weather::Calm);
        let rested = Instant::now();
        calm_end(world).await.with_context(|| format!("round {round}"))?;
        let rested = rested.elapsed().as_secs();
        world.record.note(&format!("round {round}: the calm end after {rested} s"));
        if rested > SOON {
            world
                .record
                .breaks(format!("round {round}: the calm end came after {rested} s, more than {SOON}"));
        }
    }
    let killed = Instant::now();
    for replica in &world.replicas {
        replica.signal("KILL").await;
    }
    led_anew(world).await?;
    // every node is looked at, and nothing that is late is missed
    let end = (killed + UNWRITTEN).max(Instant::now() + LOOKED_AT);
    tokio::time::sleep(end.saturating_duration_since(Instant::now())).await;
    let writes = world.record.writes_within(killed.elapsed());
    anyhow::ensure!(writes.is_empty(), "one more pass over every node writes: {writes:#?}");
    world.record.note("one more pass over every node, from nothing: no write in 65 s");
    Ok(())
}

/// The lease of the killed one ends first; then another process renews it.
async fn led_anew(world: &World) -> anyhow::Result<()> {
    let lease = path("leases", record::LEASE.0, record::LEASE.1);
    let renewed = |lease: &Value| lease["spec"]["renewTime"].clone();
    let (before, end) = (renewed(&world.plane.get(&lease).await?), Instant::now() + LED_ANEW);
    loop {
        let lease = world.plane.get(&lease).await?;
        if renewed(&lease) != before && lease["spec"]["holderIdentity"] != "" {
            world.record.note(&format!("killed, and {} leads anew", lease["spec"]["holderIdentity"]));
            return Ok(());
        }
        let late = format!("nobody leads {} s after both were killed", LED_ANEW.as_secs());
        anyhow::ensure!(Instant::now() < end, late);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for every node to be Ready and as on the calm side, then for ten seconds without a write.
async fn calm_end(world: &World) -> anyhow::Result<()> {
    let end = Instant::now() + REST;
    for look in 1_u32.. {
        let why = match looks_calm(world).await {
            Ok(Ok(())) if world.record.writes_within(Duration::from_secs(10)).is_empty() => return Ok(()),
            Ok(Ok(())) => format!("still writes: {:#?}", world.record.writes_within(Duration::from_secs(10))),
            Ok(Err(why)) => why,
            Err(error) => format!("{error:#}"),
        };
        anyhow::ensure!(Instant::now() < end, "no rest after {} s: {why}", REST.as_secs());
        if look.is_multiple_of(20) {
            world.record.note(&format!("no rest yet: {why}"));
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

async fn looks_calm(world: &World) -> anyhow::Result<Result<(), String>> {
    for namespace in [CALM, FOUL] {
        if let Err(why) = rest::is_ready(&world.plane, namespace).await? {
            return Ok(Err(why));
        }
    }
    let (calm, foul): (BTreeMap<String, Value>, _) =
        (rest::end(&world.plane, CALM).await?, rest::end(&world.plane, FOUL).await?);
    let mut differences = rest::difference(&calm, &foul);
    differences.truncate(20);
    Ok(if differences.is_empty() { Ok(()) } else { Err(json!(differences).to_string()) })
}
