//! Grants: the methods that a caller may call. Pure.

use std::{collections::BTreeSet, fmt};

/// Modules that may be granted as `module_*`: they read the chain and submit transactions that are already signed.
const OPEN: [&str; 4] = ["eth", "net", "txpool", "web3"];

/// Prefixes of methods of these modules that no wildcard grants: they sign with keys of the node, show its accounts
/// and their transactions, show or send private transactions, or submit mined work.
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

/// Methods that also read private contracts if the client has, or ever had, a transaction manager: those that read
/// an account or storage, run a call, or return logs. A wildcard grants them only with private state. The id of a
/// filter still works after grants change, so the list includes reading a filter of any kind.
const PRIVATE_STATE: [&str; 14] = [
    "eth_call",
    "eth_createAccessList",
    "eth_estimateGas",
    "eth_getBalance",
    "eth_getCode",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_getLogs",
    "eth_getProof",
    "eth_getStorageAt",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_newFilter",
    "eth_subscribe",
];

/// Prefixes of methods that read private state or payloads and that no wildcard grants.
const PRIVATE_BY_NAME: [&str; 12] = [
    "debug_accountRange",
    "debug_defaultStateRoot",
    "debug_dump",
    "debug_privateStateRoot",
    "debug_storageRangeAt",
    "debug_subscribe",
    "debug_trace",
    "eth_decryptQuorumPayload",
    "eth_getContractPrivacyMetadata",
    "eth_getPrivate",
    "eth_getQuorumPayload",
    "eth_storageRoot",
];

/// Prefixes of methods that run a tracer; `debug_subscribe` starts `traceChain`.
const TRACING: [&str; 2] = ["debug_subscribe", "debug_trace"];

/// Prefixes of methods that cannot be granted: they open a listener outside the guard, read or write files of the
/// host, leave an account unlocked, or raise the level of the client's log.
const NEVER: [&str; 22] = [
    "admin_exportChain",
    "admin_importChain",
    "admin_reloadPlugin",
    "admin_start",
    "debug_backtraceAt",
    "debug_blockProfile",
    "debug_cpuProfile",
    "debug_goTrace",
    "debug_mutexProfile",
    "debug_standardTraceBadBlockToFile",
    "debug_standardTraceBlockToFile",
    "debug_startCPUProfile",
    "debug_startGoTrace",
    "debug_traceBlockFromFile",
    "debug_verbosity",
    "debug_vmodule",
    "debug_writeBlockProfile",
    "debug_writeMemProfile",
    "debug_writeMutexProfile",
    "personal_importRawKey",
    "personal_unlockAccount",
    "qlight_reloadPlugin",
];

/// Maximum length of a method's name in bytes; the client's longest one has 44.
const METHOD: usize = 128;

/// Granted methods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    methods: BTreeSet<String>,
    /// Module names with their `_`.
    modules: BTreeSet<String>,
    /// Whether the wildcards include [`PRIVATE_STATE`].
    private_state: bool,
}

/// A pattern that cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The pattern as given.
    pub pattern: String,
    /// What is wrong and what to do.
    pub remedy: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.pattern, self.remedy)
    }
}

impl Grants {
    /// Parses method names (`eth_blockNumber`) and wildcards (`eth_*`).
    ///
    /// # Errors
    /// The first pattern that is neither, or that cannot be granted.
    pub fn read<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, Wrong> {
        let mut grants = Self::default();
        for pattern in patterns {
            let wrong = |remedy| Err(Wrong { pattern: pattern.to_owned(), remedy });
            match pattern.strip_suffix('*') {
                Some(module) if module.strip_suffix('_').is_some_and(|module| OPEN.contains(&module)) => {
                    grants.modules.insert(module.to_owned());
                }
                Some(_) => {
                    return wrong(
                        "wildcards are eth_*, net_*, txpool_* and web3_*; list methods of other modules by name",
                    );
                }
                None if NEVER.iter().any(|never| pattern.starts_with(never)) => {
                    return wrong(
                        "it cannot be granted: it opens a listener, touches files of the host, unlocks an account or raises the log level",
                    );
                }
                None if is_method(pattern) && pattern.contains('_') => {
                    grants.methods.insert(pattern.to_owned());
                }
                None => return wrong("write a method as module_name, with letters, digits, _ and @"),
            }
        }
        Ok(grants)
    }

