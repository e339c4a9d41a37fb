//! Floods of incomplete handshakes and requests, of calls that are not granted, and of calls that make the client fail.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _};
use quorum_operator::protocol::policy::Policy;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::caller::{Caller, call};
use super::{Flood, crowd};
use crate::guard_process::HOST;

/// Policy without effective rate limits.
pub(super) fn free(_: &mut Policy) {}

pub(super) fn floods() -> Vec<Flood> {
    let floods = [
        Flood::new("half-open handshakes", |scene| {
            crowd(scene, 60, |caller| Box::pin(half_open(caller))).boxed()
        }),
        Flood::new("slow headers", |scene| crowd(scene, 60, |caller| Box::pin(slow(caller))).boxed()),
        Flood::new("slow bodies", |scene| crowd(scene, 60, |caller| Box::pin(slow_body(caller))).boxed()),
        Flood::new("refused calls", |scene| {
            crowd(scene, 8, |caller| Box::pin(calls(caller, "admin_peers"))).boxed()
        }),
        Flood::new("rapid reset", |scene| crowd(scene, 4, |caller| Box::pin(rapid_reset(caller))).boxed()),
        Flood::new("WebSocket floods", |scene| crowd(scene, 4, |caller| Box::pin(socket(caller))).boxed()),
        Flood::new("client hangs", |scene| {
            crowd(scene, 100, |caller| Box::pin(calls(caller, "eth_hang"))).boxed()
        })
        .asking("eth_hang"),
        Flood::new("client hangs up", |scene| {
            crowd(scene, 8, |caller| Box::pin(calls(caller, "eth_die"))).boxed()
        })
        .asking("eth_die"),
        Flood::new("client answers 1 GB", |scene| {
            crowd(scene, 4, |caller| Box::pin(calls(caller, "eth_gigabyte"))).boxed()
        })
        .asking("eth_gigabyte"),
    ];
    floods.map(|flood| Flood { policy: free, ..flood }).into()
}

async fn half_open(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.dial().await?;
    // the beginning of a handshake record
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await?;
    stream.readable().await?;
    Ok(())
}

async fn slow(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    for byte in b"POST / HTTP/1.1\r\nhost: " {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

/// Header of a request with a body of `size` bytes.
pub(super) fn header(caller: &Caller, size: usize) -> String {
    let about = format!("content-type: application/json\r\ncontent-length: {size}");
    format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{about}\r\nauthorization: Bearer {}\r\n\r\n", caller.token)
}

async fn slow_body(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    stream.write_all(header(&caller, 1_000_000).as_bytes()).await?;
    for _ in 0..1000 {
        stream.write_all(&[b' '; 1000]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn calls(caller: Caller, method: &'static str) -> anyhow::Result<()> {
    let mut sender = caller.http1().await?;
    loop {
        caller.drain(&mut sender, call(method)).await?;
    }
}

async fn rapid_reset(caller: Caller) -> anyhow::Result<()> {
    let mut sender = caller.http2().await?;
    loop {
        sender.ready().await?;
        // sent, and reset at once
        let _ = sender.send_request(caller.stream(call("eth_chainId"))?).now_or_never();
        tokio::task::yield_now().await;
    }
}

async fn socket(caller: Caller) -> anyhow::Result<()> {
    let mut socket = caller.socket().await?;
    loop {
        for _ in 0..50 {
            socket.feed(Message::text(call("admin_peers"))).await?;
            socket.feed(Message::Ping("x".into())).await?;
        }
        timeout(Duration::from_secs(1), socket.flush()).await??;
    }
}
