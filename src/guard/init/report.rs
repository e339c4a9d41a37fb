//! Tells the operator which database was found: the kubelet puts a container's last message into the pod's status.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tracing::info;

use crate::database::Report;

/// Where the message goes.
#[derive(clap::Args, Debug)]
pub struct To {
    /// Where the kubelet reads what the operator is to know of the database; nothing is written where there is no
    /// such file
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
}

/// Writes the report in place of what was there.
pub fn write(to: &Path, report: &Report) -> Result<()> {
    let text = report.to_string();
    info!(report = text, "which database this is");
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
    use crate::database::Verdict;

    #[test]
    fn the_last_report_stands_alone_and_no_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("termination-log");
        let report = Report::new(Verdict::Replaced, None);
        write(&log, &report).unwrap();
        assert!(!log.exists());
        fs::write(&log, "an earlier and much longer message, of which nothing is to be left behind").unwrap();
        write(&log, &report).unwrap();
        assert_eq!(Report::read(&fs::read_to_string(&log).unwrap()), Some(report));
    }
}
