//! What befalls the operator's processes and the API server itself during a round.

use std::{process::Stdio, time::Duration};

use anyhow::ensure;
use tokio::{process::Command, time::sleep};

use crate::{World, dice::Dice, number, proxy::Weather};

/// How long the API server is away at most, in seconds, and how long otherwise.
pub(crate) const LONGEST: u64 = 300;
const LONG: u64 = 60;

impl Dice {
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// The first rounds show each trouble once; later ones are dealt.
pub(crate) async fn of_round(world: &World, mut dice: Dice, round: u64) -> anyhow::Result<()> {
    let away = if number("CHAOS_LONG", 0)? == 1 { LONGEST } else { LONG };
    sleep(dice.millis(2000, 5000)).await;
    match round {
        1 => kill(world, &mut dice).await,
        2 => stop(world, 20).await,
        3 => gone(world, 10).await,
        4 => compaction(world).await?,
        5 => restart(world).await?,
        6 => gone(world, away).await,
        _ => match dice.below(6) {
            0 | 1 => kill(world, &mut dice).await,
            2 | 3 => stop(world, 5 + dice.below(30)).await,
            4 => gone(world, 10).await,
            _ => compaction(world).await?,
        },
    }
    Ok(())
}

async fn kill(world: &World, dice: &mut Dice) {
    for _ in 0..3 {
        let which = usize::from(dice.percent(50));
        world.record.note(&format!("replica {which}: killed"));
        world.replicas[which].signal("KILL").await;
        sleep(dice.millis(500, 8000)).await;
    }
}

/// Both in turn, so that the one that leads is among them.
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

/// What is older than this moment is no longer known to etcd.
async fn compaction(world: &World) -> anyhow::Result<()> {
    let seen = world.plane.get("/api/v1/namespaces").await?;
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
