//! Checks the operator's writes in the API server's audit log.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use crate::support::{
    kubectl::{self, variable},
    network::{self, NAMESPACE},
};

const OPERATOR: &str = "system:serviceaccount:quorum-system:quorum-operator";

/// Mutating requests of the operator since `from` (RFC 3339, UTC), except for its lease.
fn writes_since(from: &str) -> Vec<String> {
    let log = fs::read_to_string(format!("{}/log/audit.log", variable("BED_DIR"))).expect("audit log");
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|entry| entry["requestReceivedTimestamp"].as_str().is_some_and(|at| at >= from))
        .filter(|entry| {
            let user =
                if entry["impersonatedUser"].is_null() { &entry["user"] } else { &entry["impersonatedUser"] };
            user["username"] == OPERATOR
        })
        .filter(|entry| !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch")))
        .filter(|entry| entry["objectRef"]["resource"] != "leases")
        .map(|entry| format!("{} {}", entry["verb"], entry["requestURI"]))
        .collect()
}

fn now() -> String {
    let output =
        std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"]).output().expect("date");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether the log holds requests of the operator. Otherwise a test could succeed because nothing is logged.
fn operator_is_recorded() -> bool {
    let log = fs::read_to_string(format!("{}/log/audit.log", variable("BED_DIR"))).expect("audit log");
    log.lines().any(|line| line.contains(OPERATOR))
}

#[test]
#[ignore = "needs a cluster at rest: make e2e runs it on its own"]
fn alone_at_rest_the_operator_writes_nothing_for_two_minutes() {
    network::ready();
    assert!(operator_is_recorded());
    rest();
    let from = now();
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_secs(1));
    }
    assert_eq!(writes_since(&from), Vec::<String>::new());

    // a write in the operator's name shows that the check above can fail
    let from = now();
    kubectl::text(&[
        "-n",
        NAMESPACE,
        "annotate",
        "--overwrite",
        "configmap",
        "qn-alice-peers",
        &format!("--as={OPERATOR}"),
        &format!("e2e/needless={:?}", SystemTime::now().elapsed().is_ok()),
    ]);
    kubectl::eventually("the needless write is recorded", Duration::from_secs(20), || {
        let writes = writes_since(&from);
        if writes.iter().any(|write| write.contains("qn-alice-peers")) {
            Ok(())
        } else {
            Err(format!("{writes:?}"))
        }
    });
}

/// Waits until the operator has written nothing for ten seconds.
fn rest() {
    kubectl::eventually("the operator comes to rest", Duration::from_secs(120), || {
        let from = now();
        std::thread::park_timeout(Duration::from_secs(10));
        let writes = writes_since(&from);
        if writes.is_empty() { Ok(()) } else { Err(format!("{writes:?}")) }
    });
}
