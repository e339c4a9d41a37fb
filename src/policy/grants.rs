//! Which methods a caller may call. Pure.

use std::{collections::BTreeSet, fmt};

/// Modules of which `module_*` may be granted: they read the chain and hand on what is signed already.
const OPEN: [&str; 4] = ["eth", "net", "txpool", "web3"];

/// How methods of these modules begin that no wildcard grants: they sign with keys of the node, name its accounts
/// and what those have sent, show or send private transactions, or hand in what was mined.
const CLOSED: [&str; 15] = [
    "eth_accounts",
    "eth_decryptQuorumPayload",
    "eth_distributePrivateTransaction",
    "eth_fillTransaction",
    "eth_getContractPrivacyMetadata",
    "eth_getPSI",
    "eth_getPrivate",
    "eth_getQuorumPayload",
    "eth_pendingTransactions",
    "eth_resend",
    "eth_sendRawPrivateTransaction",
    "eth_sendTransaction",
    "eth_sign",
    "eth_storageRoot",
    "eth_submit",
];

/// How methods begin that nobody is granted: they open a listener past the guard, read or write files of the
/// host, or leave an account unlocked.
const NEVER: [&str; 16] = [
    "admin_exportChain",
    "admin_importChain",
    "admin_start",
    "debug_blockProfile",
    "debug_cpuProfile",
    "debug_goTrace",
    "debug_mutexProfile",
    "debug_standardTraceBadBlockToFile",
    "debug_standardTraceBlockToFile",
    "debug_startCPUProfile",
    "debug_startGoTrace",
    "debug_writeBlockProfile",
    "debug_writeMemProfile",
    "debug_writeMutexProfile",
    "personal_importRawKey",
    "personal_unlockAccount",
];

/// Bytes that a method's name may have; the longest one of the client has 44.
const METHOD: usize = 128;

/// The methods that were granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    methods: BTreeSet<String>,
    /// With their `_`.
    modules: BTreeSet<String>,
}

/// A pattern that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// As it was given.
    pub pattern: String,
    /// What to do.
    pub way_out: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.pattern, self.way_out)
    }
}

impl Grants {
    /// Reads names (`eth_blockNumber`) and wildcards (`eth_*`).
    ///
    /// # Errors
    /// At the first one that is neither, or a wildcard for what has to be named.
    pub fn read<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut grants = Self::default();
        for pattern in patterns {
            let wrong = |way_out| Err(Wrong { pattern: pattern.to_owned(), way_out });
            match pattern.strip_suffix('*') {
                Some(module) if module.strip_suffix('_').is_some_and(|module| OPEN.contains(&module)) => {
                    grants.modules.insert(module.to_owned());
                }
                Some(_) => {
                    return wrong("wildcards are eth_*, net_*, txpool_* and web3_*; name others one by one");
                }
                None if NEVER.iter().any(|never| pattern.starts_with(never)) => {
                    return wrong(
                        "nobody may call it: it opens a listener, touches files of the host or unlocks an account",
                    );
                }
                None if is_method(pattern) && pattern.contains('_') => {
                    grants.methods.insert(pattern.to_owned());
                }
                None => return wrong("give a method as module_name, of letters, digits, _ and @"),
            }
        }
        Ok(grants)
    }

    /// Whether a method may be called.
    #[must_use]
    pub fn allow(&self, method: &str) -> bool {
        self.methods.contains(method) || !must_be_named(method) && self.has_module(method)
    }

    /// Those that no wildcard would have granted.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(String::as_str).filter(|method| must_be_named(method))
    }

    /// Modules of what was granted, such as `eth`.
    pub fn modules(&self) -> BTreeSet<&str> {
        let named = self.methods.iter().filter_map(|method| method.split_once('_'));
        named
            .map(|(module, _)| module)
            .chain(self.modules.iter().map(|module| module.trim_end_matches('_')))
            .collect()
    }

    fn has_module(&self, method: &str) -> bool {
        method.find('_').is_some_and(|end| self.modules.contains(&method[..=end]))
    }
}

/// Whether a method has to be granted by its name.
#[must_use]
pub fn must_be_named(method: &str) -> bool {
    let module = method.split_once('_').map(|(module, _)| module);
    !module.is_some_and(|module| OPEN.contains(&module))
        || CLOSED.iter().any(|closed| method.starts_with(closed))
}

/// Whether a text may be a method's name.
#[must_use]
pub fn is_method(text: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@');
    (1..=METHOD).contains(&text.len()) && text.bytes().all(may_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(patterns: &[&str]) -> Grants {
        Grants::read(patterns.iter().copied()).expect("grants")
    }

    #[test]
    fn nothing_is_granted_that_was_not() {
        let none = grants(&[]);
        let some = grants(&["eth_*", "net_version", "admin_peers", "plugin@account_newAccount"]);
        for (method, granted) in [
            ("eth_blockNumber", true),
            ("eth_sendRawTransaction", true),
            ("eth_subscribe", true),
            ("eth_", true),
            ("net_version", true),
            ("admin_peers", true),
            ("plugin@account_newAccount", true),
            ("plugin@account_importRawKey", false),
            ("net_versions", false),
            ("net_peerCount", false),
            ("admin_nodeInfo", false),
            ("eth", false),
            ("ETH_blockNumber", false),
            ("ethash_getWork", false),
            ("", false),
        ] {
            assert_eq!(some.allow(method), granted, "{method}");
            assert!(!none.allow(method), "{method}");
        }
    }

    #[test]
    fn what_signs_or_is_private_is_granted_by_its_name_alone() {
        let by_module = grants(&["eth_*"]);
        for method in [
            "eth_sign",
            "eth_signTransaction",
            "eth_sendTransaction",
            "eth_sendTransactionAsync",
            "eth_accounts",
            "eth_getQuorumPayloadExtra",
            "eth_getPrivateTransactionReceipt",
            "eth_sendRawPrivateTransaction",
        ] {
            assert!(!by_module.allow(method), "{method}");
            let by_name = grants(&["eth_*", method]);
            assert!(by_name.allow(method), "{method}");
            assert_eq!(by_name.named().collect::<Vec<_>>(), [method]);
        }
        let modules = grants(&["eth_*", "net_version", "plugin@account_newAccount"]);
        assert_eq!(modules.modules().into_iter().collect::<Vec<_>>(), ["eth", "net", "plugin@account"]);
        assert_eq!(grants(&["eth_blockNumber", "miner_start"]).named().collect::<Vec<_>>(), ["miner_start"]);
    }

    #[test]
    fn a_pattern_that_grants_nothing_or_too_much_is_an_error_that_names_it() {
        for pattern in [
            "*",
            "_*",
            "eth*",
            "eth_get*",
            "e*_x",
            "admin_*",
            "personal_*",
            "debug_*",
            "miner_*",
            "istanbul_*",
            "ETH_*",
            "eth_**",
            "eth",
            "",
            " eth_call",
            "eth call",
            "eth_cäll",
            "admin_startWS",
            "admin_startRPC",
            "personal_unlockAccount",
            "debug_writeMemProfile",
        ] {
            let wrong = Grants::read(["net_version", pattern]).expect_err(pattern);
            assert_eq!(wrong.pattern, pattern);
            assert!(wrong.to_string().contains(&format!("{pattern:?}")), "{wrong}");
        }
    }
}
