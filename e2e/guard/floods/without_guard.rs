//! Direct calls to the client, without the guard: they measure its own latency and give it work.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

/// A call.
pub(crate) fn call(id: u64, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":[{params}]}}"#)
}

/// Calls the client directly.
pub(crate) async fn ask(at: SocketAddr, method: &str, params: &str) -> anyhow::Result<Value> {
    let body = call(1, method, params);
    let about =
        format!("host: localhost\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(format!("POST / HTTP/1.0\r\n{about}\r\n\r\n{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    let mut answer: Value = serde_json::from_str(body)?;
    anyhow::ensure!(answer["error"].is_null(), "{method}: {answer}");
    Ok(answer["result"].take())
}

/// 99th percentile of the client's own latency for small calls, measured in a separate thread.
pub(crate) async fn latency(at: SocketAddr, until: Instant) -> anyhow::Result<Duration> {
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        anyhow::Ok(runtime.block_on(calls(at, until)))
    });
    thread.await?
}

async fn calls(at: SocketAddr, until: Instant) -> Duration {
    let (mut ticks, mut under_way) = (interval(Duration::from_millis(20)), tokio::task::JoinSet::new());
    while Instant::now() < until {
        let due = ticks.tick().await;
        under_way.spawn(async move {
            let _ = ask(at, "eth_chainId", "").await;
            due.elapsed()
        });
    }
    let mut took = Vec::new();
    while let Some(done) = under_way.join_next().await {
        took.extend(done);
    }
    took.sort_unstable();
    took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}
