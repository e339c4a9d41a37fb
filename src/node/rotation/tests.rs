use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::node::{
    observed::{Found, Generation, samples},
    secrets::{mint, tls},
    sibling::Sibling,
};
use samples::{hours, now};

static MADE: LazyLock<[AuthorityFacts; 2]> = LazyLock::new(|| {
    ["first", "second"].map(|name| {
        tls::read_authority(&mint::authority(name, now()).expect("an authority")).expect("readable")
    })
});

/// Two generations; the first ends in so many hours.
fn two(ends: i64, rotate: bool) -> Lineage {
    let [mut first, mut second] = MADE.clone();
    first.not_after = now() + hours(ends);
    second.not_before = now();
    second.not_after = now() + hours(24 * 3650);
    Lineage(vec![
        Generation { number: 1, authority: Found::Is(first), rotate },
        Generation { number: 2, authority: Found::Is(second), rotate: false },
    ])
}

fn one(ends: i64, rotate: bool) -> Lineage {
    let mut lineage = two(ends, rotate);
    lineage.0.truncate(1);
    lineage
}

/// A certificate of one generation, whose holder trusts some.
fn leaf(signer: usize, trusted: &[usize]) -> LeafFacts {
    let observed = samples::in_order(samples::smallest());
    let sample = observed.certificates[&Purpose::Metrics].as_ref().expect("a certificate").clone();
    LeafFacts {
        authority: MADE[signer].fingerprint.clone(),
        trusted: trusted.iter().map(|one| MADE[*one].fingerprint.clone()).collect(),
        ..sample
    }
}

fn holds(presented: &[usize], trusted: &[usize]) -> Option<AuthoritiesInUse> {
    let listed = |of: &[usize]| {
        of.iter().map(|one| MADE[*one].fingerprint.to_string()).collect::<BTreeSet<_>>().into_iter().collect()
    };
    Some(AuthoritiesInUse { presented: listed(presented), trusted: listed(trusted) })
}

/// Which generation signs, and how many are trusted.
fn signs(lineage: &Lineage, leaves: &[LeafFacts], holders: &[Option<AuthoritiesInUse>]) -> (u32, usize) {
    let leaves: Vec<_> = leaves.iter().collect();
    let signing = signing(lineage, &leaves, holders, now()).expect("somebody signs");
    (signing.generation, signing.trusted.len())
}

#[test]
fn the_first_authority_is_due_where_there_is_none_and_the_next_a_year_before_its_end_or_when_asked_for() {
    assert_eq!(due(&Lineage::default(), now()), Some(1));
    assert_eq!(due(&one(24 * 365 + 1, false), now()), None);
    assert_eq!(due(&one(24 * 365, false), now()), Some(2));
    assert_eq!(due(&one(24 * 3000, true), now()), Some(2));
    assert_eq!(due(&two(24 * 365, true), now()), None, "it is there");
    assert_eq!(due(&one(-1, false), now()), Some(2), "it has ended");
}

#[test]
fn the_next_authority_signs_when_everyone_trusts_it() {
    let (lineage, old) = (two(24 * 200, true), [leaf(0, &[0, 1])]);
    assert_eq!(signs(&lineage, &old, &[holds(&[0], &[0, 1]), holds(&[0], &[0])]), (1, 2));
    assert_eq!(signs(&lineage, &old, &[holds(&[0], &[0, 1]), None]), (1, 2), "not known is no");
    assert_eq!(signs(&lineage, &old, &[holds(&[0], &[0, 1]), holds(&[0], &[0, 1])]), (2, 2));
}

#[test]
fn nobody_asked_so_scrapers_have_a_month_to_learn_of_it() {
    let (mut lineage, ready) = (two(24 * 300, false), [holds(&[0], &[0, 1])]);
    assert_eq!(signs(&lineage, &[leaf(0, &[0, 1])], &ready), (1, 2));
    if let Found::Is(second) = &mut lineage.0[1].authority {
        second.not_before = now() - hours(24 * 30);
    }
    assert_eq!(signs(&lineage, &[leaf(0, &[0, 1])], &ready), (2, 2));
}

