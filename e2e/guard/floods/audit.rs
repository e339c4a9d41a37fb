//! Floods of rejected requests, which must neither fill the audit log nor displace records of calls.

use std::sync::Arc;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::{Flood, Scene, Told, caller::Caller, crowd, well_behaved_caller::RATE};
use crate::guard_process::HOST;

/// Maximum number of records of rejections per second, in the long run.
const MOST: u64 = 1000;

pub(super) fn floods() -> Vec<Flood> {
    let floods = [
        Flood::new("worthless batches", |scene| {
            counted(scene, 4, |caller| Box::pin(worthless(caller))).boxed()
        }),
        Flood::new("strangers' requests", |scene| {
            counted(scene, 2, |caller| Box::pin(strange(caller))).boxed()
        }),
    ];
    floods.map(|flood| Flood { is_slow: true, ..flood }).into()
}

/// Runs a crowd and checks the volume of records meanwhile.
async fn counted(
    scene: Arc<Scene>,
    number: usize,
    deed: fn(Caller) -> super::UserAction<()>,
) -> anyhow::Result<Told> {
    let (before, since) = (scene.stage.records.volume(), Instant::now());
    let mut told = crowd(scene.clone(), number, deed).await?;
    let seconds = since.elapsed().as_secs_f64();
    let after = scene.stage.records.all().await;
    let of = |after: u64, before: u64| ((after - before) as f64 / seconds) as u64;
    let (lines, bytes) = (of(after.0, before.0), of(after.1, before.1));
    told.note = format!("{lines} records and {} KB a second", bytes / 1000);
    if lines > MOST + RATE {
        let sample = scene.stage.records.sample();
        told.faults.push(format!("{lines} records a second, such as {sample}"));
    }
    Ok(told)
}

/// Sends batches of a hundred elements that are not calls over a WebSocket, and reads the answers.
async fn worthless(caller: Caller) -> anyhow::Result<()> {
    let (mut to, mut from) = caller.socket().await?.split();
    let batch = format!("[{}]", vec!["1"; 100].join(","));
    let send = async {
        while to.send(Message::text(batch.clone())).await.is_ok() {}
        // the crowd dials again after the connection is cut
    };
    let read = async { while let Some(Ok(_)) = from.next().await {} };
    tokio::select! { () = send => {}, () = read => {} }
    Ok(())
}

/// Pipelines requests without a token.
async fn strange(caller: Caller) -> anyhow::Result<()> {
    let (mut from, mut to) = tokio::io::split(caller.tls("http/1.1").await?);
    let many = format!("GET /x HTTP/1.1\r\nhost: {HOST}\r\n\r\n").repeat(100);
    let send = async { while to.write_all(many.as_bytes()).await.is_ok() {} };
    let mut bytes = vec![0; 64 * 1024];
    let read = async { while matches!(from.read(&mut bytes).await, Ok(1..)) {} };
    tokio::select! { () = send => {}, () = read => {} }
    Ok(())
}
