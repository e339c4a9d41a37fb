//! Fields that the schema cannot judge alone: addresses, and values that depend on each other.

use crate::{
    api::{QuorumNodeSpec, parts::Source},
    node::fault::{Fault, Reason},
};

/// Checks them all.
pub(super) fn check(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    tunables(spec, faults);
    guard(spec, faults);
    sources(spec, faults);
    manager(spec, faults);
}

fn tunables(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let (cache, memory) = (spec.client.tunables.cache_mib, spec.client.resources.memory_mib());
    if u64::try_from(cache).unwrap_or(0) * 2 > memory {
        faults.push(Fault::new(
            Reason::InvalidField,
            "spec.client.tunables.cacheMib",
            cache.to_string(),
            format!("geth keeps about twice its cache resident: at most half of client.resources.memory ({memory} MiB)"),
        ));
    }
}

fn guard(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let (memory, least) = (spec.rpc.guard_resources().memory, spec.rpc.least_memory_mib());
    if spec.rpc.guard_resources().memory_mib() < least {
        let connections = spec.rpc.limits.connections;
        faults.push(Fault::new(
            Reason::InvalidField,
            "spec.rpc.resources.memory",
            memory,
            format!("spec.rpc.limits.connections ({connections}) need at least {least}Mi: give more memory, or take fewer connections"),
        ));
    }
}

/// The schema has checked the form of addresses; whether they are addresses at all is checked here.
fn sources(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let mut named: Vec<(String, &str)> = Vec::new();
    let source_cidr = |field: String, source: &'_ Source| source.cidr.clone().map(|cidr| (field, cidr));
    let mut ranges: Vec<(String, String)> = Vec::new();
    for (i, source) in spec.peering.from.iter().enumerate() {
        ranges.extend(source_cidr(format!("spec.peering.from[{i}].cidr"), source));
    }
    for (i, scraper) in spec.metrics.scrapers.iter().enumerate() {
        ranges.extend(source_cidr(format!("spec.metrics.scrapers[{i}].from.cidr"), &scraper.from));
    }
    for (i, caller) in spec.rpc.callers.iter().enumerate() {
        for (j, source) in caller.from.iter().enumerate() {
            ranges.extend(source_cidr(format!("spec.rpc.callers[{i}].from[{j}].cidr"), source));
        }
    }
    if let Some(manager) = &spec.transaction_manager {
        for (i, peer) in manager.peers.iter().enumerate() {
            for cidr in &peer.cidrs {
                ranges.push((format!("spec.transactionManager.peers[{i}].cidrs"), cidr.clone()));
            }
        }
        for cidr in manager.database.external.iter().flat_map(|external| &external.cidrs) {
            ranges.push(("spec.transactionManager.database.external.cidrs".into(), cidr.clone()));
        }
    }
    for (field, cidr) in ranges {
        if cidr.parse::<ipnet::IpNet>().is_err() {
            faults.push(Fault::new(
                Reason::InvalidField,
                field,
                cidr,
                "not a range of addresses: write it as 192.0.2.0/24 or 2001:db8::/64",
            ));
        }
    }
    for (i, enode) in spec.peering.dialled.iter().enumerate() {
        named.push((format!("spec.peering.static[{i}]"), enode));
    }
    for (i, enode) in spec.peering.permissioned.iter().enumerate() {
        named.push((format!("spec.peering.permissioned[{i}]"), enode));
    }
    for (field, enode) in named {
        if enode_endpoint(enode).is_none() {
            faults.push(Fault::new(
                Reason::InvalidField,
                field,
                enode,
                "not an enode URL with an address and a port from 1 to 65535",
            ));
        }
    }
    if let Some(advertise) = &spec.peering.advertise
        && advertise.address.parse::<std::net::IpAddr>().is_err()
    {
        faults.push(Fault::new(
            Reason::InvalidField,
            "spec.peering.advertise.address",
            &advertise.address,
            "not an IP address",
        ));
    }
}

fn manager(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let Some(manager) = &spec.transaction_manager else { return };
    let field = "spec.transactionManager";
    if let Some(password) = &manager.keys.password_ref
        && password.name == manager.keys.secret_ref.name
    {
        faults.push(Fault::new(
            Reason::InvalidField,
            format!("{field}.keys.passwordRef.name"),
            &password.name,
            "key and password must not share a Secret: put the password into another one",
        ));
    }
    if manager.database.managed.is_none() && manager.database.external.is_none() {
        let field = format!("{field}.database");
        faults.push(Fault::new(Reason::InvalidField, field, "empty", "give either managed or external"));
    }
    let peers =
        manager.peers.iter().enumerate().map(|(i, peer)| (format!("{field}.peers[{i}].url"), &peer.url));
    let advertised = manager.advertise.iter().map(|url| (format!("{field}.advertise"), url));
    for (field, url) in peers.chain(advertised) {
        let port = url.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            faults.push(Fault::new(
                Reason::InvalidField,
                field,
                url,
                "the port is not one from 1 to 65535: write the URL as https://tm.example:9000",
            ));
        }
    }
}

/// Address and port of an enode URL.
#[must_use]
pub fn enode_endpoint(enode: &str) -> Option<std::net::SocketAddr> {
    let (_, endpoint) = enode.split_once('@')?;
    let endpoint = endpoint.split('?').next()?;
    endpoint.parse().ok().filter(|address: &std::net::SocketAddr| address.port() != 0)
}
