//! Commands for tests that change the cluster itself.

use std::process::Command;

/// Runs a command of `e2e/cluster/bed`.
pub(crate) fn run(arguments: &[&str]) -> String {
    // relative to the package's directory, where tests run: they may have been compiled in another checkout
    let output = Command::new("e2e/cluster/bed").args(arguments).output().expect("e2e/cluster/bed runs");
    assert!(
        output.status.success(),
        "bed {}: {}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
