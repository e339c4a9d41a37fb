use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        lookup::Found,
        network_member::NetworkMember,
        secrets::{generate, tls},
    },
    node::observed::{Generation, samples},
};
use samples::{hours, now};

static MADE: LazyLock<[AuthorityFacts; 2]> = LazyLock::new(|| {
    ["first", "second"].map(|name| {
        tls::read_authority(&generate::authority(name, now()).expect("an authority")).expect("readable")
    })
});

/// Two generations; the first expires in `ends` hours.
fn two(ends: i64, rotate: bool) -> CaGenerations {
    let [mut first, mut second] = MADE.clone();
    first.not_after = now() + hours(ends);
    second.not_before = now();
    second.not_after = now() + hours(24 * 3650);
    CaGenerations(vec![
        Generation { number: 1, authority: Found::Present(first), rotate },
        Generation { number: 2, authority: Found::Present(second), rotate: false },
    ])
}

fn one(ends: i64, rotate: bool) -> CaGenerations {
    let mut ca_generations = two(ends, rotate);
    ca_generations.0.truncate(1);
    ca_generations
}

/// A certificate signed by one generation, whose holder trusts these generations.
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

/// The signing generation, and the number of trusted ones.
fn signs(
    ca_generations: &CaGenerations,
    leaves: &[LeafFacts],
    holders: &[Option<AuthoritiesInUse>],
) -> (u32, usize) {
    let leaves: Vec<_> = leaves.iter().collect();
    let signing = signing(ca_generations, &leaves, holders, now()).expect("a CA signs");
    (signing.generation, signing.trusted.len())
}

#[test]
fn the_first_authority_is_due_where_there_is_none_and_the_next_a_year_before_its_end_or_when_asked_for() {
    assert_eq!(due(&CaGenerations::default(), now()), Some(1));
    assert_eq!(due(&one(24 * 365 + 1, false), now()), None);
    assert_eq!(due(&one(24 * 365, false), now()), Some(2));
    assert_eq!(due(&one(24 * 3000, true), now()), Some(2));
    assert_eq!(due(&two(24 * 365, true), now()), None, "it is there");
    assert_eq!(due(&one(-1, false), now()), Some(2), "it has ended");
}

#[test]
fn the_next_authority_signs_when_everyone_trusts_it() {
    let (ca_generations, old) = (two(24 * 200, true), [leaf(0, &[0, 1])]);
    assert_eq!(signs(&ca_generations, &old, &[holds(&[0], &[0, 1]), holds(&[0], &[0])]), (1, 2));
    assert_eq!(signs(&ca_generations, &old, &[holds(&[0], &[0, 1]), None]), (1, 2), "not known is no");
    assert_eq!(signs(&ca_generations, &old, &[holds(&[0], &[0, 1]), holds(&[0], &[0, 1])]), (2, 2));
}

#[test]
fn nobody_asked_so_scrapers_have_a_month_to_learn_of_it() {
    let (mut ca_generations, ready) = (two(24 * 300, false), [holds(&[0], &[0, 1])]);
    assert_eq!(signs(&ca_generations, &[leaf(0, &[0, 1])], &ready), (1, 2));
    if let Found::Present(second) = &mut ca_generations.0[1].authority {
        second.not_before = now() - hours(24 * 30);
    }
    assert_eq!(signs(&ca_generations, &[leaf(0, &[0, 1])], &ready), (2, 2));
}

#[test]
fn what_has_begun_goes_on_and_what_is_concluded_stays_so() {
    let ca_generations = two(24 * 200, true);
    assert_eq!(signs(&ca_generations, &[leaf(0, &[0, 1]), leaf(1, &[0, 1])], &[None]), (2, 2), "half signed");
    let all = [holds(&[1], &[0, 1]), holds(&[0], &[0, 1])];
    assert_eq!(signs(&ca_generations, &[leaf(1, &[0, 1])], &all), (2, 2), "another still presents the first");
    assert_eq!(signs(&ca_generations, &[leaf(1, &[0, 1])], &[holds(&[1], &[0, 1])]), (2, 1));
    assert_eq!(signs(&ca_generations, &[leaf(1, &[1])], &[None]), (2, 1), "concluded, whatever is known");
    assert_eq!(signs(&ca_generations, &[leaf(1, &[0, 1]), leaf(1, &[1])], &[None]), (2, 1), "half concluded");
}

