use std::path::{Path, PathBuf};

/// Files and folders of `src/` that decide and never act.
const PURE: [&str; 81] = [
    "api",
    "cluster/fields.rs",
    "cluster/guard.rs",
    "cluster/keys/read.rs",
    "cluster/listed.rs",
    "cluster/trim.rs",
    "cluster/wakes.rs",
    "cluster/whole.rs",
    "cluster/write/live.rs",
    "connections.rs",
    "control/related.rs",
    "database.rs",
    "figures.rs",
    "node/absent.rs",
    "node/chain",
    "node/chain.rs",
    "node/database.rs",
    "node/desired",
    "node/ending.rs",
    "node/enode.rs",
    "node/fault.rs",
    "node/foreign.rs",
    "node/genesis",
    "node/genesis.rs",
    "node/identity.rs",
    "node/kept.rs",
    "node/lasting.rs",
    "node/met.rs",
    "node/names.rs",
    "node/observed.rs",
    "node/optional.rs",
    "node/placement.rs",
    "node/quoted.rs",
    "node/report",
    "node/report.rs",
    "node/rollout",
    "node/rollout.rs",
    "node/rotation.rs",
    "node/secrets/keys.rs",
    "node/secrets/mod.rs",
    "node/secrets/tls.rs",
    "node/secrets/tls",
    "node/sibling.rs",
    "node/trouble.rs",
    "node/unmade.rs",
    "node/unreadable.rs",
    "node/validate",
    "node/volumes.rs",
    "node/voters.rs",
    "testing/server/admission.rs",
    "guard/metrics/chain.rs",
    "guard/metrics/peers.rs",
    "guard/metrics/sanitize.rs",
    "guard/metrics/series.rs",
    "guard/rpc/account.rs",
    "guard/rpc/backlog.rs",
    "guard/rpc/effect.rs",
    "guard/rpc/fairness.rs",
    "guard/rpc/identity",
    "guard/rpc/json.rs",
    "guard/rpc/json/plain.rs",
    "guard/rpc/judge.rs",
    "guard/rpc/message",
    "guard/rpc/message.rs",
    "guard/rpc/quota.rs",
    "guard/rpc/record",
    "guard/rpc/record.rs",
    "guard/rpc/refusal.rs",
    "guard/rpc/rules.rs",
    "guard/rpc/ws/end.rs",
    "guard/rpc/ws/frame/read.rs",
    "guard/rpc/ws/frame/write.rs",
    "guard/rpc/upstream/chunks.rs",
    "guard/rpc/answers/request.rs",
    "nodekey.rs",
    "policy",
    "testing/bounds.rs",
    "testing/kstatus.rs",
    "testing/refusals.rs",
    "testing/settled.rs",
    "testing/specs.rs",
];

/// What would make a file depend on more than its arguments: clients, awaiting, clocks, chance, surroundings.
const REFUSED: [&str; 17] = [
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

/// Tests may read files and the clock.
fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// Lines of a program that break the rule, without comments and inline tests.
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
    let mut read = 0;
    for place in PURE {
        for file in files(&source().join(place)).into_iter().filter(|file| !is_test(file)) {
            read += 1;
            let found = impure(&std::fs::read_to_string(&file).unwrap());
            assert!(found.is_empty(), "{}: {found:#?}", file.display());
        }
    }
    assert!(read >= PURE.len(), "{read} files were read");
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
