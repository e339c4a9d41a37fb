//! Policy and flags of the guard, equivalent to the configurations of the other programs.

use std::{fs, path::Path, process::Command};

use quorum_operator::protocol::policy::{Caller, FILE, Identity, Limits, Policy, VERSION};

use crate::{peer, setup::Setup};

/// Methods that the caller may call.
pub(crate) const METHODS: [&str; 14] = [
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByNumber",
    "eth_getCode",
    "eth_getLogs",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_sendRawTransaction",
    "net_version",
    "web3_clientVersion",
];

fn policy(authority: &str) -> Policy {
    Policy {
        version: VERSION,
        hosts: vec!["localhost".into()],
        audience: "localhost".into(),
        cluster: None,
        issuers: vec![],
        callers: vec![Caller {
            name: "bench".into(),
            identity: Identity::ClientCertificate {
                authority: authority.into(),
                subjects: vec!["dns:bench".into()],
            },
            methods: METHODS.map(str::to_owned).to_vec(),
            private_state: true,
            origins: vec![],
            calls_per_second: 100_000,
            burst: 100_000,
            connections: 4096,
        }],
        limits: Limits { connections: 4096, ..Limits::default() },
    }
}

/// Writes the policy file and adds the guard's flags to `command`.
pub(crate) fn arguments<'a>(
    command: &'a mut Command,
    setup: &Setup,
    port: u16,
) -> anyhow::Result<&'a mut Command> {
    let file = setup.folder.join(FILE);
    fs::write(&file, policy(&setup.pki.authority).write())?;
    let local = |port: u16| format!("127.0.0.1:{port}");
    let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
    Ok(command
        .arg("rpc")
        .arg(format!("--listen={}", local(port)))
        .arg(format!("--health={}", local(peer::free_port()?)))
        .arg(format!("--metrics={}", local(peer::free_port()?)))
        .arg(format!("--http={}", local(setup.upstream.port)))
        .arg(format!("--ws={}", local(setup.upstream.port)))
        .arg(flag("tls-dir", &setup.folder))
        .arg(flag("policy", &file)))
}
