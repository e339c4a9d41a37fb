//! Floods of large or endless answers, messages and bodies. Neither the guard nor the client may run out of memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _};
use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Flood,
    caller::{Caller, call},
    crowd,
    setup::Behind,
    unauthorized_callers::{free, header},
};

/// Call that reverts with 3.4 MiB of data, which is twice as much as text.
pub(super) const HEAVY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0x623600006000fd","gas":"0x17d7840"},"latest"]}"#;

/// Size in bytes of the largest accepted body.
const MOST: usize = 1024 * 1024;
/// Bytes of an answer after which the caller stops reading.
const HALFWAY: usize = 32 * 1024 * 1024;
/// Maximum number of streams of a connection.
const STREAMS: usize = 64;

pub(super) fn floods() -> Vec<Flood> {
    let real = |flood| Flood { behind: Behind::Real, least: 5, asks: Some("eth_call"), ..flood };
    vec![
        real(Flood::new("unread batches", |scene| {
            crowd(scene, 2, |caller| Box::pin(unread_batches(caller))).boxed()
        })),
        real(Flood::new("many unread batches", |scene| {
            crowd(scene, 8, |caller| Box::pin(unread_batches(caller))).boxed()
        })),
        Flood::new("answers left halfway", |scene| {
            crowd(scene, 32, |caller| Box::pin(left_halfway(caller))).boxed()
        })
        .asking("eth_gigabyte"),
        Flood {
            policy: free,
            ..Flood::new("unread answers", |scene| {
                crowd(scene, 96, |caller| Box::pin(unread_answers(caller))).boxed()
            })
            .asking("eth_large")
        },
        Flood::new("unfinished messages", |scene| {
            crowd(scene, 128, |caller| Box::pin(unfinished(caller))).boxed()
        }),
        real(Flood::new("heavy batches", |scene| {
            crowd(scene, 2, |caller| Box::pin(heavy_batches(caller))).boxed()
        })),
        Flood {
            policy: free,
            ..real(Flood::new("unread streams", |scene| {
                crowd(scene, 64, |caller| Box::pin(unread_streams(caller))).boxed()
            }))
        },
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

/// Sends batches of four over a WebSocket without reading the answers. Every other batch also has rejected calls, whose
/// errors belong in the answer.
async fn unread_batches(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.deaf().socket().await?;
    let mixed = batch(4).replace("]},{", &format!("]}},{},{{", call("admin_peers")));
    for text in [batch(4), mixed].iter().cycle() {
        socket.send(Message::text(text.as_str())).await?;
        // pause, so that the client has answered before the next batch
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Requests large answers over a WebSocket or HTTP/2 streams as fast as possible and reads none.
async fn unread_answers(caller: Caller) -> anyhow::Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let caller = caller.deaf();
    if NUMBER.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
        let mut sender = caller.http2().await?;
        let mut answers = Vec::new();
        loop {
            sender.ready().await?;
            answers.push(sender.send_request(caller.stream(call("eth_large"))?).await?);
        }
    }
    let mut socket = caller.socket().await?;
    loop {
        socket.send(Message::text(call("eth_large"))).await?;
    }
}

/// Reads a huge answer as fast as it comes, so that all buffers grow, and then stops reading.
async fn left_halfway(caller: Caller) -> anyhow::Result<()> {
    let mut sender = caller.http1().await?;
    let mut answer = sender.send_request(caller.request(call("eth_gigabyte"))).await?.into_body();
    let mut read = 0;
    while let Some(frame) = answer.frame().await {
        read += frame?.data_ref().map_or(0, Bytes::len);
        if read > HALFWAY {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
    Ok(())
}

/// Sends a message of 1 MiB without its last byte, in one frame or in many.
async fn unfinished(caller: Caller) -> anyhow::Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    const ALL: usize = 1024 * 1024;
    const PIECE: usize = 64 * 1024;
    let mut socket = caller.socket().await?;
    let stream = socket.get_mut();
    let is_whole = NUMBER.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
    // masked with zeros
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
    // read until the guard cuts the connection
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Sends batches of a hundred over HTTP and reads all answers.
async fn heavy_batches(caller: Caller) -> anyhow::Result<()> {
    let mut sender = caller.http1().await?;
    loop {
        caller.drain(&mut sender, batch(100)).await?;
    }
}

/// Opens as many streams as a connection may have, reads no answer, and drops the connection.
async fn unread_streams(caller: Caller) -> anyhow::Result<()> {
    let caller = caller.deaf();
    let mut sender = caller.http2().await?;
    let mut answers = Vec::new();
    for _ in 0..STREAMS {
        sender.ready().await?;
        answers.push(tokio::spawn(sender.send_request(caller.stream(HEAVY)?)));
    }
    // drop the connection before the client has answered
    tokio::time::sleep(Duration::from_millis(300)).await;
    // dropping the connection resets all streams
    answers.iter().for_each(JoinHandle::abort);
    Ok(())
}

/// Sends a body without its last byte.
async fn stalled(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    stream.write_all(header(&caller, MOST).as_bytes()).await?;
    stream.write_all(&vec![b' '; MOST - 1]).await?;
    stream.flush().await?;
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
