//! Rotation of certificate authorities (CAs) without failed handshakes: every node trusts the next CA before it signs,
//! and trusts the previous one until no node presents a certificate that it signed.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    api::status::AuthoritiesInUse,
    model::{
        names::{Component, Purpose},
        secrets::{
            generate::EARLIER,
            tls::{AuthorityFacts, LeafFacts, Signing},
        },
    },
    node::{
        desired::{
            certificate_digest,
            certificates::{self, Authority},
        },
        observed::{CaGenerations, Observed},
        validate::Validated,
    },
};

/// Time before a CA expires at which the next one is generated.
const LEAD: SignedDuration = SignedDuration::from_hours(24 * 365);
/// Time for which the next CA is published to scrapers before it signs the certificates they see. A rotation that a
/// user asks for does not wait.
const PUBLISHED: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Time before a CA expires at which it stops signing, even if some node does not trust the next one yet.
const STOPS_SIGNING: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Time for a kubelet to update a changed Secret in a pod, and for the process to reload it.
const SETTLE: SignedDuration = SignedDuration::from_mins(3);

/// Number of the CA generation to create now, if one is due.
#[must_use]
pub fn due(ca_generations: &CaGenerations, now: Timestamp) -> Option<u32> {
    let Some(newest) = ca_generations.0.last() else { return Some(1) };
    let ends = newest.authority.usable()?.not_after;
    (newest.rotate || ends.duration_since(now) <= LEAD).then_some(newest.number + 1)
}

/// The CA that signs a node's certificates, and the CAs it trusts. `leaves` are its certificates; `holders` are the CAs
/// in use on each relevant node, including itself, with `None` for a node where they are unknown.
#[must_use]
pub fn signing(
    ca_generations: &CaGenerations,
    leaves: &[&LeafFacts],
    holders: &[Option<AuthoritiesInUse>],
    now: Timestamp,
) -> Option<Signing> {
    let alive = alive(ca_generations, now);
    let &(newest, by) = alive.last()?;
    let [.., last, _] = alive.as_slice() else { return Some(Signing::alone(newest, by)) };
    let has_signed = |one: &AuthorityFacts| leaves.iter().any(|leaf| leaf.authority == one.fingerprint);
    let &(elder, before) = alive.iter().find(|(_, one)| has_signed(one)).unwrap_or(last);
    let everyone = |holds: &dyn Fn(&AuthoritiesInUse) -> bool| {
        holders.iter().all(|holder| holder.as_ref().is_some_and(holds))
    };
    let fingerprint = by.fingerprint.to_string();
    let asked = ca_generations.0.iter().any(|one| one.rotate && one.number < newest);
    let is_published = asked || now.duration_since(by.not_before) >= PUBLISHED;
    let is_urgent = before.not_after.duration_since(now) <= STOPS_SIGNING;
    // where a node already presents the newest CA, all trust it: a new node need not wait for nodes that report nothing
    let follows =
        leaves.is_empty() && holders.iter().flatten().any(|holder| holder.presented.contains(&fingerprint));
    let signs = has_signed(by)
        || is_urgent
        || follows
        || is_published && everyone(&|holder| holder.trusted.contains(&fingerprint));
    let all: Vec<AuthorityFacts> = alive.iter().map(|(_, one)| (*one).clone()).collect();
    if !signs {
        return Some(Signing { generation: elder, by: before.clone(), trusted: all });
    }
    // once one certificate no longer trusts the earlier CAs, none does again, even if the reconcile was interrupted
    let concluded = leaves.iter().any(|leaf| leaf.trusted == [by.fingerprint.clone()].into());
    let over = concluded || everyone(&|holder| holder.presented == [fingerprint.clone()]);
    if over {
        Some(Signing::alone(newest, by))
    } else {
        Some(Signing { generation: newest, by: by.clone(), trusted: all })
    }
}

/// Generations that have not expired, oldest first.
fn alive(ca_generations: &CaGenerations, now: Timestamp) -> Vec<(u32, &AuthorityFacts)> {
    ca_generations.usable().filter(|(_, one)| now < one.not_after).collect()
}

/// The CAs that have not expired, which callers and scrapers must trust.
#[must_use]
pub fn made_known(ca_generations: &CaGenerations, now: Timestamp) -> Vec<&AuthorityFacts> {
    alive(ca_generations, now).into_iter().map(|(_, one)| one).collect()
}

/// The signing CA and the trusted CAs for the certificates that the node's CA, or the network's, signs.
#[must_use]
pub fn of(node: &Validated, observed: &Observed, authority: Authority, now: Timestamp) -> Option<Signing> {
    let ca_generations = ca_generations(observed, authority)?;
    if alive(ca_generations, now).len() < 2 {
        return signing(ca_generations, &[], &[], now);
    }
    let leaves: Vec<_> = leaves(node, observed, authority).into_values().collect();
    let own = (!leaves.is_empty()).then(|| in_use(node, observed, authority, now));
    match authority {
        Authority::Network => {
            let others = observed.network_members.iter().filter(|other| !other.is_new);
            let others = others.map(|other| other.authorities.clone());
            signing(ca_generations, &leaves, &own.into_iter().chain(others).collect::<Vec<_>>(), now)
        }
        _ => signing(ca_generations, &leaves, &Vec::from_iter(own), now),
    }
}

