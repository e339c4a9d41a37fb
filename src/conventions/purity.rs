//! Checks that pure files use no client, clock, randomness or environment, and that files stay short.

use std::path::{Path, PathBuf};

/// Directories of pure files: they decide and have no side effects.
const PURE_DIRECTORIES: [&str; 9] = [
    "api",
    "guard/rpc/decide",
    "model",
    "node/decide",
    "node/desired",
    "node/observed",
    "node/status",
    "node/validate",
    "protocol",
];

/// Files in [`PURE_DIRECTORIES`] that have side effects, each with the reason.
const EXCEPTIONS: [(&str, &str); 1] =
    [("model/secrets/generate.rs", "all randomness of the operator is in one place")];

/// Pure files in other directories.
const PURE_FILES: [&str; 33] = [
    "cluster/jwks/parse.rs",
    "cluster/watch/full_object.rs",
    "cluster/watch/relist.rs",
    "cluster/watch/triggers.rs",
    "cluster/watch/trim.rs",
    "cluster/watch/undecodable.rs",
    "cluster/write/secret_drift.rs",
    "cluster/write/managed_fields.rs",
    "control/related_nodes.rs",
    "guard/metrics/chain.rs",
    "guard/metrics/peer_connections.rs",
    "guard/metrics/sanitize.rs",
    "guard/metrics/series.rs",
    "guard/rpc/audit/backlog.rs",
    "guard/rpc/audit/quota.rs",
    "guard/rpc/audit/record.rs",
    "guard/rpc/limits/caller_state.rs",
    "guard/rpc/limits/fairness.rs",
    "guard/rpc/serve/answers/request.rs",
    "guard/rpc/serve/upstream/chunks.rs",
    "guard/rpc/serve/ws/end.rs",
    "guard/rpc/serve/ws/frame/read.rs",
    "guard/rpc/serve/ws/frame/write.rs",
    "testing/specs.rs",
    "node/delete/plan.rs",
    "node/issue/stalled_renewal.rs",
    "node/observed.rs",
    "node/status.rs",
    "testing/bounds.rs",
    "testing/kstatus.rs",
    "testing/refusals.rs",
    "testing/server/admission.rs",
    "testing/settled.rs",
];

/// Text that shows a dependency beyond arguments: clients, async code, clocks, randomness, environment.
const REFUSED: [&str; 19] = [
    ".await",
    "async ",
    "Api<",
    "kube::Client",
    "kube::api::Api",
    "::now(",
    "SystemTime",
    "Instant",
    "std::env",
    "env::var",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "tokio::",
    "RandomState",
    "SystemRandom",
    "rand::",
    "generate_for(",
    "tracing::",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = std::fs::read_dir(place).unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// Whether the file holds tests, which may read files and the clock.
fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// Lines of `text` that contain refused text, except comments and inline tests.
fn impure(text: &str) -> Vec<String> {
    let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    program
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter(|line| REFUSED.iter().any(|word| line.contains(word)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn pure_files_hold_no_client_clock_chance_or_environment() {
    let exceptions = EXCEPTIONS.map(|(file, _)| source().join(file));
    for place in PURE_DIRECTORIES.into_iter().chain(PURE_FILES) {
        let pure: Vec<_> = files(&source().join(place))
            .into_iter()
            .filter(|file| !is_test(file) && !exceptions.contains(file))
            .collect();
        assert!(!pure.is_empty(), "{place} has no file");
        for file in pure {
            let found = impure(&std::fs::read_to_string(&file).unwrap());
            assert!(found.is_empty(), "{}: {found:#?}", file.display());
        }
    }
}

#[test]
fn every_exception_is_needed() {
    for (file, reason) in EXCEPTIONS {
        let found = impure(&std::fs::read_to_string(source().join(file)).unwrap());
        assert!(!found.is_empty(), "{file} is pure, yet excepted: {reason}");
    }
}

#[test]
fn the_check_finds_what_acts() {
    for (file, word) in
        [("node/observe.rs", ".await"), ("control/mod.rs", "::now("), ("control/backoff.rs", "RandomState")]
    {
        let found = impure(&std::fs::read_to_string(source().join(file)).unwrap());
        assert!(found.iter().any(|line| line.contains(word)), "{file}: {found:?}");
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for file in files(&source()) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines: its shape is wrong", file.display());
    }
}
