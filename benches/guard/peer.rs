//! Starts, measures and stops the compared programs.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{policy, setup::Setup};

/// Kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Guard,
    Nginx,
    Haproxy,
    Envoy,
}

/// A running program with its child processes.
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    child: Child,
    record: PathBuf,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Guard => "guard",
            Kind::Nginx => "nginx+Lua",
            Kind::Haproxy => "HAProxy",
            Kind::Envoy => "Envoy",
        }
    }

    /// Whether it can inspect each call of a batch.
    pub(crate) fn reads_batches(self) -> bool {
        matches!(self, Kind::Guard | Kind::Nginx)
    }
}

impl Peer {
    /// Starts a program in front of the stand-in client and waits until it accepts connections.
    pub(crate) fn start(kind: Kind, setup: &Setup) -> anyhow::Result<Self> {
        let port = free_port()?;
        let name = format!("{kind:?}").to_lowercase();
        let record = setup.folder.join(format!("{name}.log"));
        let config = |file: &str| -> anyhow::Result<PathBuf> {
            let text = fs::read_to_string(setup.peers.join(file)).with_context(|| file.to_owned())?;
            let text = [
                ("@WORK@", setup.folder.display().to_string()),
                ("@PEERS@", setup.peers.display().to_string()),
                ("@LOG@", record.display().to_string()),
                ("@PORT@", port.to_string()),
                ("@UPSTREAM@", setup.upstream.port.to_string()),
            ]
            .into_iter()
            .fold(text, |text, (from, to)| text.replace(from, &to));
            let path = setup.folder.join(file);
            fs::write(&path, text)?;
            Ok(path)
        };
        let mut command = setup.command(&match kind {
            Kind::Guard => setup.guard.clone(),
            Kind::Nginx => vec!["nginx".into()],
            Kind::Haproxy => vec!["haproxy".into()],
            Kind::Envoy => vec![setup.envoy.clone().into()],
        });
        match kind {
            Kind::Guard => policy::arguments(&mut command, setup, port)?,
            Kind::Nginx => command.arg("-c").arg(config("nginx.conf")?).arg("-p").arg(&setup.folder),
            Kind::Haproxy => command.arg("-f").arg(config("haproxy.cfg")?),
            Kind::Envoy => command.arg("-c").arg(config("envoy.yaml")?).args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ]),
        };
        // HAProxy and the guard write their records to standard output
        let stdout = if matches!(kind, Kind::Guard | Kind::Haproxy) {
            File::create(&record)?
        } else {
            File::create(setup.folder.join(format!("{name}.out")))?
        };
        let child = command
            .stdout(stdout)
            .stderr(File::create(setup.folder.join(format!("{name}.err")))?)
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let mut peer = Self { kind, port, child, record };
        peer.wait().with_context(|| format!("{name}: see {name}.err in {}", setup.folder.display()))?;
        Ok(peer)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if started.elapsed() > Duration::from_secs(30) {
                bail!("it takes no connection after 30 s");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Number of recorded requests so far: one for each line, or the line's `count`.
    pub(crate) fn records(&self) -> usize {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        let several = |line: &str| {
            let count = line.split_once("\"count\":")?.1;
            count.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| several(line).unwrap_or(1))
            .sum()
    }

    /// CPU time of all its threads in microseconds, kernel time included.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for pid in self.tree()? {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
                let ran = text.split(' ').next().context("no schedstat")?;
                sum += ran.parse::<f64>()? / 1e3;
            }
        }
        Ok(sum)
    }

    /// Proportional set size (PSS) in bytes: shared pages are divided among the processes that share them.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for pid in self.tree()? {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
            sum += line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0;
        }
        Ok(sum)
    }

    /// PIDs of the process and all its descendants.
    fn tree(&self) -> anyhow::Result<Vec<u32>> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = tree.get(next) {
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                let text = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
                tree.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            next += 1;
        }
        Ok(tree)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if asked.is_ok_and(|status| status.success()) {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(5) {
                if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
