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

/// Methods that also read private contracts where the client has, or once had, a transaction manager: whatever reads
/// an account or storage, runs a call, or returns logs. A wildcard grants them with private state alone. The id of a
/// filter still works after the grants have changed, so reading a filter of any kind is among them.
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

/// How methods begin that read private state or payloads, and that no wildcard grants anyway.
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

/// How methods begin that run a tracer; `debug_subscribe` starts `traceChain`.
const TRACING: [&str; 2] = ["debug_subscribe", "debug_trace"];

/// How methods begin that nobody is granted: they open a listener past the guard, read or write files of the
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

/// Bytes that a method's name may have; the longest one of the client has 44.
const METHOD: usize = 128;

/// The methods that were granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    methods: BTreeSet<String>,
    /// With their `_`.
    modules: BTreeSet<String>,
    /// Whether the wildcards include [`PRIVATE_STATE`].
    private_state: bool,
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
                        "nobody may call it: it opens a listener, touches files of the host, unlocks an account or raises the log level",
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

    /// The same, with or without private state in the wildcards. A method that is listed by its name is granted in
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

    /// What of these grants reads private state: methods by their names, and `eth_*` where it includes them.
    pub fn private_state(&self) -> impl Iterator<Item = &str> {
        let wildcard = self.private_state && self.modules.contains("eth_");
        let named = self.methods.iter().map(String::as_str).filter(|method| {
            PRIVATE_STATE.contains(method) || PRIVATE_BY_NAME.iter().any(|begin| method.starts_with(begin))
        });
        wildcard.then_some("eth_*").into_iter().chain(named)
    }

    /// Methods that run a tracer.
    pub fn tracing(&self) -> impl Iterator<Item = &str> {
        let traces = |method: &&str| TRACING.iter().any(|begin| method.starts_with(begin));
        self.methods.iter().map(String::as_str).filter(traces)
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