/// The CAs in use, for the status that other nodes read; `None` while there is only one CA.
#[must_use]
pub fn told(node: &Validated, observed: &Observed, now: Timestamp) -> Option<AuthoritiesInUse> {
    (alive(&observed.network_authority, now).len() > 1).then_some(())?;
    let before = observed.node.status.as_ref().and_then(|status| status.network_authorities.as_ref());
    let leaves = leaves(node, observed, Authority::Network);
    let leaves: Vec<_> = leaves.into_values().collect();
    in_use(node, observed, Authority::Network, now).or_else(|| Some(before_or_after_reload(before?, &leaves)))
}

/// The CAs in use whether or not the node's parts have reloaded the Secrets: those trusted both before and now, and
/// those presented before or now. Parts never stop trusting the newest CA and never return to an earlier one, so this
/// also covers every state in between. A renewal therefore does not hide the node's progress. Where nothing was
/// presented before, the parts can only have read the present Secrets.
fn before_or_after_reload(before: &AuthoritiesInUse, leaves: &[&LeafFacts]) -> AuthoritiesInUse {
    let mut now = held_in(leaves);
    if !before.presented.is_empty() {
        now.trusted.retain(|one| before.trusted.contains(one));
        let presented: BTreeSet<_> = now.presented.iter().chain(&before.presented).cloned().collect();
        now.presented = presented.into_iter().collect();
    }
    now
}

/// The CAs that a process with these certificates trusts and presents.
fn held_in(leaves: &[&LeafFacts]) -> AuthoritiesInUse {
    let trusted = leaves.iter().map(|leaf| leaf.trusted.clone());
    let trusted = trusted.reduce(|one, other| &one & &other).unwrap_or_default();
    let presented: BTreeSet<_> = leaves.iter().map(|leaf| &leaf.authority).collect();
    AuthoritiesInUse {
        trusted: trusted.iter().map(ToString::to_string).collect(),
        presented: presented.into_iter().map(ToString::to_string).collect(),
    }
}

/// Whether a rotation is in progress: a certificate trusts more than one CA.
#[must_use]
pub fn goes_on(node: &Validated, observed: &Observed, now: Timestamp) -> bool {
    several(observed, now)
        .into_iter()
        .any(|authority| leaves(node, observed, authority).values().any(|leaf| leaf.trusted.len() > 1))
}

/// Whether to reconcile again soon: a rotation is in progress, or other nodes wait for this node's status.
#[must_use]
pub fn is_watched(node: &Validated, observed: &Observed, now: Timestamp) -> bool {
    let is_sure = |authority| in_use(node, observed, authority, now).is_some();
    goes_on(node, observed, now) || !several(observed, now).into_iter().all(is_sure)
}

/// The scopes (network, node) that have more than one CA.
fn several(observed: &Observed, now: Timestamp) -> Vec<Authority> {
    let is_several = |authority: &Authority| {
        ca_generations(observed, *authority)
            .is_some_and(|ca_generations| alive(ca_generations, now).len() > 1)
    };
    [Authority::Network, Authority::Node].into_iter().filter(is_several).collect()
}

fn ca_generations(observed: &Observed, authority: Authority) -> Option<&CaGenerations> {
    match authority {
        Authority::Network => Some(&observed.network_authority),
        Authority::Node => Some(&observed.node_authority),
        Authority::Requested | Authority::Provided => None,
    }
}

fn leaves<'a>(
    node: &Validated,
    observed: &'a Observed,
    authority: Authority,
) -> BTreeMap<Purpose, &'a LeafFacts> {
    let wanted = certificates::wanted(node).into_iter().filter(|(_, wanted)| wanted.authority == authority);
    wanted
        .filter_map(|(purpose, _)| Some((purpose, observed.certificates.get(&purpose)?.as_ref().ok()?)))
        .collect()
}

/// The CAs in use by the node's running parts; `None` where a part uses, or may still use, an earlier content of a
/// Secret.
fn in_use(
    node: &Validated,
    observed: &Observed,
    authority: Authority,
    now: Timestamp,
) -> Option<AuthoritiesInUse> {
    let leaves = leaves(node, observed, authority);
    let settled = |leaf: &LeafFacts| now.duration_since(leaf.not_before) >= EARLIER + SETTLE;
    let usable = |(purpose, read): (&Purpose, &Result<LeafFacts, _>)| Some((*purpose, read.clone().ok()?));
    let certificates: BTreeMap<_, _> = observed.certificates.iter().filter_map(usable).collect();
    let loaded = |part: &Component| {
        let holds = certificate_digest::held(*part, &certificates);
        let pod = observed.pods.get(part);
        holds.is_empty()
            || pod.is_none_or(|pod| !pod.terminating && pod.certificates.as_ref() == Some(&holds))
    };
    let sure = leaves.values().all(|leaf| settled(leaf)) && Component::ALL.iter().all(loaded);
    sure.then(|| held_in(&leaves.into_values().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
