//! One authority follows another and no handshake fails: the next is trusted everywhere before it signs, and
//! the last is trusted until nothing that it signed is presented.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    desired::{
        certificates::{self, Authority},
        held,
    },
    names::{Component, Purpose},
    observed::{Lineage, Observed},
    secrets::{
        mint::EARLIER,
        tls::{AuthorityFacts, LeafFacts, Signing},
    },
    validate::Validated,
};
use crate::api::status::AuthoritiesInUse;

/// How long before its end an authority is followed by another one.
const LEAD: SignedDuration = SignedDuration::from_hours(24 * 365);
/// How long the next one is made known to scrapers before it signs what they are shown. Somebody who asks for
/// a rotation does not wait for it.
const MADE_KNOWN: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long before its end an authority signs no more, even if some node does not trust the next one yet.
const PRESSED: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long it takes a kubelet to bring a changed Secret into a pod, and a process to read it again.
const SETTLE: SignedDuration = SignedDuration::from_mins(3);

/// The generation to make now, if one is due.
#[must_use]
pub fn due(lineage: &Lineage, now: Timestamp) -> Option<u32> {
    let Some(newest) = lineage.0.last() else { return Some(1) };
    let ends = newest.authority.usable()?.not_after;
    (newest.rotate || ends.duration_since(now) <= LEAD).then_some(newest.number + 1)
}

/// Who signs a node's certificates, and whom it trusts. `leaves` are its certificates, `holders` says what
/// each node that matters holds, itself included; `None` where that is not known.
#[must_use]
pub fn signing(
    lineage: &Lineage,
    leaves: &[&LeafFacts],
    holders: &[Option<AuthoritiesInUse>],
    now: Timestamp,
) -> Option<Signing> {
    let alive = alive(lineage, now);
    let &(newest, by) = alive.last()?;
    let [.., last, _] = alive.as_slice() else { return Some(Signing::alone(newest, by)) };
    let has_signed = |one: &AuthorityFacts| leaves.iter().any(|leaf| leaf.authority == one.fingerprint);
    let &(elder, before) = alive.iter().find(|(_, one)| has_signed(one)).unwrap_or(last);
    let everyone = |holds: &dyn Fn(&AuthoritiesInUse) -> bool| {
        holders.iter().all(|holder| holder.as_ref().is_some_and(holds))
    };
    let fingerprint = by.fingerprint.to_string();
    let asked = lineage.0.iter().any(|one| one.rotate && one.number < newest);
    let made_known = asked || now.duration_since(by.not_before) >= MADE_KNOWN;
    let pressed = before.not_after.duration_since(now) <= PRESSED;
    // nobody presents what some node does not trust: whoever joins need not ask those who do not say
    let follows =
        leaves.is_empty() && holders.iter().flatten().any(|holder| holder.presented.contains(&fingerprint));
    let signs = has_signed(by)
        || pressed
        || follows
        || made_known && everyone(&|holder| holder.trusted.contains(&fingerprint));
    let all: Vec<AuthorityFacts> = alive.iter().map(|(_, one)| (*one).clone()).collect();
    if !signs {
        return Some(Signing { generation: elder, by: before.clone(), trusted: all });
    }
    // once the earlier ones are no longer trusted they never are again, also where that was cut short
    let concluded = leaves.iter().any(|leaf| leaf.trusted == [by.fingerprint.clone()].into());
    let over = concluded || everyone(&|holder| holder.presented == [fingerprint.clone()]);
    if over {
        Some(Signing::alone(newest, by))
    } else {
        Some(Signing { generation: newest, by: by.clone(), trusted: all })
    }
}

/// Generations that have not ended, eldest first.
fn alive(lineage: &Lineage, now: Timestamp) -> Vec<(u32, &AuthorityFacts)> {
    lineage.usable().filter(|(_, one)| now < one.not_after).collect()
}

/// Every authority of the network that has not ended: what callers and scrapers are to trust.
#[must_use]
pub fn made_known(lineage: &Lineage, now: Timestamp) -> Vec<&AuthorityFacts> {
    alive(lineage, now).into_iter().map(|(_, one)| one).collect()
}

