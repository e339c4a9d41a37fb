use k8s_openapi::api::core::v1::{Container, EnvVar};
use serde_json::{Value, json};

use super::sample::{self, alone, client_alone, managed, validator, with};
use crate::{model::names::Component, node::validate::Validated};

fn arguments(node: &Validated) -> Vec<String> {
    sample::container(node, Component::Client, "client").args.expect("arguments")
}

/// What the second list lacks, and what it has in addition, in order.
fn difference(before: &[String], after: &[String]) -> (Vec<String>, Vec<String>) {
    let missing = |from: &[String], of: &[String]| {
        of.iter().filter(|argument| !from.contains(argument)).cloned().collect::<Vec<_>>()
    };
    (missing(after, before), missing(before, after))
}

fn changed_by(change: &Value) -> (Vec<String>, Vec<String>) {
    let before = arguments(&alone(&client_alone()));
    difference(&before, &arguments(&alone(&with(client_alone(), change))))
}

fn one(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

const MEMBER: [&str; 17] = [
    "--datadir=/data",
    "--nodekey=/keys/nodekey",
    "--networkid=1981",
    "--port=30303",
    "--nat=none",
    "--syncmode=full",
    "--gcmode=full",
    "--cache=512",
    "--maxpeers=50",
    "--nodiscover",
    "--permissioned",
    "--ipcdisable",
    "--snapshot=false",
    "--verbosity=3",
    "--metrics",
    "--metrics.addr=127.0.0.1",
    "--metrics.port=6060",
];

#[test]
fn a_member_runs_with_these_arguments_and_no_others() {
    assert_eq!(arguments(&alone(&client_alone())), MEMBER);
}

#[test]
fn a_validator_mines_and_takes_free_transactions_besides() {
    let arguments = arguments(&alone(&validator()));
    assert_eq!(arguments[..MEMBER.len()], MEMBER);
    assert_eq!(arguments[MEMBER.len()..], ["--mine", "--miner.gasprice=0"]);
}

#[test]
fn a_transaction_manager_adds_its_connection_with_every_timeout() {
    let arguments = arguments(&alone(&managed()));
    assert_eq!(arguments[..MEMBER.len()], MEMBER);
    assert_eq!(
        arguments[MEMBER.len()..],
        [
            "--ptm.url=https://alice-tm.ledger.svc:9101",
            "--ptm.timeout=5",
            "--ptm.dialtimeout=1",
            "--ptm.http.idletimeout=10",
            "--ptm.http.writebuffersize=0",
            "--ptm.http.readbuffersize=0",
            "--ptm.tls.mode=strict",
            "--ptm.tls.rootca=/tls/tm/ca.crt",
            "--ptm.tls.clientcert=/tls/tm/tls.crt",
            "--ptm.tls.clientkey=/tls/tm/tls.key",
        ]
    );
}

#[test]
fn each_setting_changes_its_own_argument_alone() {
    for (change, before, after) in [
        (json!({"genesis": {"networkId": 7}}), "--networkid=1981", "--networkid=7"),
        (json!({"client": {"tunables": {"gcMode": "Archive"}}}), "--gcmode=full", "--gcmode=archive"),
        (json!({"client": {"tunables": {"cacheMib": 641}}}), "--cache=512", "--cache=641"),
        (json!({"client": {"tunables": {"maxPeers": 23}}}), "--maxpeers=50", "--maxpeers=23"),
        (json!({"client": {"tunables": {"verbosity": 1}}}), "--verbosity=3", "--verbosity=1"),
    ] {
        assert_eq!(changed_by(&change), (one(before), one(after)), "{change}");
    }
    let called = |change: &Value| arguments(&alone(&with(sample::everything(), change)));
    let change = json!({"client": {"tunables": {"rpcGasCap": 7_000_000}}});
    assert_eq!(
        difference(&called(&json!({})), &called(&change)),
        (one("--rpc.gascap=25000000"), one("--rpc.gascap=7000000"))
    );
    assert_eq!(changed_by(&change), (vec![], vec![]), "without callers nobody calls");
}

/// geth's own JSON-RPC server logs the data of calls that fail; nothing else of the log is lost.
#[test]
fn what_callers_send_is_not_logged_by_the_client() {
    let logs = |node: Value, level: i32| {
        let node = alone(&with(node, &json!({"client": {"tunables": {"verbosity": level}}})));
        let is_log = |argument: &String| ["verbosity", "vmodule"].contains(&flag(argument));
        arguments(&node).into_iter().filter(is_log).collect::<Vec<_>>()
    };
    for level in 0..=3 {
        assert_eq!(logs(client_alone(), level), [format!("--verbosity={level}")]);
    }
    for level in 0..=1 {
        assert_eq!(logs(sample::everything(), level), [format!("--verbosity={level}")]);
    }
    for level in 2..=3 {
        let modules = format!("--vmodule=rpc=1,go-ethereum/*={level}");
        assert_eq!(logs(sample::everything(), level), ["--verbosity=1", modules.as_str()]);
    }
}

/// Other environment variables could change its identity, or where it writes.
#[test]
fn the_environment_of_the_client_is_its_memory_and_that_where_there_are_callers_alone() {
    for node in sample::network() {
        let env = sample::container(&node, Component::Client, "client").env;
        let memory = |env: Vec<EnvVar>| env.into_iter().map(|one| (one.name, one.value)).collect::<Vec<_>>();
        let expected = node.has_callers().then(|| vec![("GOMEMLIMIT".into(), Some("1843MiB".into()))]);
        assert_eq!(env.map(memory), expected, "{}", node.names.node);
    }
    let larger = json!({"client": {"resources": {"cpu": "1", "memory": "10Gi"}}});
    let container =
        sample::container(&alone(&with(sample::everything(), &larger)), Component::Client, "client");
    let env = container.env.and_then(|env| env[0].value.clone());
    assert_eq!(env.as_deref(), Some("9216MiB"), "nine tenths");
}

#[test]
fn what_is_not_the_clients_business_changes_no_argument() {
    for change in [
        json!({"metrics": {"scrapers": [{"name": "p", "from": {"cidr": "192.0.2.0/24"}}]}}),
        json!({"peering": {"from": [{"cidr": "192.0.2.0/24"}]}}),
        json!({"readiness": {"minPeers": 4}}),
        json!({"profile": "Development"}),
    ] {
        assert_eq!(changed_by(&change), (vec![], vec![]), "{change}");
    }
}

#[test]
fn the_genesis_is_written_without_asking_a_transaction_manager() {
    for node in sample::network() {
        let container = sample::container(&node, Component::Client, "genesis");
        assert_eq!(
            container.args.expect("arguments"),
            ["--datadir=/data", "--nodekey=/run/quorum/nodekey", "init", "/genesis/genesis.json"],
            "{}",
            node.names.node
        );
    }
}

/// Name of a flag; one dash or two are the same to geth.
fn flag(argument: &str) -> &str {
    argument.trim_start_matches('-').split('=').next().unwrap_or_default()
}

/// Flags that open the node, unlock an account, show a key or contact other networks, and whole families of such flags.
const FORBIDDEN: [&str; 27] = [
    "http",
    "ws",
    "graphql",
    "unlock",
    "password",
    "allow-insecure-unlock",
    "raft",
    "pprof",
    "dev",
    "config",
    "plugins",
    "nodekeyhex",
    "keystore",
    "lightkdf",
    "usb",
    "ethstats",
    "bootnodes",
    "v5disc",
    "ipcpath",
    "multitenancy",
    "discovery.dns",
    "ptm.socket",
    "ptm.tls.insecureskipverify",
    "miner.notify",
    "miner.etherbase",
    "cpuprofile",
    "trace",
];
const FORBIDDEN_FAMILIES: [&str; 10] =
    ["http.", "ws.", "wsa", "graphql.", "rpc", "raft", "pprof", "plugins.", "qlight.", "override."];

/// All faults of a client's command line.
fn faults(container: &Container) -> Vec<String> {
    let arguments = container.args.clone().unwrap_or_default();
    let mut faults = Vec::new();
    for argument in &arguments {
        let name = flag(argument);
        let value = argument.split_once('=').map(|(_, value)| value);
        let bare = ["nodiscover", "permissioned", "ipcdisable", "metrics", "mine"].contains(&name);
        if FORBIDDEN.contains(&name) || FORBIDDEN_FAMILIES.iter().any(|family| name.starts_with(family)) {
            faults.push(format!("forbidden: {argument}"));
        }
        if bare && value.is_some() {
            faults.push(format!("counts by presence alone: {argument}"));
        }
        if !bare && value.is_none_or(str::is_empty) {
            faults.push(format!("the next word would be its value: {argument}"));
        }
        if !argument.starts_with("--") {
            faults.push(format!("ends the flags: {argument}"));
        }
        let refused = match (name, value) {
            ("metrics.addr", Some(address)) => {
                !address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            ("verbosity", Some(level)) => !level.parse::<u8>().is_ok_and(|level| level <= 3),
            ("vmodule", Some(rules)) => rules.split(',').any(|rule| {
                let level = rule.split_once('=').and_then(|(_, level)| level.parse::<u8>().ok());
                level.is_none_or(|level| level > 3)
            }),
            ("nat", Some(value)) => value != "none",
            ("snapshot", Some(value)) => value != "false",
            ("syncmode", Some(value)) => value != "full",
            ("ptm.tls.mode", Some(value)) => value != "strict",
            ("ptm.url", Some(url)) => !url.starts_with("https://"),
            ("ptm.timeout" | "ptm.dialtimeout" | "ptm.http.idletimeout", Some(value)) => value == "0",
            _ => false,
        };
        if refused {
            faults.push(format!("refused value: {argument}"));
        }
        // the last one wins, silently
        if arguments.iter().filter(|other| flag(other) == name).count() > 1 {
            faults.push(format!("twice: {argument}"));
        }
    }
    for needed in
        ["nodiscover", "permissioned", "ipcdisable", "snapshot", "nat", "nodekey", "networkid", "cache"]
    {
        if !arguments.iter().any(|argument| flag(argument) == needed) {
            faults.push(format!("missing: {needed}"));
        }
    }
    let is_known = |env: &EnvVar| env.name == "GOMEMLIMIT";
    if !container.env.iter().flatten().all(is_known) || container.env_from.is_some() {
        faults.push("PRIVATE_CONFIG could come from the environment".into());
    }
    faults
}

/// Additional flags of a node with callers, only for its guard.
const JSON_RPC: [&str; 13] = [
    "--http",
    "--http.addr=127.0.0.1",
    "--http.port=8547",
    "--http.api=eth,net,txpool,web3",
    "--http.vhosts=localhost",
    "--http.corsdomain=",
    "--ws",
    "--ws.addr=127.0.0.1",
    "--ws.port=8548",
    "--ws.api=eth,net,txpool,web3",
    "--ws.origins=",
    "--rpc.gascap=25000000",
    "--vm.calltimeout=5",
];

#[test]
fn callers_add_listeners_on_loopback_alone() {
    let node = alone(&sample::everything());
    let arguments = arguments(&node);
    assert_eq!(arguments[arguments.len() - JSON_RPC.len()..], JSON_RPC);
}

#[test]
fn no_node_has_a_flag_that_opens_it() {
    for node in sample::network() {
        let mut container = sample::container(&node, Component::Client, "client");
        if node.has_callers() {
            container.args.get_or_insert_default().retain(|one| !JSON_RPC.contains(&one.as_str()));
        }
        assert_eq!(container.command, Some(one("geth")), "no shell between the kubelet's signal and geth");
        assert_eq!(faults(&container), Vec::<String>::new(), "{}", node.names.node);
    }
}

#[test]
fn each_forbidden_flag_would_be_seen() {
    let sound = sample::container(&alone(&managed()), Component::Client, "client");
    for argument in [
        "--http",
        "--http.api=eth",
        "-http",
        "--ws",
        "--ws.origins=*",
        "--graphql",
        "--graphql.vhosts=*",
        "--unlock=0",
        "--password=/pw",
        "--allow-insecure-unlock",
        "--raft",
        "--raftport=50400",
        "--pprof",
        "--pprof.addr=0.0.0.0",
        "--rpc",
        "--rpcapi=admin",
        "--rpc.gascap=0",
        "--nodiscover=false",
        "--metrics=true",
        "--mine=true",
        "--metrics.addr=0.0.0.0",
        "--metrics.addr=10.0.0.1",
        "--verbosity=4",
        "--verbosity=5",
        "--vmodule=p2p=4",
        "--vmodule=rpc=1,p2p=5",
        "--vmodule=p2p",
        "--nat=any",
        "--snapshot=true",
        "--config=/etc/geth.toml",
        "--bootnodes=enode://x",
        "--nodekeyhex=00",
        "--ethstats=a:b@c",
        "--ptm.tls.mode=off",
        "--ptm.url=http://tm",
        "--ptm.timeout=0",
        "--ptm.tls.insecureskipverify",
        "--mine true",
        "extra",
        "--plugins=file:///p",
        "--qlight.client",
        "--dev",
        "--v5disc",
    ] {
        let mut spoilt = sound.clone();
        // replaces the flag of that name, so that it is not detected only as a duplicate
        let arguments = spoilt.args.get_or_insert_default();
        arguments.retain(|sound| flag(sound) != flag(argument));
        arguments.push(argument.into());
        assert_ne!(faults(&spoilt), Vec::<String>::new(), "{argument}");
    }
}

#[test]
fn each_missing_fence_would_be_seen() {
    let sound = sample::container(&alone(&client_alone()), Component::Client, "client");
    for argument in ["--nodiscover", "--permissioned", "--ipcdisable", "--snapshot=false", "--nat=none"] {
        let mut spoilt = sound.clone();
        spoilt.args.get_or_insert_default().retain(|other| other != argument);
        assert_eq!(faults(&spoilt), [format!("missing: {}", flag(argument))]);
    }
}

#[test]
fn the_sidecar_reads_the_listener_that_the_client_opens() {
    let node = alone(&client_alone());
    let sidecar = sample::container(&node, Component::Client, "metrics").args.expect("arguments");
    let port = arguments(&node).iter().find_map(|one| one.strip_prefix("--metrics.port=").map(str::to_owned));
    let upstream = format!("--upstream=http://127.0.0.1:{}/debug/metrics/prometheus", port.expect("a port"));
    assert!(sidecar.contains(&upstream), "{upstream} is not among {sidecar:?}");
}

#[test]
fn the_client_waits_for_its_manager_only_where_there_is_one() {
    for node in sample::network() {
        let prepare = sample::container(&node, Component::Client, "prepare").args.expect("arguments");
        let waits = prepare.iter().find(|argument| argument.starts_with("--wait-url="));
        let url = format!("--wait-url=https://{}-tm.ledger.svc:9101/upcheck", node.names.node);
        assert_eq!(waits, node.manager.as_ref().map(|_| &url), "{}", node.names.node);
    }
}
