//! The cluster itself, for tests that change it.

use std::process::Command;

/// Runs a command of `e2e/cluster/bed`.
pub(crate) fn run(arguments: &[&str]) -> String {
    let bed = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/cluster/bed");
    let output = Command::new(bed).args(arguments).output().expect("e2e/cluster/bed runs");
    assert!(
        output.status.success(),
        "bed {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
