//! Troubles of the operator's processes and of the API server during a round.

use std::{process::Stdio, time::Duration};

use anyhow::ensure;
use tokio::{process::Command, time::sleep};

use crate::{World, number, proxy::Weather, rng::Rng};

/// Longest outage of the API server in seconds, with `CHAOS_LONG=1` and without.
pub(crate) const LONGEST: u64 = 300;
const LONG: u64 = 60;

impl Rng {
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Causes one trouble: a fixed one in each of the first six rounds, later one that the seed chooses.
pub(crate) async fn of_round(world: &World, mut rng: Rng, round: u64) -> anyhow::Result<()> {
    let away = if number("CHAOS_LONG", 0)? == 1 { LONGEST } else { LONG };
    sleep(rng.millis(2000, 5000)).await;
    match round {
        1 => kill(world, &mut rng).await,
        2 => stop(world, 20).await,
        3 => gone(world, 10).await,
        4 => compaction(world).await?,
        5 => restart(world).await?,
        6 => gone(world, away).await,
        _ => match rng.below(6) {
            0 | 1 => kill(world, &mut rng).await,
            2 | 3 => stop(world, 5 + rng.below(30)).await,
            4 => gone(world, 10).await,
            _ => compaction(world).await?,
        },
    }
    Ok(())
}

async fn kill(world: &World, rng: &mut Rng) {
    for _ in 0..3 {
        let which = usize::from(rng.percent(50));
        world.record.note(&format!("replica {which}: killed"));
        world.replicas[which].signal("KILL").await;
        sleep(rng.millis(500, 8000)).await;
    }
}

/// Stops and continues both replicas, one after another, so that the leader is among them.
async fn stop(world: &World, seconds: u64) {
    for (which, replica) in world.replicas.iter().enumerate() {
        world.record.note(&format!("replica {which}: stopped for {seconds} s"));
        replica.signal("STOP").await;
        sleep(Duration::from_secs(seconds)).await;
        replica.signal("CONT").await;
        sleep(Duration::from_secs(3)).await;
    }
}

async fn gone(world: &World, seconds: u64) {
    world.record.note(&format!("API server away for {seconds} s"));
    world.weather.send_replace(Weather::Away);
    sleep(Duration::from_secs(seconds)).await;
    world.weather.send_replace(Weather::Foul);
}

/// Compacts etcd at its current revision, so that older ones are gone.
async fn compaction(world: &World) -> anyhow::Result<()> {
    let seen = world.api_server.get("/api/v1/namespaces").await?;
    let revision = seen["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    world.record.note(&format!("etcd: compaction at {revision}"));
    let space = format!("--net=/run/netns/{}-cp", std::env::var("BED_NAME")?);
    let body = format!("{{\"revision\": {revision}}}");
    let command = ["--", "curl", "-sSf", "http://127.0.0.1:2379/v3/kv/compaction", "-d", &body];
    let done = Command::new("nsenter").arg(space).args(command).stdout(Stdio::null()).status().await?;
    ensure!(done.success(), "etcd did not compact");
    Ok(())
}

async fn restart(world: &World) -> anyhow::Result<()> {
    compaction(world).await?;
    world.record.note("control plane: killed and started again");
    let bed = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/cluster/bed");
    let done = Command::new(bed).args(["cp", "restart"]).stdout(Stdio::null()).status().await?;
    ensure!(done.success(), "the control plane did not come back");
    Ok(())
}
