//! Floods of calls whose caller leaves before the answer. The client counts how many run at once and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::{Flood, Scene, Told, caller::Caller, setup::Behind};
use crate::misbehaving_client::Load;

/// Call that hashes 1 MiB repeatedly until its gas is used up, in too few steps for the client to check its timeout.
const BUSY: &str =
    r#"{"jsonrpc":"2.0","method":"eth_call","params":[{"data":"0x5b6210000060002050600056"},"latest"]}"#;
/// How long the real client may go on computing after its caller has left: only for calls that had begun.
const GOES_ON: Duration = Duration::from_secs(10);

pub(super) fn floods() -> Vec<Flood> {
    vec![
        Flood::new("calls without an id", |scene| without_id(scene).boxed()),
        Flood {
            behind: Behind::Real,
            ..Flood::new("heavy calls without an id", |scene| heavy(scene).boxed())
        },
        Flood {
            behind: Behind::Real,
            least: 8,
            ..Flood::new("two slow callers", |scene| two(scene).boxed()).asking("eth_call")
        },
        Flood { least: 5, ..Flood::new("close and reopen", |scene| reopened(scene).boxed()) },
        Flood::new("reset while it runs", |scene| reset(scene).boxed()),
    ]
}

fn slow(id: &str, millis: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0",{id}"method":"eth_slow","params":[{millis}]}}"#)
}

fn load(scene: &Scene) -> anyhow::Result<Arc<Load>> {
    Ok(scene.stage.moody.as_ref().context("the stand-in")?.load.clone())
}

/// Checks that a caller never had more than half of the client's concurrent requests.
fn told(scene: &Scene, load: &Load, more: &str) -> Told {
    let ([_, most, all], half) = (load.get(), scene.limits.requests_at_client.div_ceil(2));
    let mut faults = Vec::new();
    if most > half.into() {
        faults.push(format!("{most} calls of one caller were under way at once, of {half}"));
    }
    if all == 0 {
        faults.push("no call reached the client: this proves nothing".to_owned());
    }
    Told { note: format!("{all} slow calls, {most} of them at once{more}"), faults }
}

/// Sends 200 calls without ids over one WebSocket and closes it.
async fn without_id(scene: Arc<Scene>) -> anyhow::Result<Told> {
    const SLOW: Duration = Duration::from_secs(2);
    let load = load(&scene)?;
    let mut socket = scene.bad.socket().await?;
    for _ in 0..200 {
        socket.feed(Message::text(slow("", SLOW.as_millis() as u64))).await?;
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.flush()).await;
    sleep(Duration::from_millis(500)).await;
    drop(socket);
    let closed = Instant::now();
    while load.get()[0] > 0 && closed.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(10)).await;
    }
    let over = closed.elapsed();
    let mut told =
        told(&scene, &load, &format!("; they were over {:.1} s after the close", over.as_secs_f64()));
    if over > 2 * SLOW {
        told.faults.push(format!("calls went on for {over:?} after the close, each takes {SLOW:?}"));
    }
    sleep_until(scene.until).await;
    Ok(told)
}

/// The same with the real client and with calls that compute.
async fn heavy(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let client = scene.stage.geth.as_ref().context("the client")?.process();
    let mut socket = scene.bad.socket().await?;
    for _ in 0..200 {
        socket.feed(Message::text(BUSY)).await?;
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.flush()).await;
    sleep(Duration::from_millis(500)).await;
    drop(socket);
    let closed = Instant::now();
    let (begin, mut last) = (used(client)?, Instant::now());
    let mut before = begin;
    // a call that computes uses most of a processor; the calls of the well-behaved caller use far less
    while last.elapsed() < Duration::from_secs(1) && closed.elapsed() < Duration::from_secs(80) {
        sleep(Duration::from_millis(250)).await;
        let now = used(client)?;
        if now - before > 15 {
            last = Instant::now();
        }
        before = now;
    }
    let (over, seconds) = (last - closed, (before - begin) as f64 / 100.0);
    let note = format!(
        "the client computed for {:.1} s after the close, {seconds:.1} s of processor",
        over.as_secs_f64()
    );
    let faults = if over > GOES_ON { vec![note.clone()] } else { vec![] };
    sleep_until(scene.until).await;
    Ok(Told { note, faults })
}