#[test]
fn what_has_begun_goes_on_and_what_is_concluded_stays_so() {
    let lineage = two(24 * 200, true);
    assert_eq!(signs(&lineage, &[leaf(0, &[0, 1]), leaf(1, &[0, 1])], &[None]), (2, 2), "half signed");
    let all = [holds(&[1], &[0, 1]), holds(&[0], &[0, 1])];
    assert_eq!(signs(&lineage, &[leaf(1, &[0, 1])], &all), (2, 2), "another still presents the first");
    assert_eq!(signs(&lineage, &[leaf(1, &[0, 1])], &[holds(&[1], &[0, 1])]), (2, 1));
    assert_eq!(signs(&lineage, &[leaf(1, &[1])], &[None]), (2, 1), "concluded, whatever is known");
    assert_eq!(signs(&lineage, &[leaf(1, &[0, 1]), leaf(1, &[1])], &[None]), (2, 1), "half concluded");
}

#[test]
fn a_new_node_of_a_network_that_has_concluded_begins_with_the_next_one_alone() {
    assert_eq!(signs(&two(24 * 200, false), &[], &[holds(&[0], &[0, 1])]), (1, 2), "a month has not passed");
    for asked in [false, true] {
        assert_eq!(signs(&two(24 * 200, asked), &[], &[holds(&[1], &[1])]), (2, 1));
        assert_eq!(signs(&two(24 * 200, asked), &[], &[holds(&[1], &[1]), None]), (2, 2), "one does not say");
    }
    assert_eq!(signs(&two(24 * 200, true), &[], &[holds(&[0], &[0, 1]), None]), (1, 2), "nobody has begun");
    let old = [leaf(0, &[0, 1])];
    assert_eq!(
        signs(&two(24 * 200, true), &old, &[holds(&[1], &[1]), None]),
        (1, 2),
        "it has not just joined"
    );
}

#[test]
fn an_authority_near_its_end_or_past_it_signs_no_more_whoever_is_not_ready() {
    assert_eq!(signs(&two(24 * 30, false), &[leaf(0, &[0])], &[None]), (2, 2));
    assert_eq!(signs(&two(0, false), &[leaf(0, &[0])], &[None]), (2, 1));
    assert_eq!(signing(&one(0, false), &[], &[], now()), None, "nobody signs with what has ended");
}

/// A member and its sibling, in whose network and parts everybody trusts both: the next one is to sign.
fn about_to_sign() -> Observed {
    let mut observed = samples::in_order(samples::member());
    for lineage in [&mut observed.network_authority, &mut observed.node_authority] {
        *lineage = two(24 * 200, true);
    }
    for read in observed.certificates.values_mut() {
        let leaf = leaf(0, &[0, 1]);
        let facts = read.as_mut().expect("a certificate");
        (facts.authority, facts.trusted) = (leaf.authority, leaf.trusted);
    }
    started_anew(&mut observed);
    observed.siblings = vec![sibling(holds(&[0], &[0, 1]))];
    observed
}

/// Its pods have read what is in the Secrets.
fn started_anew(observed: &mut Observed) {
    let usable = |(purpose, read): (&Purpose, &Result<LeafFacts, _>)| Some((*purpose, read.clone().ok()?));
    let certificates = observed.certificates.iter().filter_map(usable).collect();
    for (part, pod) in &mut observed.pods {
        pod.certificates = Some(held::held(*part, &certificates));
    }
}

/// A node of the network that has certificates, and says what it holds.
fn sibling(says: Option<AuthoritiesInUse>) -> Sibling {
    let sibling = samples::sibling("carol", Some(('c', "10.96.7.9")));
    Sibling { authorities: says, is_new: false, ..sibling }
}

/// Who signs for the network, and who for the node's own parts.
fn signers(observed: &Observed) -> [u32; 2] {
    let node = crate::node::validate::validate(observed).expect("no fault");
    [Authority::Network, Authority::Node]
        .map(|authority| of(&node, observed, authority, now()).expect("somebody signs").generation)
}

#[test]
fn what_a_pod_has_not_read_is_not_trusted_yet() {
    assert_eq!(signers(&about_to_sign()), [2, 2]);
    for part in Component::ALL {
        let mut observed = about_to_sign();
        samples::pod(&mut observed, part).certificates = Some("before".into());
        assert_eq!(signers(&observed), [1, 1], "{part:?}");
        samples::pod(&mut observed, part).certificates = None;
        assert_eq!(signers(&observed), [1, 1], "{part:?}");
        started_anew(&mut observed);
        samples::pod(&mut observed, part).terminating = true;
        assert_eq!(signers(&observed), [1, 1], "{part:?} still runs with what it had");
        observed.pods.remove(&part);
        assert_eq!(signers(&observed), [2, 2], "{part:?} will read what is there");
    }
}

