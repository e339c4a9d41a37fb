//! Tests that quorum-guard accepts every flag that the operator renders for it.

use std::collections::BTreeSet;

use clap::{Args, Command};

use super::sample;
use crate::{
    guard::{
        init::{client, copy, database, external_database, single_pod},
        metrics, probe, rpc,
    },
    model::names::Component,
};

/// The words of a guard command, and its flags.
fn command(args: &[String]) -> (String, Command, &[String]) {
    let words = if args[0] == "init" { 2 } else { 1 };
    let name = args[..words].join(" ");
    let empty = Command::new("quorum-guard").no_binary_name(true);
    let command = match name.as_str() {
        "init client" => client::Args::augment_args(empty),
        "init copy" => copy::Args::augment_args(empty),
        "init database" => database::Args::augment_args(empty),
        "init external-database" => external_database::Args::augment_args(empty),
        "init pod" => single_pod::Args::augment_args(empty),
        "metrics" => metrics::Args::augment_args(empty),
        "probe" => probe::Args::augment_args(empty),
        "rpc" => rpc::Args::augment_args(empty),
        other => panic!("the guard has no command {other}"),
    };
    (name, command, &args[words..])
}

#[test]
fn every_flag_that_is_rendered_is_one_that_the_guard_takes() {
    let mut seen = BTreeSet::new();
    for node in sample::network() {
        for workload in sample::render(&node).workloads {
            for container in sample::containers(sample::pod(&workload)) {
                let runs = container.command.iter().flatten().any(|word| word.ends_with("/quorum-guard"));
                let Some(args) = container.args.as_ref().filter(|_| runs) else { continue };
                let (name, command, flags) = command(args);
                command.clone().debug_assert();
                if let Err(why) = command.try_get_matches_from(flags) {
                    panic!("{}/{}: {why}", node.names.node, container.name);
                }
                seen.insert(name);
            }
        }
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

/// The metrics sidecar checks the peers that the client dials, at the port that the client listens on.
#[test]
fn the_sidecar_reads_the_clients_own_list_of_peers() {
    let node = sample::alone(&sample::client_alone());
    let container = |name: &str| sample::container(&node, Component::Client, name);
    let (client, sidecar) = (container("client"), container("metrics"));
    let args = sidecar.args.expect("arguments");
    let value = |flag: &str| args.iter().find_map(|one| one.strip_prefix(flag).map(str::to_owned));
    let list = value("--peers=").expect("a list");
    for container in [&client.volume_mounts, &sidecar.volume_mounts] {
        let mount = container.iter().flatten().find(|mount| mount.name == "peers").expect("it is mounted");
        // as a directory: a single mounted file is never refreshed
        assert_eq!(
            (format!("{}/static-nodes.json", mount.mount_path), &mount.sub_path),
            (list.clone(), &None)
        );
        assert_eq!(mount.read_only, Some(true));
    }
    let port = value("--peer-port=").expect("a port");
    assert!(client.args.expect("arguments").contains(&format!("--port={port}")));
}
