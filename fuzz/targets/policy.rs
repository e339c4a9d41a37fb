//! Fuzzes the policy file: an accepted policy is the same after writing and reading, and a wildcard grants no method
//! that needs its exact name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorum_operator::protocol::policy::{Policy, grants};

/// Methods that only their exact name grants.
const NAMED: [&str; 6] = [
    "admin_peers",
    "debug_traceTransaction",
    "eth_accounts",
    "eth_sign",
    "miner_start",
    "personal_listAccounts",
];

/// Methods that a wildcard grants only with private state.
const PRIVATE: [&str; 3] = ["eth_call", "eth_getLogs", "eth_subscribe"];

/// Methods that no policy can grant.
const NEVER: [&str; 6] = [
    "admin_startWS",
    "debug_cpuProfile",
    "debug_traceBlockFromFile",
    "debug_verbosity",
    "personal_importRawKey",
    "personal_unlockAccount",
];

fuzz_target!(|file: &[u8]| {
    let Ok(policy) = Policy::read(file) else { return };
    assert_eq!(Policy::read(policy.write().as_bytes()), Ok(policy.clone()));
    for caller in &policy.callers {
        let methods = || caller.methods.iter().map(String::as_str);
        let granted = caller.grants().expect("the policy was checked");
        for method in NAMED {
            assert_eq!(granted.allow(method), methods().any(|pattern| pattern == method), "{method}");
        }
        for method in PRIVATE {
            let by = |pattern: &str| pattern == method || pattern == "eth_*" && caller.private_state;
            assert_eq!(granted.allow(method), methods().any(by), "{method}");
        }
        for method in NEVER {
            assert!(!granted.allow(method), "{method}");
        }
        for method in methods().filter(|pattern| !pattern.ends_with('*')) {
            assert!(grants::is_method(method) && granted.allow(method), "{method}");
        }
    }
});
