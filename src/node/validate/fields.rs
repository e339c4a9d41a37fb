//! Validates fields that the schema cannot: addresses, and values that depend on each other.

use crate::{
    api::{
        QuorumNodeSpec,
        parts::{PodTarget, Source},
    },
    model::{
        enode::{self, Enode},
        fault::{Fault, Reason},
    },
};

/// Checks all of these fields.
pub(super) fn check(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    tunables(spec, faults);
    resources(spec, faults);
    guard(spec, faults);
    sources(spec, faults);
    faults.extend(enodes(spec).filter_map(|(field, text, enode)| {
        Some(Fault::new(Reason::InvalidField, field, text, enode.err()?.to_string()))
    }));
    manager(spec, faults);
}

fn tunables(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let (cache, memory) = (spec.client.tunables.cache_mib, spec.client.resources.memory_mib());
    if u64::try_from(cache).unwrap_or(0) * 2 > memory {
        faults.push(Fault::new(
            Reason::InvalidField,
            "spec.client.tunables.cacheMib",
            cache.to_string(),
            format!("geth needs memory of about twice its cache size: set cacheMib to at most half of spec.client.resources.memory ({memory} MiB)"),
        ));
    }
}

/// The server rejects a pod whose request is above its limit.
fn resources(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let manager = spec.transaction_manager.as_ref();
    let database = manager.and_then(|manager| manager.database.managed.as_ref());
    let sidecars = &spec.sidecars;
    let all = [
        ("client.resources", Some(&spec.client.resources)),
        ("rpc.resources", spec.rpc.resources.as_ref()),
        ("transactionManager.resources", manager.map(|manager| &manager.resources)),
        ("transactionManager.database.managed.resources", database.map(|database| &database.resources)),
        ("sidecars.metrics", sidecars.metrics.as_ref()),
        ("sidecars.probe", sidecars.probe.as_ref()),
        ("sidecars.init", sidecars.init.as_ref()),
    ];
    for (field, of) in all {
        let Some((of, limit)) = of.and_then(|of| Some((of, of.cpu_limit.as_ref()?))) else { continue };
        if millis(limit) < millis(&of.cpu) {
            faults.push(Fault::new(
                Reason::InvalidField,
                format!("spec.{field}.cpuLimit"),
                limit,
                format!(
                    "the CPU limit is below the CPU request ({}): set cpuLimit to the CPU request or more",
                    of.cpu
                ),
            ));
        }
    }
}

/// CPU in thousandths; 0 for any other form, which the schema rejects.
fn millis(cpu: &str) -> u64 {
    let number = |digits: &str| digits.parse::<u64>().unwrap_or(0);
    cpu.strip_suffix('m').map_or_else(|| number(cpu) * 1000, number)
}

fn guard(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
    let (memory, least) = (spec.rpc.guard_resources().memory, spec.rpc.least_memory_mib());
    if spec.rpc.guard_resources().memory_mib() < least {
        let connections = spec.rpc.limits.connections;
        faults.push(Fault::new(
            Reason::InvalidField,
            "spec.rpc.resources.memory",
            memory,
            format!("spec.rpc.limits.connections ({connections}) needs at least {least}Mi of memory: raise spec.rpc.resources.memory, or lower spec.rpc.limits.connections"),
        ));
    }
}

/// Checks that address ranges parse. The schema checks only their characters.
fn sources(spec: &QuorumNodeSpec, faults: &mut Vec<Fault>) {
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
                "this is not an address range: write a range such as 192.0.2.0/24 or 2001:db8::/64",
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
            "this is not an IP address: write an address such as 192.0.2.7 or 2001:db8::7",
        ));
    }
}

/// The nodes outside this network that the spec names: field, text and parsed enode URL.
pub(super) fn enodes(
    spec: &QuorumNodeSpec,
) -> impl Iterator<Item = (String, &str, Result<Enode, enode::Wrong>)> {
    let lists = [("static", &spec.peering.dialled), ("permissioned", &spec.peering.permissioned)];
    lists.into_iter().flat_map(|(name, list)| {
        list.iter()
            .enumerate()
            .map(move |(i, text)| (format!("spec.peering.{name}[{i}]"), text.as_str(), text.parse()))
    })
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
            "key and password must not share a Secret: put the password into a different Secret",
        ));
    }
    if manager.database.managed.is_none() && manager.database.external.is_none() {
        let field = format!("{field}.database");
        faults.push(Fault::new(Reason::InvalidField, field, "empty", "set either managed or external"));
    }
    for (i, _) in
        manager.peers.iter().enumerate().filter(|(_, peer)| lacks_target(&peer.cidrs, peer.pods.as_ref()))
    {
        faults.push(missing_target(format!("{field}.peers[{i}]")));
    }
    let external = manager.database.external.as_ref();
    if external.is_some_and(|external| lacks_target(&external.cidrs, external.pods.as_ref())) {
        faults.push(missing_target(format!("{field}.database.external")));
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
                "the URL has no port from 1 to 65535: write a URL such as https://tm.example:9000",
            ));
        }
    }
}

fn lacks_target(cidrs: &[String], pods: Option<&PodTarget>) -> bool {
    cidrs.is_empty() && pods.is_none()
}

fn missing_target(field: String) -> Fault {
    let remedy = "neither cidrs nor pods is set, so no network policy can allow the connection: set cidrs, pods, or both";
    Fault::new(Reason::InvalidField, field, "empty", remedy)
}