#[test]
fn a_new_node_of_a_network_that_has_concluded_begins_with_the_next_one_alone() {
    assert_eq!(signs(&two(24 * 200, false), &[], &[holds(&[0], &[0, 1])]), (1, 2), "a month has not passed");
    for asked in [false, true] {
        assert_eq!(signs(&two(24 * 200, asked), &[], &[holds(&[1], &[1])]), (2, 1));
        assert_eq!(signs(&two(24 * 200, asked), &[], &[holds(&[1], &[1]), None]), (2, 2), "one does not say");
    }
    assert_eq!(
        signs(&two(24 * 200, true), &[], &[holds(&[0], &[0, 1]), None]),
        (1, 2),
        "no node presents the next CA yet"
    );
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
    assert_eq!(signing(&one(0, false), &[], &[], now()), None, "an expired CA does not sign");
}

/// A member and another node of its network, all of whose parts trust both CAs: the next CA is about to sign.
fn about_to_sign() -> Observed {
    let mut observed = samples::in_order(samples::member());
    for ca_generations in [&mut observed.network_authority, &mut observed.node_authority] {
        *ca_generations = two(24 * 200, true);
    }
    for read in observed.certificates.values_mut() {
        let leaf = leaf(0, &[0, 1]);
        let facts = read.as_mut().expect("a certificate");
        (facts.authority, facts.trusted) = (leaf.authority, leaf.trusted);
    }
    started_anew(&mut observed);
    observed.network_members = vec![network_member(holds(&[0], &[0, 1]))];
    observed
}

/// Restarts its pods, so that they have read the present Secrets.
fn started_anew(observed: &mut Observed) {
    let usable = |(purpose, read): (&Purpose, &Result<LeafFacts, _>)| Some((*purpose, read.clone().ok()?));
    let certificates = observed.certificates.iter().filter_map(usable).collect();
    for (part, pod) in &mut observed.pods {
        pod.certificates = Some(certificate_digest::held(*part, &certificates));
    }
}

/// Another node of the network, which has certificates and reports these CAs in use.
fn network_member(says: Option<AuthoritiesInUse>) -> NetworkMember {
    let network_member = samples::network_member("carol", Some(('c', "10.96.7.9")));
    NetworkMember { authorities: says, is_new: false, ..network_member }
}

/// The signing generations of the network's CA and of the node's CA.
fn signers(observed: &Observed) -> [u32; 2] {
    let node = crate::node::validate::validate(observed).expect("no fault");
    [Authority::Network, Authority::Node]
        .map(|authority| of(&node, observed, authority, now()).expect("a CA signs").generation)
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
        observed.network_members.push(network_member(says));
        signers(&observed)
    };
    assert_eq!(told(holds(&[0], &[0, 1])), [2, 2]);
    assert_eq!(told(holds(&[0], &[0])), [1, 2]);
    assert_eq!(told(None), [1, 2]);
    let mut observed = about_to_sign();
    observed.network_members.push(samples::network_member("dave", None));
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
    // the earlier report still holds, as far as the present Secrets confirm it
    let mut then = |before: Option<AuthoritiesInUse>| {
        samples::status(&mut observed).network_authorities = before;
        told(&observed).0
    };
    assert_eq!(then(holds(&[0], &[0, 1])), holds(&[0], &[0, 1]), "a renewal");
    assert_eq!(then(holds(&[0], &[0])), holds(&[0], &[0]), "some parts may not trust the next CA yet");
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
    assert_eq!(watched(&concluded), (false, true), "other nodes wait for its report");
    started_anew(&mut concluded);
    assert_eq!(watched(&concluded), (false, false));
}

/// A node of the model: the certificate in its Secret, the one that its parts have read, and its last report.
#[derive(Clone, Default)]
struct Node {
    secret: Option<LeafFacts>,
    read: Option<LeafFacts>,
    /// Minutes until its parts have read the Secret.
    until_read: u32,
    since_made: u32,
    said: Option<AuthoritiesInUse>,
}

impl Node {
    fn new(leaf: LeafFacts) -> Self {
        Self { read: Some(leaf.clone()), secret: Some(leaf), since_made: 1000, ..Self::default() }
    }