    /// These grants, with or without private state in the wildcards. A method that is listed by name is granted in
    /// either case.
    #[must_use]
    pub fn with_private_state(self, private_state: bool) -> Self {
        Self { private_state, ..self }
    }

    /// Whether a method may be called.
    #[must_use]
    pub fn allow(&self, method: &str) -> bool {
        self.methods.contains(method)
            || self.has_module(method)
                && !must_be_named(method)
                && (self.private_state || !PRIVATE_STATE.contains(&method))
    }

    /// Granted patterns that read private state: methods that are listed by name, and `eth_*` if it includes such
    /// methods.
    pub fn private_state(&self) -> impl Iterator<Item = &str> {
        let wildcard = self.private_state && self.modules.contains("eth_");
        let named = self.methods.iter().map(String::as_str).filter(|method| {
            PRIVATE_STATE.contains(method) || PRIVATE_BY_NAME.iter().any(|begin| method.starts_with(begin))
        });
        wildcard.then_some("eth_*").into_iter().chain(named)
    }

    /// Granted methods that run a tracer.
    pub fn tracing(&self) -> impl Iterator<Item = &str> {
        let traces = |method: &&str| TRACING.iter().any(|begin| method.starts_with(begin));
        self.methods.iter().map(String::as_str).filter(traces)
    }

    /// Granted methods that no wildcard grants.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(String::as_str).filter(|method| must_be_named(method))
    }

    /// Modules of the granted methods, such as `eth`.
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

/// Whether only its own name grants a method.
#[must_use]
pub fn must_be_named(method: &str) -> bool {
    let module = method.split_once('_').map(|(module, _)| module);
    !module.is_some_and(|module| OPEN.contains(&module))
        || CLOSED.iter().any(|closed| method.starts_with(closed))
}

/// Whether a text has the form of a method's name.
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
            ("eth_newBlockFilter", true),
            ("eth_subscribe", false),
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
    fn a_wildcard_reads_private_state_only_where_the_caller_has_it() {
        let (without, with) = (grants(&["eth_*"]), grants(&["eth_*"]).with_private_state(true));
        for method in PRIVATE_STATE {
            assert!(!without.allow(method) && with.allow(method), "{method}");
            let named = grants(&["eth_*", method]);
            assert!(named.allow(method) && named.clone().with_private_state(true).allow(method), "{method}");
            assert!(!grants(&["net_*", "web3_*"]).with_private_state(true).allow(method), "{method}");
        }
        for method in ["eth_blockNumber", "eth_getBlockByNumber", "eth_getTransactionByHash", "eth_gasPrice"]
        {
            assert!(without.allow(method) && with.allow(method), "{method}");
        }
        for method in ["eth_sign", "eth_getQuorumPayload", "eth_storageRoot", "debug_dumpBlock"] {
            assert!(!with.allow(method), "{method}: by its name alone, private state or not");
        }
    }

    #[test]
    fn what_reads_private_state_or_traces_is_told() {
        let told = |grants: &Grants| grants.private_state().map(str::to_owned).collect::<Vec<_>>();
        let public = ["eth_*", "net_version", "txpool_*", "eth_sendRawTransaction", "eth_accounts"];
        assert_eq!(told(&grants(&public)), [""; 0]);
        assert_eq!(told(&grants(&public).with_private_state(true)), ["eth_*"]);
        assert_eq!(told(&grants(&["net_*"]).with_private_state(true)), [""; 0]);
        let named =
            grants(&["eth_call", "eth_getQuorumPayload", "debug_traceCall", "admin_peers", "eth_subscribe"]);
        assert_eq!(told(&named), ["debug_traceCall", "eth_call", "eth_getQuorumPayload", "eth_subscribe"]);
        assert_eq!(named.tracing().collect::<Vec<_>>(), ["debug_traceCall"]);
        let tracing = ["debug_subscribe", "debug_traceBlockByNumber", "debug_traceTransaction"];
        assert_eq!(grants(&tracing).tracing().collect::<Vec<_>>(), tracing);
        assert_eq!(grants(&["debug_getBlockRlp", "eth_subscribe"]).tracing().count(), 0);
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
            "debug_traceBlockFromFile",
            "debug_verbosity",
            "admin_reloadPlugin",
        ] {
            let wrong = Grants::read(["net_version", pattern]).expect_err(pattern);
            assert_eq!(wrong.pattern, pattern);
            assert!(wrong.to_string().contains(&format!("{pattern:?}")), "{wrong}");
        }
    }
}
