//! Removed callers: the guard must cut their connections within a second, even if they do not read answers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use quorum_operator::protocol::policy::Policy;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::caller::{Caller, call};
use super::{Flood, Scene, Told, UserAction};

/// A second, plus a margin for a busy machine.
const WITHIN: Duration = Duration::from_millis(1500);
/// Answers of 1 MiB that each connection requests without reading.
const UNREAD: usize = 8;

pub(super) fn floods() -> Vec<Flood> {
    let removed = Flood::new("removed and deaf", |scene| {
        let kinds: [fn(Caller) -> UserAction<()>; 3] = [
            |caller| Box::pin(socket(caller)),
            |caller| Box::pin(pipelined(caller)),
            |caller| Box::pin(streams(caller)),
        ];
        cut(scene, kinds, |policy| policy.callers.truncate(1)).boxed()
    });
    let withdrawn = Flood::new("key withdrawn", |scene| {
        let kinds: [fn(Caller) -> UserAction<()>; 3] = [
            |caller| Box::pin(socket(caller)),
            |caller| Box::pin(idle(caller)),
            |caller| Box::pin(idle(caller)),
        ];
        cut(scene, kinds, |policy| policy.issuers[0].keys.truncate(1)).boxed()
    });
    [removed, withdrawn].map(|flood| Flood { least: 4, ..flood }).into()
}

/// Opens two connections of each kind, changes the policy, and waits until the guard has cut them all.
async fn cut(
    scene: Arc<Scene>,
    kinds: [fn(Caller) -> UserAction<()>; 3],
    change: fn(&mut Policy),
) -> anyhow::Result<Told> {
    let kinds = kinds.into_iter().cycle().take(6);
    let held: Vec<_> = kinds.map(|kind| tokio::spawn(kind(scene.bad.deaf()))).collect();
    sleep(Duration::from_millis(1500)).await;
    let there = open(&scene)?;
    let mut policy = scene.stage.place.policy.clone();
    change(&mut policy);
    scene.stage.place.change(&policy)?;
    let since = Instant::now();
    while open(&scene)? > 0 && since.elapsed() < Duration::from_secs(75) {
        sleep(Duration::from_millis(20)).await;
    }
    let (took, left) = (since.elapsed(), open(&scene)?);
    held.iter().for_each(tokio::task::JoinHandle::abort);
    let note = format!("{there} connections, the last cut after {:.1} s", took.as_secs_f64());
    let mut faults = Vec::new();
    if took > WITHIN {
        faults.push(format!("{note}; {left} are left"));
    }
    if there < held.len() {
        faults.push(format!("{there} of {} connections were there: this proves nothing", held.len()));
    }
    sleep_until(scene.until).await;
    Ok(Told { note, faults })
}

/// Number of the misbehaving caller's connections that the guard holds open, from the kernel's table.
pub(super) fn open(scene: &Scene) -> anyhow::Result<usize> {
    // the table has addresses in native byte order; state 01 means established
    let end = |ip: Ipv4Addr| format!("{:08X}:", u32::from_ne_bytes(ip.octets()));
    let local = format!("{}{:04X}", end(Ipv4Addr::LOCALHOST), scene.bad.at.port());
    let remote = end(scene.bad.from);
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let is_open = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        matches!(words[..], [_, at, from, "01", ..] if at == local && from.starts_with(&remote))
    };
    Ok(table.lines().filter(is_open).count())
}

async fn socket(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.socket().await?;
    for _ in 0..UNREAD {
        let _ = timeout(Duration::from_secs(1), socket.send(Message::text(call("eth_large")))).await;
    }
    std::future::pending().await
}

/// Opens a WebSocket and sends nothing.
async fn idle(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.socket().await?;
    while socket.next().await.is_some() {}
    Ok(())
}

/// Pipelines requests over HTTP/1.1.
async fn pipelined(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    let body = call("eth_large");
    let head = super::unauthorized_callers::header(&caller, body.len());
    stream.write_all(format!("{head}{body}").repeat(UNREAD).as_bytes()).await?;
    stream.flush().await?;
    std::future::pending().await
}

async fn streams(caller: Caller) -> anyhow::Result<()> {
    let mut sender = caller.http2().await?;
    let mut answers = Vec::new();
    for _ in 0..UNREAD {
        sender.ready().await?;
        answers.push(sender.send_request(caller.stream(call("eth_large"))?).await?);
    }
    std::future::pending().await
}
