//! Tells which methods may change state. The guard records such a call when it sends it as well. Pure.
//!
//! An unknown method counts as one that changes state: an unnecessary record is better than a missing one.

/// Prefixes of methods that change nothing, in modules that mostly read: the chain, the transaction pool, a caller's
/// own filters.
const READ: [&str; 5] = ["eth_", "net_", "rpc_", "txpool_", "web3_"];

/// Prefixes of the exceptions: they send or resend a transaction, hand a payload to the transaction manager (as
/// `eth_fillTransaction` does for a private transaction), sign with a key of the node, or submit mined work.
const BUT: [&str; 6] =
    ["eth_distribute", "eth_fillTransaction", "eth_resend", "eth_send", "eth_sign", "eth_submit"];

/// Prefixes of read-only methods in modules that otherwise change the node, its accounts, its peers or its validators.
const ONLY_READ: [&str; 44] = [
    "admin_datadir",
    "admin_nodeInfo",
    "admin_peers",
    "clique_get",
    "clique_proposals",
    "clique_status",
    "debug_accountRange",
    "debug_chaindbProperty",
    "debug_defaultStateRoot",
    "debug_dump",
    "debug_gcStats",
    "debug_get",
    "debug_intermediateRoots",
    "debug_memStats",
    "debug_metrics",
    "debug_preimage",
    "debug_printBlock",
    "debug_privateStateRoot",
    "debug_seedHash",
    "debug_stacks",
    "debug_storageRangeAt",
    "debug_trace",
    "istanbul_candidates",
    "istanbul_get",
    "istanbul_isValidator",
    "istanbul_nodeAddress",
    "istanbul_status",
    "personal_ecRecover",
    "personal_listAccounts",
    "personal_listWallets",
    "quorumExtension_activeExtensionContracts",
    "quorumExtension_generateExtensionApprovalUuid",
    "quorumExtension_getExtensionStatus",
    "quorumPermission_acctList",
    "quorumPermission_connectionAllowed",
    "quorumPermission_getOrgDetails",
    "quorumPermission_nodeList",
    "quorumPermission_orgList",
    "quorumPermission_roleList",
    "quorumPermission_transactionAllowed",
    "raft_cluster",
    "raft_getRaftId",
    "raft_leader",
    "raft_role",
];

/// Whether a call may change state that outlives it: the chain, a payload, an account or the node.
#[must_use]
pub fn changes_state(method: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| method.starts_with(prefix));
    if begins(&READ) { begins(&BUT) } else { !begins(&ONLY_READ) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sends_signs_or_changes_the_node_counts_and_what_reads_does_not() {
        for method in [
            "eth_sendTransaction",
            "eth_sendTransactionAsync",
            "eth_sendRawTransaction",
            "eth_sendRawPrivateTransaction",
            "eth_distributePrivateTransaction",
            "eth_fillTransaction",
            "eth_resend",
            "eth_sign",
            "eth_signTransaction",
            "eth_submitWork",
            "personal_sendTransaction",
            "personal_sign",
            "personal_newAccount",
            "raft_addPeer",
            "raft_removePeer",
            "raft_promoteToPeer",
            "istanbul_propose",
            "istanbul_discard",
            "clique_propose",
            "admin_addPeer",
            "admin_removePeer",
            "miner_start",
            "miner_setEtherbase",
            "quorumPermission_addOrg",
            "quorumPermission_updateNodeStatus",
            "quorumExtension_extendContract",
            "quorumExtension_cancelExtension",
            "debug_setHead",
            "debug_chaindbCompact",
            "debug_verbosity",
            "plugin@account_newAccount",
        ] {
            assert!(changes_state(method), "{method}");
        }
        for method in [
            "eth_blockNumber",
            "eth_call",
            "eth_estimateGas",
            "eth_getLogs",
            "eth_newFilter",
            "eth_subscribe",
            "net_version",
            "web3_sha3",
            "txpool_content",
            "rpc_modules",
            "admin_peers",
            "debug_traceTransaction",
            "debug_getModifiedAccountsByHash",
            "istanbul_getValidators",
            "raft_cluster",
            "quorumPermission_orgList",
            "personal_listAccounts",
        ] {
            assert!(!changes_state(method), "{method}");
        }
    }

    #[test]
    fn a_name_of_no_known_module_counts_as_one_that_changes_something() {
        for method in ["", "eth", "ETH_call", "_", "les_addBalance", "nonsense_call", "admin_peer", "raft_x"]
        {
            assert!(changes_state(method), "{method}");
        }
    }
}