/// Two callers make the client compute as much as they can, one over a WebSocket, one over HTTP connections and partly
/// in batches. Both must make progress, though the client has no time to answer all calls.
async fn two(scene: Arc<Scene>) -> anyhow::Result<Told> {
    const EACH: usize = 32;
    let done: [Arc<AtomicU64>; 2] = Default::default();
    let mut under_way = JoinSet::new();
    under_way.spawn(computed(scene.bad.clone(), EACH, done[0].clone()));
    for number in 0..EACH {
        let body = busy(1);
        let body = if number.is_multiple_of(2) { body } else { format!("[{body},{body}]") };
        under_way.spawn(fetched(scene.worse.clone(), body, done[1].clone()));
    }
    let ended = timeout_at(scene.until, under_way.join_next()).await;
    let faults = ended.ok().flatten().and_then(Result::ok).and_then(Result::err);
    let mut faults: Vec<_> = faults.map(|failed| format!("{failed:#}")).into_iter().collect();
    let done = done.map(|done| done.load(Ordering::Relaxed));
    if done.contains(&0) {
        faults.push("a slow caller did not get on".to_owned());
    }
    Ok(Told { note: format!("{} and {} long calls were answered", done[0], done[1]), faults })
}

fn busy(id: usize) -> String {
    BUSY.replacen('{', &format!("{{\"id\":{id},"), 1)
}

/// Keeps `number` calls in flight over a WebSocket.
async fn computed(caller: Caller, number: usize, done: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut socket = caller.socket().await?;
    for id in 0..number {
        socket.send(Message::text(busy(id))).await?;
    }
    while let Some(received) = socket.next().await {
        received?;
        done.fetch_add(1, Ordering::Relaxed);
        socket.send(Message::text(busy(1))).await?;
    }
    anyhow::bail!("a WebSocket was closed")
}

/// Sends one request after another over a connection.
async fn fetched(caller: Caller, body: String, done: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut sender = caller.http1().await?;
    loop {
        sender.ready().await?;
        let answer = sender.send_request(caller.request(body.clone())).await?;
        anyhow::ensure!(answer.status() == 200, "{}", answer.status());
        answer.into_body().collect().await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// CPU time of a process in hundredths of a second.
fn used(process: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("a process")?;
    let times = rest.split(' ').skip(11).take(2).map(str::parse::<u64>);
    times.sum::<Result<u64, _>>().context("numbers")
}

/// Six times: sends 32 calls over a WebSocket, closes it and opens another.
async fn reopened(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let load = load(&scene)?;
    for round in 0..6 {
        let mut socket = scene.bad.socket().await?;
        for call in 0..32 {
            socket.feed(Message::text(slow(&format!("\"id\":{},", 100 * round + call), 8000))).await?;
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), socket.flush()).await;
        sleep(Duration::from_millis(300)).await;
    }
    sleep_until(scene.until).await;
    Ok(told(&scene, &load, ""))
}

/// Opens HTTP/2 streams and resets each once its call has begun.
async fn reset(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let load = load(&scene)?;
    while Instant::now() < scene.until {
        let mut sender = scene.bad.http2().await?;
        for _ in 0..100 {
            if sender.ready().await.is_err() || Instant::now() > scene.until {
                break;
            }
            let asked = sender.send_request(scene.bad.stream(slow("\"id\":1,", 5000))?);
            // the timeout drops the request, which resets the stream
            tokio::spawn(tokio::time::timeout(Duration::from_millis(50), asked));
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(told(&scene, &load, ""))
}
