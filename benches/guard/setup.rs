//! Setup that all peers share: certificates, folder, upstream and processor.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use crate::{pki::Pki, upstream::Upstream};

/// Setup of every peer.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    /// Folder with the configuration templates of the peers.
    pub(crate) peers: PathBuf,
    /// Command line of the guard: its program, with a wrapper such as valgrind before it.
    pub(crate) guard: Vec<OsString>,
    pub(crate) envoy: PathBuf,
    pub(crate) pki: Pki,
    pub(crate) upstream: Arc<Upstream>,
    /// Processor on which only the peers run.
    pub(crate) processor: Option<usize>,
}

impl Setup {
    /// Command that runs a program on the processor of the peers.
    pub(crate) fn command(&self, words: &[OsString]) -> Command {
        let pinned =
            self.processor.map(|processor| ["taskset".into(), "-c".into(), processor.to_string().into()]);
        let mut words = pinned.iter().flatten().chain(words);
        let mut command = Command::new(words.next().map_or(OsStr::new(""), OsString::as_os_str));
        command.args(words);
        command
    }
}
