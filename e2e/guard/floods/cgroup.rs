//! A cgroup with a memory limit and without swap: the limit of a container. Versions 1 and 2.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const MIB: u64 = 1024 * 1024;

/// Where the controller for memory is mounted, by version.
enum Mount {
    One(PathBuf),
    Two(PathBuf),
}

/// A cgroup that goes when this does; its processes must have ended.
pub(crate) struct Cgroup {
    at: PathBuf,
    is_two: bool,
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // its last process may still be on its way out
        for _ in 0..100 {
            if fs::remove_dir(&self.at).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Cgroup {
    /// With a limit in MiB, below the cgroup of this process where the version allows it.
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
            // there is no such file where there is no swap
            let _ = group.write("memory.swap.max", "0");
        } else {
            group.write("memory.limit_in_bytes", &limit)?;
            let _ = group.write("memory.memsw.limit_in_bytes", &limit);
            // else buffers of sockets are not counted; version 2 counts them with the rest
            group.write("memory.kmem.tcp.limit_in_bytes", &limit)?;
        }
        Ok(group)
    }

    /// A command that enters it, and becomes the command that follows.
    pub(crate) fn enter(&self) -> Vec<String> {
        let procs = self.at.join("cgroup.procs").display().to_string();
        ["sh", "-c", r#"echo $$ >"$0" && exec "$@""#, &procs].map(str::to_owned).to_vec()
    }

    /// Bytes that it held at most, what its files take in the page cache included.
    pub(crate) fn peak(&self) -> anyhow::Result<u64> {
        self.number(if self.is_two { "memory.peak" } else { "memory.max_usage_in_bytes" })
    }

    /// Bytes that buffers of its sockets held at most. With version 2 they are part of the rest.
    pub(crate) fn sockets(&self) -> anyhow::Result<u64> {
        if self.is_two { Ok(0) } else { self.number("memory.kmem.tcp.max_usage_in_bytes") }
    }

    /// How many processes were killed because it was over its limit.
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

/// Where cgroups with a limit can be made.
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
    mounts
        .lines()
        .find_map(of)
        .context("no memory controller is mounted, or none that may be given to others")
}

/// The cgroup of this process in version 1, below where it is mounted.
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

/// Whether cgroups below this one of version 2 have the controller, or can be given it.
fn has_memory(at: &Path) -> bool {
    let has = |file: &str| {
        let text = fs::read_to_string(at.join(file)).unwrap_or_default();
        text.split_whitespace().any(|one| one == "memory")
    };
    has("cgroup.controllers")
        && (has("cgroup.subtree_control") || fs::write(at.join("cgroup.subtree_control"), "+memory").is_ok())
}
