//! Floods of subscribers: one that does not read must not delay others, and none may exceed its limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Flood, Scene, Told,
    caller::{Caller, Socket},
    crowd, revoked,
    setup::Behind,
    without_guard::{ask, call},
};

/// Maximum delay of a head: enough for a busy machine, and far less than the client waits for a subscriber that does
/// not read.
const LATE: Duration = Duration::from_secs(2);
/// Init code that deploys nothing and emits fourteen logs of 64 KiB.
const LOGS: &str = "0x600e5b620100006000a0600190038060025700";
/// Number of subscribers to logs that do not read.
const DEAF: usize = 4;

pub(super) fn floods() -> Vec<Flood> {
    vec![
        Flood {
            behind: Behind::Blocks,
            least: 15,
            ..Flood::new("deaf subscribers", |scene| deaf(scene).boxed())
        },
        Flood::new("firehose", |scene| crowd(scene, 64, |caller| Box::pin(firehose(caller))).boxed())
            .asking("eth_subscribe"),
        Flood {
            least: 5,
            policy: |policy| policy.callers[1].connections = 512,
            ..Flood::new("open sockets", |scene| open(scene).boxed()).asking("eth_subscribe")
        },
        Flood { behind: Behind::Real, ..Flood::new("subscriptions", |scene| counted(scene).boxed()) },
        Flood {
            behind: Behind::Real,
            policy: |_| {},
            ..Flood::new("filters", |scene| filters(scene).boxed())
        },
    ]
}

/// Parses a hexadecimal number of the client.
fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Time at which each block was first seen, by number.
type Times = BTreeMap<u64, Instant>;

