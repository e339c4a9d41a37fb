//! Validates the callers of JSON-RPC: their grants, origins and CAs, and that no two have the same identity.

use std::collections::BTreeMap;

use super::{Validated, reference};
use crate::{
    api::rpc::{Caller, Identity, Oidc},
    model::{
        fault::{Fault, Reason},
        lookup::Found,
    },
    node::{desired, observed::Observed},
    protocol::policy::{self, grants::Grants},
};

/// Maximum size of one caller's CA certificates, in bytes.
const AUTHORITY: usize = 16 << 10;

/// Maximum size of the policy, in bytes: a ConfigMap holds 1 MiB.
const POLICY: usize = 900_000;

/// Keys and CAs of callers, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    /// CAs of client certificates, PEM, by the caller's name.
    pub authorities: BTreeMap<String, String>,
    /// Issuer of ServiceAccount tokens; `None` while it is not known.
    pub cluster: Option<policy::Issuer>,
    /// Other issuers with known keys, by URL.
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
            faults.push(Fault::new(Reason::InvalidField, field, wrong.pattern, wrong.remedy));
        }
    }
}

/// Checks the ports of origins. A browser omits the default port of the scheme.
fn origins(field: &str, caller: &Caller, faults: &mut Vec<Fault>) {
    for origin in &caller.origins {
        let port = origin.splitn(3, ':').nth(2);
        let is_default =
            matches!((port, origin.starts_with("https:")), (Some("443"), true) | (Some("80"), false));
        let remedy = if is_default {
            "browsers omit the default port of a scheme: remove the port"
        } else if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            "the port is not a number from 1 to 65535: correct the port"
        } else {
            continue;
        };
        faults.push(Fault::new(Reason::InvalidField, format!("{field}.origins"), origin, remedy));
    }
}

fn authority(field: &str, caller: &Caller, observed: &Observed, faults: &mut Vec<Fault>) {
    let Some(found) = observed.callers.authorities.get(&caller.name) else { return };
    let kind = if caller.identity.client_certificate.is_some() { "clientCertificate" } else { "oidc" };
    let field = format!("{field}.identity.{kind}.authority");
    reference(found, &field, faults);
    if let Some(pem) = found.usable().filter(|pem| pem.len() > AUTHORITY) {
        faults.push(Fault::new(
            Reason::ReferenceInvalid,
            field,
            format!("{} bytes", pem.len()),
            format!("the CA bundle has more than {AUTHORITY} bytes of PEM: leave only the CAs of this caller in the bundle"),
        ));
    }
}

/// Checks that two callers have different identities, since a client that matches both gets only the rights of the
/// first.
fn apart(field: &str, (one, other): (&Caller, &Caller), faults: &mut Vec<Fault>) {
    if let Some(shared) = shared(&one.identity, &other.identity) {
        faults.push(Fault::new(
            Reason::InvalidField,
            field,
            shared,
            format!(
                "callers {} and {} have the same identity: merge the two callers into one",
                one.name, other.name
            ),
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
            format!(
                "callers {} and {} have the same issuer: set identity.oidc.authority of both callers to the same value",
                one.name, other.name
            ),
        ));
    }
}

/// An identity that both match, for a message.
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

/// The fault of a policy that is too large for a ConfigMap.
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
            format!("the policy of all callers is larger than {POLICY} bytes: list fewer methods or smaller CA bundles"),
        )
    })
}
