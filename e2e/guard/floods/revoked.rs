//! Whoever is no caller any more is cut within a second, also where nothing that was answered is read.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::caller::{Caller, call};
use super::{Deed, Flood, Scene, Told};

/// A second, and what a busy machine needs.
const WITHIN: Duration = Duration::from_millis(1500);
/// Calls of 1 MiB that each connection makes without reading.
const UNREAD: usize = 8;

pub(super) fn floods() -> Vec<Flood> {
    vec![Flood { least: 4, ..Flood::new("removed and deaf", |scene| removed(scene).boxed()) }]
}

async fn removed(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let deaf: [fn(Caller) -> Deed<()>; 3] = [
        |caller| Box::pin(socket(caller)),
        |caller| Box::pin(pipelined(caller)),
        |caller| Box::pin(streams(caller)),
    ];
    let kinds = deaf.into_iter().cycle().take(6);
    let held: Vec<_> = kinds.map(|kind| tokio::spawn(kind(scene.bad.deaf()))).collect();
    sleep(Duration::from_millis(1500)).await;
    let there = open(&scene)?;
    let mut policy = scene.stage.place.policy.clone();
    policy.callers.truncate(1);
    scene.stage.place.change(&policy)?;
    let since = Instant::now();
    while open(&scene)? > 0 && since.elapsed() < Duration::from_secs(75) {
        sleep(Duration::from_millis(20)).await;
    }
    let (took, left) = (since.elapsed(), open(&scene)?);
    held.iter().for_each(tokio::task::JoinHandle::abort);
    let note =
        format!("{there} connections that do not read, the last cut after {:.1} s", took.as_secs_f64());
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

/// Connections of whoever does not behave that the guard holds open, as the kernel has them.
fn open(scene: &Scene) -> anyhow::Result<usize> {
    // addresses in the order of the machine, and the state of one that is established
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

/// Over HTTP/1.1, one request behind the other.
async fn pipelined(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    let body = call("eth_large");
    let head = super::strangers::header(&caller, body.len());
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
