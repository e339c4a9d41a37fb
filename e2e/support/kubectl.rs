//! Access to the cluster with kubectl, and bounded waits.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Runs kubectl with `input` on standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is on the path");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("kubectl reads its input");
    child.wait_with_output().expect("kubectl ends")
}

/// Standard output of a kubectl that must succeed.
pub(crate) fn text(arguments: &[&str]) -> String {
    let output = run(arguments, "");
    assert!(
        output.status.success(),
        "kubectl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An object or a list, as JSON.
pub(crate) fn get(arguments: &[&str]) -> Value {
    let arguments = [&["get", "-o", "json"], arguments].concat();
    serde_json::from_str(&text(&arguments)).expect("kubectl prints JSON")
}

/// Like [`get`], `None` if the object does not exist.
pub(crate) fn find(arguments: &[&str]) -> Option<Value> {
    let arguments = [&["get", "-o", "json", "--ignore-not-found"], arguments].concat();
    serde_json::from_str(&text(&arguments)).ok()
}

/// Applies manifests.
pub(crate) fn apply(manifests: &[Value]) {
    for manifest in manifests {
        let output = run(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &manifest.to_string());
        assert!(output.status.success(), "{}: {manifest}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Standard error of an apply that must be refused.
pub(crate) fn refused(manifest: &Value) -> String {
    let output = run(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &manifest.to_string());
    assert!(!output.status.success(), "admitted: {manifest}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Polls `seen` until it succeeds, and panics with its last error after `limit`.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut seen: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + limit;
    loop {
        match seen() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < end, "{what}: not after {} s: {why}", limit.as_secs()),
        }
        std::thread::park_timeout(Duration::from_millis(250));
    }
}

/// A condition of a node: status, reason and message.
pub(crate) fn condition(node: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = node["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let field = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Some((field("status"), field("reason"), field("message")))
}

/// Waits up to 240 s for a condition of a node and returns its message. An empty `reason` matches any.
pub(crate) fn wait_condition(namespace: &str, name: &str, kind: &str, status: &str, reason: &str) -> String {
    eventually(&format!("{namespace}/{name} {kind}={status}/{reason}"), Duration::from_secs(240), || {
        let node = get(&["-n", namespace, "quorumnode", name]);
        match condition(&node, kind) {
            Some((is, why, message)) if is == status && (reason.is_empty() || why == reason) => Ok(message),
            _ => Err(node["status"]["conditions"].to_string()),
        }
    })
}

/// An environment variable that `make e2e` sets.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by make e2e"))
}
