//! What is large and unread, or never ends: answers, messages, bodies. Neither the guard nor the client may die of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt as _, SinkExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::caller::Caller;
use super::stage::Behind;
use super::strangers::header;
use super::{Flood, crowd};

/// It reverts with 3.4 MiB, which are twice as much as text.
pub(super) const HEAVY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0x623600006000fd","gas":"0x17d7840"},"latest"]}"#;

/// Streams of a connection.
const STREAMS: usize = 64;

pub(super) fn floods() -> Vec<Flood> {
    let real = |flood| Flood { behind: Behind::Real, least: 5, ..flood };
    vec![
        real(Flood::new("unread batches", |scene| {
            crowd(scene, 2, |caller| Box::pin(unread_batches(caller))).boxed()
        })),
        Flood::new("unfinished messages", |scene| {
            crowd(scene, 128, |caller| Box::pin(unfinished(caller))).boxed()
        }),
        real(Flood::new("heavy batches", |scene| {
            crowd(scene, 2, |caller| Box::pin(heavy_batches(caller))).boxed()
        })),
        real(Flood::new("unread streams", |scene| {
            crowd(scene, 64, |caller| Box::pin(unread_streams(caller))).boxed()
        })),
        Flood {
            is_large: true,
            ..Flood::new("stalled bodies", |scene| {
                crowd(scene, 12, |caller| Box::pin(stalled(caller))).boxed()
            })
        },
    ]
}

fn batch(calls: usize) -> String {
    format!("[{}]", vec![HEAVY; calls].join(","))
}

/// Batches of four over a WebSocket, again and again, of which no answer is read.
async fn unread_batches(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.deaf().socket().await?;
    loop {
        socket.send(Message::text(batch(4))).await?;
    }
}

/// A message of 1 MiB but for its last byte: in one frame, or in many.
async fn unfinished(caller: Caller) -> anyhow::Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    const ALL: usize = 1024 * 1024;
    const PIECE: usize = 64 * 1024;
    let mut socket = caller.socket().await?;
    let stream = socket.get_mut();
    let is_whole = NUMBER.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
    // masked with nothing
    let head = |first: u8, size: usize| {
        let mut head = vec![first, 0xff];
        head.extend((size as u64).to_be_bytes());
        head.extend([0; 4]);
        head
    };
    let (text, more) = (0x01, 0x00);
    if is_whole {
        stream.write_all(&head(0x80 | text, ALL)).await?;
    }
    for piece in 0..ALL / PIECE {
        let is_last = piece + 1 == ALL / PIECE;
        if !is_whole {
            stream.write_all(&head(if piece == 0 { text } else { more }, PIECE)).await?;
        }
        stream.write_all(&vec![b' '; PIECE - usize::from(is_last)]).await?;
        stream.flush().await?;
    }
    // until it is cut
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Batches of a hundred over HTTP, of which all answers are read.
async fn heavy_batches(caller: Caller) -> anyhow::Result<()> {
    let mut sender = caller.http1().await?;
    loop {
        caller.drain(&mut sender, batch(100)).await?;
    }
}

/// As many streams as a connection has, of which nobody reads an answer.
async fn unread_streams(caller: Caller) -> anyhow::Result<()> {
    let caller = caller.deaf();
    let mut sender = caller.http2().await?;
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        sender.ready().await?;
        answers.push(tokio::spawn(sender.send_request(caller.stream(HEAVY)?)));
    }
    let answers = join_all(answers).await;
    if answers.iter().any(|answer| matches!(answer, Ok(Ok(answer)) if answer.status() == 200)) {
        tokio::time::sleep(Duration::from_secs(10)).await;
    } else {
        // refused all: the rate comes back
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// A body that lacks its last byte.
async fn stalled(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    stream.write_all(header(&caller, 1_000_000).as_bytes()).await?;
    stream.write_all(&vec![b' '; 999_999]).await?;
    stream.flush().await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
