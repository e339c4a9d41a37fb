//! What every peer gets: certificates, a folder, something to answer for the client, and a processor.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use crate::{pki::Pki, upstream::Upstream};

/// The same for all of them.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    /// Where their configurations are.
    pub(crate) peers: PathBuf,
    /// The guard's program, with what it runs under before it.
    pub(crate) guard: Vec<OsString>,
    pub(crate) envoy: PathBuf,
    pub(crate) pki: Pki,
    pub(crate) upstream: Arc<Upstream>,
    /// The processor that they run on, and nothing of ours does.
    pub(crate) processor: Option<usize>,
}

impl Setup {
    /// A program on the processor of the peers.
    pub(crate) fn command(&self, words: &[OsString]) -> Command {
        let pinned =
            self.processor.map(|processor| ["taskset".into(), "-c".into(), processor.to_string().into()]);
        let mut words = pinned.iter().flatten().chain(words);
        let mut command = Command::new(words.next().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(words);
        command
    }
}
