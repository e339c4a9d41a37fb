//! Callers and strangers that do their worst, one kind after the other, while a well-behaved caller makes 200 calls a
//! second: it sees no error, and the guard's memory comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures::future::select_all;
use futures::{FutureExt as _, SinkExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::moody;
use crate::place::{HOST, Place};

/// Calls a second of the one that behaves.
const RATE: u64 = 200;
/// What an answer to it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// KiB that it may hold at most: its container has twice as much. And what it may hold over twice what it held before.
/// Allocators keep some for the next time.
const MOST: u64 = 64 * 1024;
const SLACK: u64 = 4 * 1024;

/// Somebody who dials from an address of loopback and shows a token.
#[derive(Clone)]
struct Caller {
    at: SocketAddr,
    from: Ipv4Addr,
    token: String,
    config: Arc<ClientConfig>,
}

impl Caller {
    fn of(place: &Place, number: usize) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(place.certificate.clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let from = Ipv4Addr::new(127, 0, 0, 1 + number as u8);
        Ok(Self { at: place.at, from, token: place.tokens[number].clone(), config: Arc::new(config) })
    }

    async fn dial(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        Ok(socket.connect(self.at).await?)
    }

    async fn tls(&self, protocol: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.into()];
        let name = ServerName::try_from(HOST)?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, self.dial().await?).await?)
    }

    async fn http1(&self) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.tls("http/1.1").await?)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, method: &str) -> Request<Full<Bytes>> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let request = Request::post("/").header("host", HOST).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {}", self.token));
        request.body(Full::from(body)).unwrap_or_default()
    }

    /// Calls over a connection, to the end of the answer.
    async fn call(&self, sender: &mut http1::SendRequest<Full<Bytes>>, method: &str) -> anyhow::Result<()> {
        sender.ready().await?;
        let answer = sender.send_request(self.request(method)).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        anyhow::ensure!(
            status == 200 && body.starts_with(br#"{"jsonrpc":"2.0","id":1,"#),
            "{status} {body:?}"
        );
        Ok(())
    }
}

type Deed = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// What others do: its name, how many do it at once, and what each does again and again, whatever comes of it.
type Kind = (&'static str, usize, fn(Caller) -> Deed);

const KINDS: [Kind; 9] = [
    ("half-open handshakes", 60, |caller| Box::pin(half_open(caller))),
    ("slow headers", 60, |caller| Box::pin(slow(caller, "POST / HTTP/1.1\r\nhost: "))),
    ("slow bodies", 60, |caller| Box::pin(slow_body(caller))),
    ("refused calls", 8, |caller| Box::pin(calls(caller, "admin_peers"))),
    ("rapid reset", 4, |caller| Box::pin(rapid_reset(caller))),
    ("WebSocket floods", 4, |caller| Box::pin(socket(caller))),
    ("client hangs", 100, |caller| Box::pin(calls(caller, "eth_hang"))),
    ("client hangs up", 8, |caller| Box::pin(calls(caller, "eth_die"))),
    ("client answers 1 GB", 4, |caller| Box::pin(calls(caller, "eth_gigabyte"))),
];

async fn half_open(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.dial().await?;
    // the beginning of a handshake record
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await?;
    stream.readable().await?;
    Ok(())
}

async fn slow(caller: Caller, text: &str) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    for byte in text.bytes() {
        stream.write_all(&[byte]).await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn slow_body(caller: Caller) -> anyhow::Result<()> {
    let mut stream = caller.tls("http/1.1").await?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        caller.token
    );
    stream.write_all(head.as_bytes()).await?;
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
        caller.call(&mut sender, method).await?;
    }
}

async fn rapid_reset(caller: Caller) -> anyhow::Result<()> {
    let io = TokioIo::new(caller.tls("h2").await?);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    loop {
        sender.ready().await?;
        let mut request = caller.request("eth_chainId");
        *request.uri_mut() = format!("https://{HOST}/").parse()?;
        request.headers_mut().remove("host");
        // sent, and reset at once
        let _ = sender.send_request(request).now_or_never();
        tokio::task::yield_now().await;
    }
}