    fn look(&mut self, ca_generations: &CaGenerations, others: &[Option<AuthoritiesInUse>], delay: u32) {
        let known = self.secret.is_none() || self.until_read == 0 && self.since_made >= 3;
        let leaves: Vec<_> = self.secret.iter().collect();
        let sure = known.then(|| held_in(&leaves));
        self.said = sure.clone().or_else(|| Some(before_or_after_reload(self.said.as_ref()?, &leaves)));
        let own = self.secret.is_some().then_some(sure);
        let holders: Vec<_> = own.into_iter().chain(others.iter().cloned()).collect();
        let signing = signing(ca_generations, &leaves, &holders, now()).expect("a CA signs");
        let trusted = signing.trusted.iter().map(|one| one.fingerprint.clone()).collect();
        let differs =
            |leaf: &LeafFacts| (&leaf.authority, &leaf.trusted) != (&signing.by.fingerprint, &trusted);
        if self.secret.as_ref().is_none_or(differs) {
            self.secret = Some(LeafFacts { authority: signing.by.fingerprint, trusted, ..leaf(0, &[0]) });
            (self.until_read, self.since_made) = (delay, 0);
        }
    }

    /// Renews the certificate, because it is due or a user asked for it.
    fn renew(&mut self, delay: u32) {
        if self.secret.is_some() {
            (self.until_read, self.since_made) = (delay, 0);
        }
    }

    /// Advances by one minute. For up to three minutes a part may use either certificate.
    fn wait(&mut self) {
        self.since_made += 1;
        self.until_read = self.until_read.saturating_sub(1);
        if self.until_read == 0 {
            self.read = self.secret.clone();
        }
    }
}

/// Three existing nodes, and two that join at the given steps.
struct Network {
    nodes: Vec<Node>,
    joins: [usize; 2],
    heard: Vec<Option<AuthoritiesInUse>>,
}

impl Network {
    fn is_there(&self, who: usize, step: usize) -> bool {
        who < 3 || self.joins[who - 3] <= step
    }

    /// The reports of the other nodes with certificates, as one node knows them: possibly stale for existing nodes,
    /// current for joining ones. A joining node has just read all reports.
    fn others(&self, who: usize) -> Vec<Option<AuthoritiesInUse>> {
        let joins = self.nodes[who].secret.is_none();
        let others = (0..5).filter(|other| *other != who && self.nodes[*other].secret.is_some());
        let said =
            |other: usize| if joins || other > 2 { &self.nodes[other].said } else { &self.heard[other] };
        others.map(|other| said(other).clone()).collect()
    }

    fn step(
        &mut self,
        step: usize,
        ca_generations: &CaGenerations,
        (who, delay, news, renews): (usize, u32, bool, bool),
    ) {
        if renews {
            self.nodes.iter_mut().for_each(|node| node.renew(delay));
        }
        if news {
            self.heard = self.nodes.iter().map(|node| node.said.clone()).collect();
        }
        if self.is_there(who, step) {
            let others = self.others(who);
            self.nodes[who].look(ca_generations, &others, delay);
        }
        self.nodes.iter_mut().for_each(Node::wait);
    }

    /// A pair of nodes where the first rejects the certificate that the second presents.
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
    /// Nodes reconcile in any order with stale reports of each other, and take any time to reload Secrets. Meanwhile
    /// nodes join, and at times all certificates are renewed.
    #[test]
    fn at_no_time_is_refused_what_anyone_presents_and_in_the_end_the_first_is_gone(
        steps in prop::collection::vec((0..5_usize, 0..40_u32, any::<bool>(), prop::bool::weighted(0.1)), 100..300),
        joins in (0..800_usize, 0..8_usize),
    ) {
        let ca_generations = two(24 * 200, true);
        let mut nodes = vec![Node::new(leaf(0, &[0])); 3];
        nodes.resize(5, Node::default());
        let mut network = Network { nodes, joins: [joins.0, joins.0 + joins.1], heard: vec![None; 5] };
        let calm = (0..1000).map(|step| (step % 5, 1, true, step % 23 == 0 && step < 900));
        for (at, step) in steps.into_iter().chain(calm).enumerate() {
            network.step(at, &ca_generations, step);
            prop_assert_eq!(network.refusal(), None, "a node rejects another one at step {}", at);
        }
        let second = &MADE[1].fingerprint;
        for node in &network.nodes {
            let read = node.read.as_ref().expect("a certificate");
            prop_assert!(read.authority == *second && read.trusted == [second.clone()].into());
        }
    }
}