/// Some callers subscribe to logs, which each block has many of, and do not read. Another caller's heads must come in
/// time.
async fn deaf(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let client = scene.stage.geth.as_ref().context("the client")?.http;
    let mut held = Vec::new();
    for _ in 0..DEAF {
        let mut socket = scene.bad.deaf().socket().await?;
        socket.send(Message::text(call(1, "eth_subscribe", r#""logs",{}"#))).await?;
        held.push(socket);
    }
    let heads = tokio::spawn(heads(scene.good.clone(), scene.until));
    let blocks = blocks(client, scene.until).await?;
    let (heads, now) = (heads.await??, Instant::now());
    drop(held);
    // the first blocks came before the subscription to heads
    let first = heads.keys().next().copied().unwrap_or_default();
    let late = |(number, block): (&u64, &Instant)| {
        heads.get(number).unwrap_or(&now).saturating_duration_since(*block)
    };
    let late = blocks.range(first..).map(late).max().unwrap_or_default();
    let note = format!(
        "{} blocks, {} heads, the latest of them {:.1} s late",
        blocks.len(),
        heads.len(),
        late.as_secs_f64()
    );
    let mut faults = Vec::new();
    if late > LATE {
        faults.push(note.clone());
    }
    if heads.is_empty() || blocks.len() < 5 {
        faults.push(format!("{note}: this proves nothing"));
    }
    Ok(Told { note, faults })
}

/// Makes each block emit as many logs as fit, and records when each block appears.
async fn blocks(client: SocketAddr, until: Instant) -> anyhow::Result<Times> {
    let accounts = ask(client, "eth_accounts", "").await?;
    let send = format!(
        r#"{{"from":{},"gas":"0x7a1200","gasPrice":"0x1","value":"0x0","data":"{LOGS}"}}"#,
        accounts[0]
    );
    let (mut seen, mut last) = (Times::new(), None);
    while Instant::now() < until {
        let block = number(&ask(client, "eth_blockNumber", "").await?);
        if block != last {
            seen.extend(block.map(|block| (block, Instant::now())));
            last = block;
            ask(client, "eth_sendTransaction", &send).await?;
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(seen)
}

/// Records when the head of each block arrives.
async fn heads(caller: Caller, until: Instant) -> anyhow::Result<Times> {
    let mut socket = caller.socket().await?;
    socket.send(Message::text(call(1, "eth_subscribe", r#""newHeads""#))).await?;
    let mut seen = Times::new();
    while let Ok(Some(received)) = timeout_at(until, socket.next()).await {
        let Ok(text) = received?.into_text() else { continue };
        let told: Value = serde_json::from_str(&text)?;
        seen.extend(number(&told["params"]["result"]["number"]).map(|block| (block, Instant::now())));
    }
    Ok(seen)
}

/// Answers until none comes for a second.
async fn answers(socket: &mut Socket) -> Vec<Value> {
    let mut answers = Vec::new();
    while let Ok(Some(Ok(received))) = timeout(Duration::from_secs(1), socket.next()).await {
        match received.to_text().map(serde_json::from_str) {
            Ok(Ok(Value::Array(batch))) => answers.extend(batch),
            Ok(Ok(answer)) => answers.push(answer),
            _ => {}
        }
    }
    answers
}

/// IDs of new subscriptions.
fn begun(answers: &[Value]) -> Vec<&str> {
    answers.iter().filter_map(|answer| answer["result"].as_str()).collect()
}

/// Subscribes to endless notifications and does not read them.
async fn firehose(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.deaf().socket().await?;
    socket.send(Message::text(call(1, "eth_subscribe", r#""logs",{}"#))).await?;
    sleep(Duration::from_secs(2)).await;
    Ok(())
}

/// Opens 400 WebSockets, each with a subscription.
async fn open(scene: Arc<Scene>) -> anyhow::Result<Told> {
    const ALL: usize = 400;
    let (last, there) = (scene.until - Duration::from_millis(300), scene.clone());
    let there = tokio::spawn(async move {
        sleep_until(last).await;
        revoked::open(&there)
    });
    let mut told = crowd(scene, ALL, |caller| Box::pin(subscribed(caller))).await?;
    let there = there.await??;
    told.note = format!("{there} sockets were open at the end");
    if there < ALL * 3 / 4 {
        told.faults.push(format!("{}, of {ALL}", told.note));
    }
    Ok(told)
}

async fn subscribed(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.socket().await?;
    socket.send(Message::text(call(1, "eth_subscribe", r#""newHeads""#))).await?;
    while socket.next().await.is_some() {}
    Ok(())
}

/// Checks the limit of subscriptions: repeated ids do not evade it, and failed or ended subscriptions free their slots.
async fn counted(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let (most, heads) = (scene.limits.subscriptions as usize, r#""newHeads""#);
    let mut socket = scene.bad.socket().await?;
    for _ in 0..100 {
        socket.feed(Message::text(call(7, "eth_subscribe", heads))).await?;
        socket.send(Message::text(call(7, "eth_unsubscribe", r#""0x0""#))).await?;
    }
    let there = begun(&answers(&mut socket).await).len();
    drop(socket);
    // wait until the rate limit allows more calls
    sleep(Duration::from_secs(1)).await;
    let mut socket = scene.bad.socket().await?;
    let failing = vec![call(1, "eth_subscribe", r#""nothing""#); 8].join(",");
    for _ in 0..most / 8 + 1 {
        socket.send(Message::text(format!("[{failing}]"))).await?;
    }
    let failed = answers(&mut socket).await.len();
    let mut subscribe = async |calls: usize| {
        let each: Vec<_> = (0..calls).map(|id| call(id as u64, "eth_subscribe", heads)).collect();
        socket.send(Message::text(format!("[{}]", each.join(",")))).await?;
        let answers = answers(&mut socket).await;
        let begun = begun(&answers);
        let end: Vec<_> = begun.iter().map(|it| call(1, "eth_unsubscribe", &format!("\"{it}\""))).collect();
        socket.send(Message::text(format!("[{}]", end.join(",")))).await?;
        self::answers(&mut socket).await;
        anyhow::Ok(begun.len())
    };
    let after_failures = subscribe(most).await?;
    let after_ends = subscribe(most).await?;
    let note = format!(
        "{there} at once with one id, of {most}; after {failed} that failed {after_failures}, after these were ended {after_ends}"
    );
    let is_right = there <= most && there > 0 && after_failures == most && after_ends == most;
    let faults = if is_right { vec![] } else { vec![note.clone()] };
    Ok(Told { note, faults })
}

/// Checks the limit of filters, which the client retains for minutes after their caller has left.
async fn filters(scene: Arc<Scene>) -> anyhow::Result<Told> {
    let most = scene.limits.filters as usize;
    let mut sender = scene.bad.http1().await?;
    let mut there = 0;
    for _ in 0..4 * most {
        let made = scene.bad.call(&mut sender, call(1, "eth_newBlockFilter", "")).await;
        there += usize::from(made.is_ok());
    }
    let note = format!("{there} filters of one caller, of {most}");
    let faults = if there > most || there == 0 { vec![note.clone()] } else { vec![] };
    Ok(Told { note, faults })
}
