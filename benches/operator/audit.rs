//! Requests, counted where they arrive: the API server's audit log, by user. Nothing is sampled.

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

/// One request, as the API server wrote it down.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) user: String,
    pub(crate) verb: String,
    pub(crate) uri: String,
    pub(crate) of: Of,
    pub(crate) received: Timestamp,
    pub(crate) done: Timestamp,
    pub(crate) code: u16,
    /// What was sent, where the policy keeps it.
    pub(crate) body: Option<String>,
}

/// What a request is about.
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

    /// Whether it is for the lead, which a replica renews whatever there is to do.
    pub(crate) fn is_lease(&self) -> bool {
        self.of.resource == "leases"
    }

    /// A write to what the operator looks after, successful or not.
    pub(crate) fn is_work(&self) -> bool {
        self.mutates() && !self.is_lease()
    }

    /// What is written with it: an object, its status, or its finalizers.
    pub(crate) fn target(&self) -> (Of, bool) {
        (self.of.clone(), self.is_merge())
    }

    /// Finalizers are merged; everything else is applied or created.
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

/// The log, read as it grows.
pub(crate) struct Audit {
    path: PathBuf,
    reader: BufReader<File>,
    /// The last line, where it is not whole yet.
    part: String,
    entries: Vec<Entry>,
}

impl Audit {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("audit log {}", path.display()))?;
        Ok(Self { path: path.into(), reader: BufReader::new(file), part: String::new(), entries: Vec::new() })
    }

    /// All requests of a user since a moment.
    pub(crate) fn since(&mut self, user: &str, from: Timestamp) -> anyhow::Result<Vec<&Entry>> {
        self.read()?;
        Ok(self.entries.iter().filter(|entry| entry.user == user && entry.received >= from).collect())
    }

    /// Bodies are needed once, and are large.
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

    /// Waits until a user has written nothing for a while, and gives the end of its last write.
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

    /// How many requests of each kind, for people.
    pub(crate) fn listed(entries: &[&Entry]) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for entry in entries {
            let of = [&entry.of.resource, &entry.of.subresource].map(String::as_str).join("/");
            *kinds.entry(format!("{} {}", entry.verb, of.trim_end_matches('/'))).or_default() += 1;
        }
        kinds
    }
}

/// A watch is a request when it begins, any other one when it ends.
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
