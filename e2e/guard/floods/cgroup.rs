//! Cgroup with a memory limit and without swap, like that of a container. Supports versions 1 and 2.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const MIB: u64 = 1024 * 1024;

/// Parent for cgroups with a memory limit, by cgroup version.
enum Mount {
    One(PathBuf),
    Two(PathBuf),
}

/// A cgroup that is removed on drop. Its processes must have ended by then.
pub(crate) struct Cgroup {
    at: PathBuf,
    is_two: bool,
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // its last process may still be exiting
        for _ in 0..100 {
            if fs::remove_dir(&self.at).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Cgroup {
    /// Creates a cgroup with a limit in MiB. With version 1 it is below the cgroup of this process.
    pub(crate) fn new(name: &str, limit: u64) -> anyhow::Result<Self> {
        let made = Self::make(name, limit * MIB);
        made.context(
            "a cgroup with a memory limit: the floods need root, and a memory controller that is mounted",
        )
    }

    fn make(name: &str, limit: u64) -> anyhow::Result<Self> {
        let name = format!("quorum-floods-{}-{name}", std::process::id());
        let (at, is_two) = match mount()? {
            Mount::One(at) => (at.join(name), false),
            Mount::Two(at) => (at.join(name), true),
        };
        fs::create_dir(&at).with_context(|| at.display().to_string())?;
        let group = Self { at, is_two };
        let limit = limit.to_string();
        if is_two {
            group.write("memory.max", &limit)?;
            // the file does not exist on machines without swap
            let _ = group.write("memory.swap.max", "0");
        } else {
            group.write("memory.limit_in_bytes", &limit)?;
            let _ = group.write("memory.memsw.limit_in_bytes", &limit);
            // version 1 counts socket buffers only with this limit; version 2 always counts them
            group.write("memory.kmem.tcp.limit_in_bytes", &limit)?;
        }
        Ok(group)
    }

    /// Command prefix that enters the cgroup and executes the rest of the command.
    pub(crate) fn enter(&self) -> Vec<String> {
        let procs = self.at.join("cgroup.procs").display().to_string();
        ["sh", "-c", r#"echo $$ >"$0" && exec "$@""#, &procs].map(str::to_owned).to_vec()
    }

    /// Peak memory in bytes, including the page cache of its files.
    pub(crate) fn peak(&self) -> anyhow::Result<u64> {
        self.number(if self.is_two { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }

    /// Peak of socket buffers in bytes. 0 with version 2, which includes them in the peak.
    pub(crate) fn sockets(&self) -> anyhow::Result<u64> {
        if self.is_two { Ok(0) } else { self.number("memory.kmem.tcp.max_usage_in_bytes") }
    }

    /// Number of processes that the kernel killed at the limit.
    pub(crate) fn kills(&self) -> anyhow::Result<u64> {
        let file = if self.is_two { "memory.events" } else { "memory.oom_control" };
        let text = self.read(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.with_context(|| format!("oom_kill in {file}"))?.parse().context("a number")
    }

    fn number(&self, file: &str) -> anyhow::Result<u64> {
        self.read(file)?.trim().parse().context("a number")
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        fs::read_to_string(self.at.join(file)).with_context(|| format!("{}/{file}", self.at.display()))
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.at.join(file), text).with_context(|| format!("{}/{file}", self.at.display()))
    }
}

/// Finds a parent for cgroups with a memory limit.
fn mount() -> anyhow::Result<Mount> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let of = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (at, kind, options) = (words.next()?, words.next()?, words.next()?);
        let at = Path::new(at);
        match kind {
            "cgroup" if options.split(',').any(|option| option == "memory") => {
                Some(Mount::One(at.join(own())))
            }
            "cgroup2" if has_memory(at) => Some(Mount::Two(at.to_owned())),
            _ => None,
        }
    };
    mounts.lines().find_map(of).context("no memory controller is mounted, or none that can be delegated")
}

/// Path of this process's memory cgroup of version 1, relative to the mount point.
fn own() -> String {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, at) = rest.split_once(':')?;
        let is_memory = controllers.split(',').any(|one| one == "memory");
        is_memory.then(|| at.trim_start_matches('/').to_owned())
    };
    own.lines().find_map(of).unwrap_or_default()
}

/// Whether children of this cgroup of version 2 have the memory controller or can get it.
fn has_memory(at: &Path) -> bool {
    let has = |file: &str| {
        let text = fs::read_to_string(at.join(file)).unwrap_or_default();
        text.split_whitespace().any(|one| one == "memory")
    };
    has("cgroup.controllers")
        && (has("cgroup.subtree_control") || fs::write(at.join("cgroup.subtree_control"), "+memory").is_ok())
}