/// Who signs what the node's authority, or the network's, signs for it.
#[must_use]
pub fn of(node: &Validated, observed: &Observed, authority: Authority, now: Timestamp) -> Option<Signing> {
    let lineage = lineage(observed, authority)?;
    if alive(lineage, now).len() < 2 {
        return signing(lineage, &[], &[], now);
    }
    let leaves: Vec<_> = leaves(node, observed, authority).into_values().collect();
    let own = (!leaves.is_empty()).then(|| in_use(node, observed, authority, now));
    match authority {
        Authority::Network => {
            let others = observed.siblings.iter().filter(|other| !other.is_new);
            let others = others.map(|other| other.authorities.clone());
            signing(lineage, &leaves, &own.into_iter().chain(others).collect::<Vec<_>>(), now)
        }
        _ => signing(lineage, &leaves, &Vec::from_iter(own), now),
    }
}

/// What the status says to the other nodes; nothing while there is one authority.
#[must_use]
pub fn told(node: &Validated, observed: &Observed, now: Timestamp) -> Option<AuthoritiesInUse> {
    (alive(&observed.network_authority, now).len() > 1).then_some(())?;
    let before = observed.node.status.as_ref().and_then(|status| status.network_authorities.as_ref());
    let leaves = leaves(node, observed, Authority::Network);
    let leaves: Vec<_> = leaves.into_values().collect();
    in_use(node, observed, Authority::Network, now).or_else(|| Some(in_either_case(before?, &leaves)))
}

/// What the node's parts hold, whether or not they have read what is in the Secrets now: of what was told before, as
/// much as that bears out. Nobody unlearns to trust the newest authority or goes back to an earlier one, so what came
/// in between is covered too. A renewal thus hides from nobody how far the node is, and where there was nothing
/// before there is nothing else to have been read.
fn in_either_case(before: &AuthoritiesInUse, leaves: &[&LeafFacts]) -> AuthoritiesInUse {
    let mut now = held_in(leaves);
    if !before.presented.is_empty() {
        now.trusted.retain(|one| before.trusted.contains(one));
        let presented: BTreeSet<_> = now.presented.iter().chain(&before.presented).cloned().collect();
        now.presented = presented.into_iter().collect();
    }
    now
}

/// What whoever has read these certificates trusts and presents.
fn held_in(leaves: &[&LeafFacts]) -> AuthoritiesInUse {
    let trusted = leaves.iter().map(|leaf| leaf.trusted.clone());
    let trusted = trusted.reduce(|one, other| &one & &other).unwrap_or_default();
    let presented: BTreeSet<_> = leaves.iter().map(|leaf| &leaf.authority).collect();
    AuthoritiesInUse {
        trusted: trusted.iter().map(ToString::to_string).collect(),
        presented: presented.into_iter().map(ToString::to_string).collect(),
    }
}

/// Whether one authority is following another.
#[must_use]
pub fn goes_on(node: &Validated, observed: &Observed, now: Timestamp) -> bool {
    several(observed, now)
        .into_iter()
        .any(|authority| leaves(node, observed, authority).values().any(|leaf| leaf.trusted.len() > 1))
}

/// Whether to look again soon: one authority is following another, or others wait to be told what the node's
/// parts hold.
#[must_use]
pub fn is_watched(node: &Validated, observed: &Observed, now: Timestamp) -> bool {
    let is_sure = |authority| in_use(node, observed, authority, now).is_some();
    goes_on(node, observed, now) || !several(observed, now).into_iter().all(is_sure)
}

/// Whose authorities there is more than one of.
fn several(observed: &Observed, now: Timestamp) -> Vec<Authority> {
    let is_several = |authority: &Authority| {
        lineage(observed, *authority).is_some_and(|lineage| alive(lineage, now).len() > 1)
    };
    [Authority::Network, Authority::Node].into_iter().filter(is_several).collect()
}

fn lineage(observed: &Observed, authority: Authority) -> Option<&Lineage> {
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

/// What the node's running parts hold. `None`: some hold what is in no Secret any more, or may not have read
/// what is.
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
        let holds = held::held(*part, &certificates);
        let pod = observed.pods.get(part);
        holds.is_empty()
            || pod.is_none_or(|pod| !pod.terminating && pod.certificates.as_ref() == Some(&holds))
    };
    let sure = leaves.values().all(|leaf| settled(leaf)) && Component::ALL.iter().all(loaded);
    sure.then(|| held_in(&leaves.into_values().collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
