//! Starts, queries, measures and stops the operator's process.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

use crate::cluster::{SYSTEM, User};

/// A running operator.
pub(crate) struct Operator {
    child: Child,
    port: u16,
}

/// Memory of a process, in MB (10^6 bytes), as the kernel counts it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Current resident memory.
    pub(crate) now: f64,
    /// Peak resident memory.
    pub(crate) peak: f64,
}

impl Operator {
    /// Starts the program with a user's kubeconfig.
    pub(crate) fn start(
        program: &Path,
        user: &User,
        namespaces: &[String],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log =
            File::options().create(true).append(true).open(folder.join(format!("{}.log", user.name)))?;
        let child = Command::new(program)
            .arg("run")
            .args(["--watch-namespaces", &namespaces.join(",")])
            .args(["--guard-image", "registry.example/quorum-guard:bench"])
            .args(["--dns-cidrs", "10.96.0.10/32"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--namespace", SYSTEM, "--identity", user.name])
            .env("KUBECONFIG", &user.kubeconfig)
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self { child, port })
    }

    /// Waits until its caches are filled.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        self.wait("ready", |answer| answer.starts_with("HTTP/1.1 200"), "/readyz").await
    }

    /// Waits until it leads.
    pub(crate) async fn leads(&mut self) -> anyhow::Result<()> {
        let leads = |answer: &str| answer.lines().any(|line| line == "quorum_operator_leader 1");
        self.wait("leading", leads, "/metrics").await
    }

    /// Number of reconciles so far.
    pub(crate) async fn reconciles(&self) -> anyhow::Result<u64> {
        let answer = self.ask("/metrics").await?;
        let counted = answer.lines().filter_map(|line| line.strip_prefix("quorum_operator_reconcile_total{"));
        counted.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<u64>()?)).sum()
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
            anyhow::Ok(kib * 1024.0 / 1e6)
        };
        Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.signal("-TERM").await?;
        tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .context("the operator does not end when it is asked to")??;
        Ok(())
    }

    /// Kills it.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([signal, &self.pid()?.to_string()]).status().await?;
        if sent.success() { Ok(()) } else { bail!("kill {signal}: {sent}") }
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the operator has ended: see its log")
    }

    async fn wait(&mut self, what: &str, seen: impl Fn(&str) -> bool, path: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if self.ask(path).await.is_ok_and(|answer| seen(&answer)) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the operator ended ({status}): see its log");
            }
            if started.elapsed() > Duration::from_secs(120) {
                bail!("the operator is not {what} after 120 s: see its log");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