#[test]
fn what_was_made_a_moment_ago_has_not_been_read_everywhere() {
    let made = |ago: SignedDuration| {
        let mut observed = about_to_sign();
        let metrics =
            observed.certificates.get_mut(&Purpose::Metrics).expect("one").as_mut().expect("readable");
        metrics.not_before = now() - EARLIER - ago;
        signers(&observed)
    };
    assert_eq!(made(SETTLE - SignedDuration::from_secs(1)), [1, 2], "it is the network's");
    assert_eq!(made(SETTLE), [2, 2]);
}

#[test]
fn a_sibling_that_does_not_trust_the_next_one_or_does_not_say_keeps_the_network_from_it() {
    let told = |says| {
        let mut observed = about_to_sign();
        observed.siblings.push(sibling(says));
        signers(&observed)
    };
    assert_eq!(told(holds(&[0], &[0, 1])), [2, 2]);
    assert_eq!(told(holds(&[0], &[0])), [1, 2]);
    assert_eq!(told(None), [1, 2]);
    let mut observed = about_to_sign();
    observed.siblings.push(samples::sibling("dave", None));
    assert_eq!(signers(&observed), [2, 2], "one without a certificate presents none");
}

#[test]
fn a_node_says_what_it_holds_while_there_are_two_and_when_that_is_sure() {
    let told = |observed: &Observed| {
        let node = crate::node::validate::validate(observed).expect("no fault");
        (super::told(&node, observed, now()), goes_on(&node, observed, now()))
    };
    let mut calm = samples::in_order(samples::member());
    started_anew(&mut calm);
    assert_eq!(told(&calm), (None, false));
    let mut observed = about_to_sign();
    assert_eq!(told(&observed), (holds(&[0], &[0, 1]), true));
    samples::pod(&mut observed, Component::TransactionManager).certificates = None;
    assert_eq!(told(&observed), (None, true));
    // what it said before still holds, as far as what is there now bears it out
    let mut then = |before: Option<AuthoritiesInUse>| {
        samples::status(&mut observed).network_authorities = before;
        told(&observed).0
    };
    assert_eq!(then(holds(&[0], &[0, 1])), holds(&[0], &[0, 1]), "a renewal");
    assert_eq!(then(holds(&[0], &[0])), holds(&[0], &[0]), "some may not have read whom else to trust");
    assert_eq!(then(holds(&[1], &[1])), holds(&[0, 1], &[1]), "a Secret from a backup");
    assert_eq!(then(holds(&[], &[])), holds(&[0], &[0, 1]), "there was nothing else to be read");
}

#[test]
fn a_node_is_looked_at_until_it_is_sure_what_its_parts_hold() {
    let watched = |observed: &Observed| {
        let node = crate::node::validate::validate(observed).expect("no fault");
        (goes_on(&node, observed, now()), is_watched(&node, observed, now()))
    };
    assert_eq!(watched(&about_to_sign()), (true, true));
    let mut concluded = about_to_sign();
    for read in concluded.certificates.values_mut() {
        let facts = read.as_mut().expect("a certificate");
        (facts.authority, facts.trusted) = (leaf(1, &[1]).authority, leaf(1, &[1]).trusted);
    }
    assert_eq!(watched(&concluded), (false, true), "others wait to be told");
    started_anew(&mut concluded);
    assert_eq!(watched(&concluded), (false, false));
}

/// A node of the model: what is in its Secret, what its parts have read, and what it last said.
#[derive(Clone, Default)]
struct Node {
    secret: Option<LeafFacts>,
    read: Option<LeafFacts>,
    /// Minutes until its parts have read what is in the Secret.
    until_read: u32,
    since_made: u32,
    said: Option<AuthoritiesInUse>,
}

impl Node {
    fn new(leaf: LeafFacts) -> Self {
        Self { read: Some(leaf.clone()), secret: Some(leaf), since_made: 1000, ..Self::default() }
    }

