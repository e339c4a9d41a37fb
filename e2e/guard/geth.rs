//! The real client: the go-ethereum on which GoQuorum 24.4 is built, with every method on its listeners. Its metrics
//! count the executions of each method.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MODULES: &str = "admin,debug,eth,miner,net,personal,txpool,web3";

/// Number of executions by method.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Chain of the client.
pub(crate) enum Chain<'a> {
    /// A genesis without further blocks.
    Still(&'a Path),
    /// A development chain with a block each second and an unlocked account.
    BlockEachSecond,
}

/// A running client, which ends on drop.
pub(crate) struct Geth {
    process: Child,
    pub(crate) http: SocketAddr,
    pub(crate) socket: SocketAddr,
    metrics: SocketAddr,
    _home: tempfile::TempDir,
}

impl Drop for Geth {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A loopback address with a free port.
pub(crate) fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A command for `program`, which `within` starts if it is not empty.
pub(crate) fn behind(within: &[String], program: &OsStr) -> Command {
    match within {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

impl Geth {
    /// Starts a client with this genesis and no further blocks.
    pub(crate) async fn start(program: &str, genesis: &Path) -> anyhow::Result<Self> {
        Self::within(&[], program, Chain::Still(genesis)).await
    }

    /// Starts a client through the command `within`.
    pub(crate) async fn within(within: &[String], program: &str, chain: Chain<'_>) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let data = format!("--datadir={}", home.path().display());
        let mut command = behind(within, program.as_ref());
        match chain {
            Chain::Still(genesis) => {
                let made = Command::new(program).args([&data, "init"]).arg(genesis).output();
                let made = made.context("the client")?;
                if !made.status.success() {
                    bail!("geth init: {}", String::from_utf8_lossy(&made.stderr));
                }
            }
            Chain::BlockEachSecond => {
                command.args(["--dev", "--dev.period=1", "--lightkdf"]);
            }
        }
        let [http, socket, metrics] = [free()?, free()?, free()?];
        let process = command
            .args([
                &data,
                "--networkid=1337",
                "--nodiscover",
                "--maxpeers=0",
                "--nat=none",
                "--ipcdisable",
                "--port=0",
            ])
            .args(["--syncmode=full", "--cache=16", "--snapshot=false", "--verbosity=0"])
            .args(["--http", "--http.addr=127.0.0.1", "--http.vhosts=localhost", "--http.corsdomain="])
            .args([format!("--http.port={}", http.port()), format!("--http.api={MODULES}")])
            .args(["--ws", "--ws.addr=127.0.0.1", "--ws.origins="])
            .args([format!("--ws.port={}", socket.port()), format!("--ws.api={MODULES}")])
            .args(["--metrics", "--metrics.addr=127.0.0.1"])
            .arg(format!("--metrics.port={}", metrics.port()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("the client")?;
        let geth = Self { process, http, socket, metrics, _home: home };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(http).await.is_err()
            || TcpStream::connect(socket).await.is_err()
            || geth.executed().await.is_err()
        {
            anyhow::ensure!(Instant::now() < end, "the client does not listen after 60 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(geth)
    }

    /// PID of the client.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Executions since its start, successful or not.
    pub(crate) async fn executed(&self) -> anyhow::Result<Counts> {
        let mut stream = TcpStream::connect(self.metrics).await.context("the client's metrics")?;
        stream.write_all(b"GET /debug/metrics/prometheus HTTP/1.0\r\nhost: x\r\n\r\n").await?;
        let mut page = Vec::new();
        stream.read_to_end(&mut page).await?;
        let mut counts = Counts::new();
        for line in String::from_utf8_lossy(&page).lines() {
            let Some((name, count)) =
                line.strip_prefix("rpc_duration_").and_then(|line| line.split_once(' '))
            else {
                continue;
            };
            let method = ["_success_count", "_failure_count"].iter().find_map(|end| name.strip_suffix(end));
            if let Some(method) = method {
                *counts.entry(method.to_owned()).or_default() += count.parse::<u64>().context("a count")?;
            }
        }
        Ok(counts)
    }
}

/// Difference between two counts.
pub(crate) fn since(before: &Counts, after: &Counts) -> Counts {
    let more = |(method, count): (&String, &u64)| {
        let more = count - before.get(method).copied().unwrap_or_default();
        (more > 0).then(|| (method.clone(), more))
    };
    after.iter().filter_map(more).collect()
}
