//! Counts requests by user in the API server's audit log, without sampling.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::SYSTEM;

/// A request from the audit log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) user: String,
    pub(crate) verb: String,
    pub(crate) uri: String,
    pub(crate) of: Of,
    pub(crate) received: Timestamp,
    pub(crate) done: Timestamp,
    pub(crate) code: u16,
    /// Request body, if the audit policy records it.
    pub(crate) body: Option<String>,
}

/// Object of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(default)]
pub(crate) struct Of {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl Entry {
    pub(crate) fn mutates(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it concerns the leader election lease, which replicas renew even when idle.
    pub(crate) fn is_lease(&self) -> bool {
        self.of.resource == "leases"
    }

    /// Whether it is a write, successful or not, other than to the lease.
    pub(crate) fn is_work(&self) -> bool {
        self.mutates() && !self.is_lease()
    }

    /// What it writes: the object or subresource, and whether only its finalizers.
    pub(crate) fn target(&self) -> (Of, bool) {
        (self.of.clone(), self.is_merge())
    }

    /// Whether it is a merge patch, which the operator uses only for finalizers.
    pub(crate) fn is_merge(&self) -> bool {
        self.verb == "patch" && !self.uri.contains("force=true")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Of,
    response_status: Option<Code>,
    request_object: Option<Value>,
    request_received_timestamp: String,
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u16,
}

/// The audit log, read as it grows.
pub(crate) struct Audit {
    path: PathBuf,
    reader: BufReader<File>,
    /// Last line, while it is incomplete.
    part: String,
    entries: Vec<Entry>,
}

impl Audit {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("audit log {}", path.display()))?;
        Ok(Self { path: path.into(), reader: BufReader::new(file), part: String::new(), entries: Vec::new() })
    }

    /// All requests of a user since `from`.
    pub(crate) fn since(&mut self, user: &str, from: Timestamp) -> anyhow::Result<Vec<&Entry>> {
        self.read()?;
        Ok(self.entries.iter().filter(|entry| entry.user == user && entry.received >= from).collect())
    }

    /// Discards all requests that were read, since their bodies are large and no longer needed.
    pub(crate) fn forget(&mut self) {
        self.entries.clear();
    }

    fn read(&mut self) -> anyhow::Result<()> {
        loop {
            let read = self.reader.read_line(&mut self.part).context(self.path.display().to_string())?;
            if read == 0 || !self.part.ends_with('\n') {
                return Ok(());
            }
            let line = std::mem::take(&mut self.part);
            self.entries.extend(entry(&line)?);
        }
    }

    /// Waits until a user has not written for `quiet`, and returns the end of its last write.
    pub(crate) async fn at_rest(
        &mut self,
        user: &str,
        from: Timestamp,
        quiet: Duration,
    ) -> anyhow::Result<Timestamp> {
        let started = Instant::now();
        loop {
            let last =
                self.since(user, from)?.into_iter().filter(|entry| entry.is_work()).map(|e| e.done).max();
            if let Some(last) = last
                && Timestamp::now().duration_since(last).unsigned_abs() > quiet
            {
                return Ok(last);
            }
            if started.elapsed() > Duration::from_secs(1800) {
                bail!("{user} writes without end");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Number of requests by verb and resource, for the report.
    pub(crate) fn listed(entries: &[&Entry]) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for entry in entries {
            let of = [&entry.of.resource, &entry.of.subresource].map(String::as_str).join("/");
            *kinds.entry(format!("{} {}", entry.verb, of.trim_end_matches('/'))).or_default() += 1;
        }
        kinds
    }
}

/// Parses a line. A watch counts when it starts, any other request when it ends.
fn entry(line: &str) -> anyhow::Result<Option<Entry>> {
    let line: Line = serde_json::from_str(line).context("a line of the audit log")?;
    let begins = line.stage == "ResponseStarted";
    let Some(user) = line.user.username.strip_prefix(&format!("system:serviceaccount:{SYSTEM}:")) else {
        return Ok(None);
    };
    if begins != (line.verb == "watch") {
        return Ok(None);
    }
    Ok(Some(Entry {
        user: user.to_owned(),
        verb: line.verb,
        uri: line.request_uri,
        of: line.object_ref,
        received: line.request_received_timestamp.parse().context("audit log")?,
        done: line.stage_timestamp.parse().context("audit log")?,
        code: line.response_status.map_or(0, |status| status.code),
        body: line.request_object.map(|body| body.to_string()),
    }))
}