    fn look(&mut self, lineage: &Lineage, others: &[Option<AuthoritiesInUse>], delay: u32) {
        let known = self.secret.is_none() || self.until_read == 0 && self.since_made >= 3;
        let leaves: Vec<_> = self.secret.iter().collect();
        let sure = known.then(|| held_in(&leaves));
        self.said = sure.clone().or_else(|| Some(in_either_case(self.said.as_ref()?, &leaves)));
        let own = self.secret.is_some().then_some(sure);
        let holders: Vec<_> = own.into_iter().chain(others.iter().cloned()).collect();
        let signing = signing(lineage, &leaves, &holders, now()).expect("somebody signs");
        let trusted = signing.trusted.iter().map(|one| one.fingerprint.clone()).collect();
        let differs =
            |leaf: &LeafFacts| (&leaf.authority, &leaf.trusted) != (&signing.by.fingerprint, &trusted);
        if self.secret.as_ref().is_none_or(differs) {
            self.secret = Some(LeafFacts { authority: signing.by.fingerprint, trusted, ..leaf(0, &[0]) });
            (self.until_read, self.since_made) = (delay, 0);
        }
    }

    /// Another certificate, whose time had come or that was asked for.
    fn renew(&mut self, delay: u32) {
        if self.secret.is_some() {
            (self.until_read, self.since_made) = (delay, 0);
        }
    }

    /// Up to the third minute a part may have read either.
    fn wait(&mut self) {
        self.since_made += 1;
        self.until_read = self.until_read.saturating_sub(1);
        if self.until_read == 0 {
            self.read = self.secret.clone();
        }
    }
}

/// Three nodes that were there before, and two that join, by the time at which they do.
struct Network {
    nodes: Vec<Node>,
    joins: [usize; 2],
    heard: Vec<Option<AuthoritiesInUse>>,
}

impl Network {
    fn is_there(&self, who: usize, step: usize) -> bool {
        who < 3 || self.joins[who - 3] <= step
    }

    /// What a node knows of the others that have certificates: old news, but of those that join. Whoever joins
    /// has just read what all of them say.
    fn others(&self, who: usize) -> Vec<Option<AuthoritiesInUse>> {
        let joins = self.nodes[who].secret.is_none();
        let others = (0..5).filter(|other| *other != who && self.nodes[*other].secret.is_some());
        let said =
            |other: usize| if joins || other > 2 { &self.nodes[other].said } else { &self.heard[other] };
        others.map(|other| said(other).clone()).collect()
    }

    fn step(&mut self, step: usize, lineage: &Lineage, (who, delay, news, renews): (usize, u32, bool, bool)) {
        if renews {
            self.nodes.iter_mut().for_each(|node| node.renew(delay));
        }
        if news {
            self.heard = self.nodes.iter().map(|node| node.said.clone()).collect();
        }
        if self.is_there(who, step) {
            let others = self.others(who);
            self.nodes[who].look(lineage, &others, delay);
        }
        self.nodes.iter_mut().for_each(Node::wait);
    }

    /// Whoever refuses what another one presents.
    fn refusal(&self) -> Option<(usize, usize)> {
        let read = |who: usize| self.nodes[who].read.as_ref();
        let refuses = |(one, other): &(usize, usize)| {
            let pair = read(*one).zip(read(*other));
            pair.is_some_and(|(one, other)| !one.trusted.contains(&other.authority))
        };
        (0..5).flat_map(|one| (0..5).map(move |other| (one, other))).find(refuses)
    }
}

proptest! {
    /// Nodes look in any order, with old news of each other, and take any time to read what is new. Meanwhile
    /// nodes join, and at times all certificates are renewed.
    #[test]
    fn at_no_time_is_refused_what_anyone_presents_and_in_the_end_the_first_is_gone(
        steps in prop::collection::vec((0..5_usize, 0..40_u32, any::<bool>(), prop::bool::weighted(0.1)), 100..300),
        joins in (0..800_usize, 0..8_usize),
    ) {
        let lineage = two(24 * 200, true);
        let mut nodes = vec![Node::new(leaf(0, &[0])); 3];
        nodes.resize(5, Node::default());
        let mut network = Network { nodes, joins: [joins.0, joins.0 + joins.1], heard: vec![None; 5] };
        let calm = (0..1000).map(|step| (step % 5, 1, true, step % 23 == 0 && step < 900));
        for (at, step) in steps.into_iter().chain(calm).enumerate() {
            network.step(at, &lineage, step);
            prop_assert_eq!(network.refusal(), None, "at {}: who refuses whom", at);
        }
        let second = &MADE[1].fingerprint;
        for node in &network.nodes {
            let read = node.read.as_ref().expect("a certificate");
            prop_assert!(read.authority == *second && read.trusted == [second.clone()].into());
        }
    }
}
