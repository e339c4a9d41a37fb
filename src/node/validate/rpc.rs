//! Callers of JSON-RPC: what they may be granted, and that each can be told from every other.

use std::collections::BTreeMap;

use super::{Validated, reference};
use crate::{
    api::rpc::{Caller, Identity, Oidc},
    node::{
        desired,
        fault::{Fault, Reason},
        observed::{Found, Observed},
    },
    policy::{self, grants::Grants},
};

/// Bytes of one caller's authorities at most.
const AUTHORITY: usize = 16 << 10;

/// Bytes of the policy at most: a ConfigMap holds a MiB.
const POLICY: usize = 900_000;

/// What callers refer to, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// Authorities of client certificates, PEM, by the caller's name.
    pub authorities: BTreeMap<String, String>,
    /// Who issues tokens of ServiceAccounts; `None`: not known yet.
    pub cluster: Option<policy::Issuer>,
    /// Other issuers, by their URL; one that is not here has no keys yet.
    pub issuers: BTreeMap<String, policy::Issuer>,
}

pub(super) fn check(observed: &Observed, faults: &mut Vec<Fault>) -> Callers {
    let callers = &observed.node.spec.rpc.callers;
    for (i, caller) in callers.iter().enumerate() {
        let field = format!("spec.rpc.callers[{i}]");
        methods(&field, caller, faults);
        origins(&field, caller, faults);
        authority(&field, caller, observed, faults);
        for other in &callers[..i] {
            apart(&format!("{field}.identity"), (other, caller), faults);
        }
    }
    let known = |name: &String, found: &Found<String>| Some((name.clone(), found.usable()?.clone()));
    let seen = &observed.callers;
    Callers {
        authorities: seen.authorities.iter().filter_map(|(name, found)| known(name, found)).collect(),
        cluster: seen.cluster.as_ref().and_then(Found::usable).cloned(),
        issuers: seen
            .issuers
            .iter()
            .filter_map(|(url, found)| Some((url.clone(), found.usable()?.clone())))
            .collect(),
    }
}

fn methods(field: &str, caller: &Caller, faults: &mut Vec<Fault>) {
    for method in &caller.methods {
        if let Err(wrong) = Grants::read([method.as_str()]) {
            let field = format!("{field}.methods");
            faults.push(Fault::new(Reason::InvalidField, field, wrong.pattern, wrong.way_out));
        }
    }
}

/// A browser leaves out the port that its scheme has anyway.
fn origins(field: &str, caller: &Caller, faults: &mut Vec<Fault>) {
    for origin in &caller.origins {
        let port = origin.splitn(3, ':').nth(2);
        let is_default =
            matches!((port, origin.starts_with("https:")), (Some("443"), true) | (Some("80"), false));
        let way_out = if is_default {
            "a browser leaves this port out: leave it out here"
        } else if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            "the port is not one from 1 to 65535"
        } else {
            continue;
        };
        faults.push(Fault::new(Reason::InvalidField, format!("{field}.origins"), origin, way_out));
    }
}

fn authority(field: &str, caller: &Caller, observed: &Observed, faults: &mut Vec<Fault>) {
    let Some(found) = observed.callers.authorities.get(&caller.name) else { return };
    let kind = if caller.identity.client_certificate.is_some() { "clientCertificate" } else { "oidc" };
    let field = format!("{field}.identity.{kind}.authority");
    reference(found, &field, faults);
    if let Some(pem) = found.usable().filter(|pem| pem.len() > AUTHORITY) {
        faults.push(Fault::new(
            Reason::ReferenceUnusable,
            field,
            format!("{} bytes", pem.len()),
            format!("leave only the authorities of this caller in it: {AUTHORITY} bytes of PEM at most"),
        ));
    }
}

/// Whoever is two callers at once has the rights of the first alone.
fn apart(field: &str, (one, other): (&Caller, &Caller), faults: &mut Vec<Fault>) {
    if let Some(shared) = shared(&one.identity, &other.identity) {
        faults.push(Fault::new(
            Reason::InvalidField,
            field,
            shared,
            format!("callers {} and {} would be the same: make one of the two", one.name, other.name),
        ));
    }
    if let (Some(Oidc { issuer, authority, .. }), Some(again)) = (&one.identity.oidc, &other.identity.oidc)
        && *issuer == again.issuer
        && *authority != again.authority
    {
        faults.push(Fault::new(
            Reason::InvalidField,
            format!("{field}.oidc.authority"),
            issuer,
            format!("callers {} and {} name one issuer: name one authority, too", one.name, other.name),
        ));
    }
}

/// What both are known by.
fn shared(one: &Identity, other: &Identity) -> Option<String> {
    let common =
        |one: &[String], other: &[String]| one.iter().find(|subject| other.contains(subject)).cloned();
    let account =
        one.service_account.as_ref().filter(|account| other.service_account.as_ref() == Some(*account));
    let certificate = || {
        let (one, other) = (one.client_certificate.as_ref()?, other.client_certificate.as_ref()?);
        common(&one.subjects, &other.subjects).filter(|_| one.authority == other.authority)
    };
    let oidc = || {
        let (one, other) = (one.oidc.as_ref()?, other.oidc.as_ref()?);
        let same = (&one.issuer, &one.audience) == (&other.issuer, &other.audience);
        common(&one.subjects, &other.subjects).filter(|_| same)
    };
    let account = account.map(|account| format!("ServiceAccount {}/{}", account.namespace, account.name));
    account.or_else(certificate).or_else(oidc)
}

/// A policy that no ConfigMap could hold.
pub(super) fn too_large(node: &Validated) -> Option<Fault> {
    if !node.has_callers() {
        return None;
    }
    let size = desired::rpc::policy(node).write().len();
    (size > POLICY).then(|| {
        Fault::new(
            Reason::InvalidField,
            "spec.rpc.callers",
            format!("{size} bytes"),
            format!("all callers together make a policy of {POLICY} bytes at most: name fewer methods, or authorities"),
        )
    })
}
