//! Reports the found database to the operator: the kubelet copies a container's termination message into the pod's
//! status.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tracing::info;

use crate::protocol::database::Report;

/// Where the message goes.
#[derive(clap::Args, Debug)]
pub struct To {
    /// File from which the kubelet reads the report for the operator. If it does not exist, nothing is written
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// Replaces the file's content by the report. Does nothing if the file does not exist.
pub fn write(to: &Path, report: &Report) -> Result<()> {
    let text = report.to_string();
    info!(report = text, "reporting the database to the operator");
    let written = OpenOptions::new().write(true).truncate(true).open(to);
    match written.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.with_context(|| format!("--termination-log {}", to.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::protocol::database::Verdict;

    #[test]
    fn the_last_report_stands_alone_and_no_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("termination-log");
        let report = Report::new(Verdict::Replaced, None);
        write(&log, &report).unwrap();
        assert!(!log.exists());
        fs::write(&log, "an earlier and much longer message that must be replaced completely").unwrap();
        write(&log, &report).unwrap();
        assert_eq!(Report::read(&fs::read_to_string(&log).unwrap()), Some(report));
    }
}