async fn socket(caller: Caller) -> anyhow::Result<()> {
    let mut request = format!("wss://{HOST}/").into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", caller.token).parse()?);
    let (mut socket, _) = client_async(request, caller.tls("http/1.1").await?).await?;
    loop {
        for _ in 0..50 {
            socket.feed(Message::text(r#"{"jsonrpc":"2.0","id":1,"method":"admin_peers"}"#)).await?;
            socket.feed(Message::Ping("x".into())).await?;
        }
        timeout(Duration::from_secs(1), socket.flush()).await??;
    }
}

/// What became of the well-behaved caller's calls.
#[derive(Default)]
struct Seen {
    well: AtomicU64,
    failed: AtomicU64,
    slowest: AtomicU64,
}

/// Calls at the rate, whatever becomes of the calls before: over connections that are kept, and each tenth over a
/// new one.
async fn behave(caller: Caller, until: Instant, seen: Arc<Seen>) {
    let kept: Vec<_> = (0..8).map(|_| Arc::new(tokio::sync::Mutex::new(None))).collect();
    let mut ticks = interval(Duration::from_millis(1000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0_usize.. {
        ticks.tick().await;
        if Instant::now() >= until {
            break;
        }
        let (caller, seen, slot) = (caller.clone(), seen.clone(), kept[number % kept.len()].clone());
        under_way.spawn(async move {
            let begun = Instant::now();
            let done = timeout(PATIENCE, async {
                if number % 10 == 0 {
                    return caller.call(&mut caller.http1().await?, "eth_chainId").await;
                }
                let mut slot = slot.lock().await;
                let mut sender = match slot.take() {
                    Some(sender) => sender,
                    None => caller.http1().await?,
                };
                caller.call(&mut sender, "eth_chainId").await?;
                *slot = Some(sender);
                anyhow::Ok(())
            });
            match done.await {
                Ok(Ok(())) => seen.well.fetch_add(1, Ordering::Relaxed),
                failed => {
                    eprintln!("a well-behaved call failed: {failed:?}");
                    seen.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            let took = begun.elapsed().as_millis();
            seen.slowest.fetch_max(took as u64, Ordering::Relaxed);
        });
    }
    while under_way.join_next().await.is_some() {}
}

/// KiB that the guard holds, and has held at most since it was last reset.
fn memory(process: u32) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the guard has ended")?;
        line.trim().trim_end_matches(" kB").parse::<u64>().context("a number")
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

/// Floods the guard in every way, each for so long, and gives what went wrong.
pub(crate) async fn run(program: &Path, each: Duration) -> anyhow::Result<Vec<String>> {
    let [http, ws] = moody::start().await?;
    let place = Place::start(program, http, ws).await?;
    let (good, bad) = (Caller::of(&place, 0)?, Caller::of(&place, 1)?);
    let mut faults = Vec::new();
    let before = quiet(&good, &place).await?;
    println!(
        "\n{:22} {:>6} {:>6} {:>10} {:>8} {:>8}",
        "flood", "well", "failed", "slowest ms", "MB most", "MB after"
    );
    for (kind, number, deed) in KINDS {
        // what it held at most is counted from here
        std::fs::write(format!("/proc/{}/clear_refs", place.process()), "5")?;
        let (until, seen) = (Instant::now() + each, Arc::new(Seen::default()));
        let worst = |caller: Caller| async move {
            loop {
                let _ = deed(caller.clone()).await;
                tokio::task::yield_now().await;
            }
        };
        let crowd: Vec<_> = (0..number).map(|_| worst(bad.clone()).boxed()).collect();
        let crowd = tokio::spawn(async move {
            tokio::select! {
                _ = select_all(crowd) => {}
                () = sleep_until(until) => {}
            }
        });
        behave(good.clone(), until, seen.clone()).await;
        crowd.await?;
        let (_, most) = memory(place.process())?;
        let after = quiet(&good, &place).await?;
        let [well, failed, slowest] =
            [&seen.well, &seen.failed, &seen.slowest].map(|count| count.load(Ordering::Relaxed));
        println!(
            "{kind:22} {well:>6} {failed:>6} {slowest:>10} {:>8.1} {:>8.1}",
            most as f64 / 1024.0,
            after as f64 / 1024.0
        );
        if failed > 0 || well < RATE * each.as_secs() / 2 {
            faults.push(format!("{kind}: {failed} well-behaved calls failed, {well} went well"));
        }
        if most.max(after) > (2 * before + SLACK).min(MOST) {
            faults.push(format!(
                "{kind}: the guard held {most} KiB, and {after} KiB after it; {before} before all"
            ));
        }
    }
    Ok(faults)
}

/// Waits until nobody but one is connected any more, and gives what the guard holds then.
async fn quiet(caller: &Caller, place: &Place) -> anyhow::Result<u64> {
    let done = timeout(Duration::from_secs(30), async {
        while caller.call(&mut caller.http1().await?, "eth_chainId").await.is_err() {}
        anyhow::Ok(())
    });
    done.await.context("the guard answers nobody any more")??;
    Ok(memory(place.process())?.0)
}
