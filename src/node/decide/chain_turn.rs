//! Blocks voluntary pod replacements that could stall the chain.

use super::chain_message::told;
use crate::{
    api::node::Role,
    model::{
        chain::{ChainProgress, ClientProgress},
        names::Component,
    },
    node::{
        decide::rollout::plan::{Named, Wait},
        observed::{Neighbour, Observed},
        validate::Validated,
    },
};

/// What the replacement of a serving pod waits for: a stalled chain, or another validator whose new pod has not caught
/// up.
#[must_use]
pub fn holds_back(observed: &Observed, node: &Validated, part: Component) -> Option<Wait> {
    let view = observed.chain.as_ref()?;
    if !view.probed || told(observed).status == "False" {
        return Some(Wait::Chain);
    }
    let is_validator = part == Component::Client && node.spec.role == Role::Validator;
    let is_seen = view.assessment.course != ChainProgress::Unobserved;
    let own = view.assessment.clients.get(&node.names.node).map(|(_, standing)| *standing);
    let may_be_one = |other: &&Neighbour| other.role.is_none_or(|role| role == Role::Validator);
    let is_catching_up = |other: &&Neighbour| {
        // the rollout limits count a client that does not serve
        let Some(pod) = other.pod.as_ref().filter(|pod| pod.ready && !pod.terminating) else { return false };
        let known = view.assessment.clients.get(&other.name).filter(|(uid, _)| *uid == pod.uid);
        let standing = known.map_or(ClientProgress::Pending, |(_, standing)| *standing);
        matches!(standing, ClientProgress::Pending | ClientProgress::Behind | ClientProgress::MissingPeers)
    };
    // the chain does not need a client that is behind
    if !is_validator || !is_seen || own == Some(ClientProgress::Behind) {
        return None;
    }
    let other = observed.neighbours.iter().filter(may_be_one).find(is_catching_up)?;
    Some(Wait::CatchesUp(Named { node: other.name.clone(), component: Component::Client }))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{Condition, Time},
        jiff::Timestamp,
    };
    use serde_json::json;

    use super::*;
    use crate::{
        model::chain::{ChainAssessment, View},
        node::{
            decide::chain_message::ADVANCING,
            observed::{
                Pod,
                samples::{in_order, member, status},
            },
            validate::validate,
        },
    };

    /// A validator and three others, all of them observed.
    fn seen() -> Observed {
        let mut node = member();
        node["spec"]["role"] = json!("Validator");
        let mut observed = in_order(node);
        observed.neighbours = ["a", "c", "d"]
            .map(|name| Neighbour {
                name: name.into(),
                role: Some(Role::Validator),
                pod: Some(Pod { uid: format!("uid-{name}"), ready: true, ..Pod::default() }),
            })
            .to_vec();
        let clients =
            ["a", "c", "d"].map(|name| (name.into(), (format!("uid-{name}"), ClientProgress::CaughtUp)));
        let assessment = ChainAssessment { course: ChainProgress::Advancing, clients: clients.into() };
        observed.chain = Some(View { probed: true, assessment, head: 46 });
        observed
    }

    fn held(change: impl FnOnce(&mut Observed, &mut View)) -> Vec<Component> {
        let mut observed = seen();
        let mut view = observed.chain.take().expect("it was seen");
        change(&mut observed, &mut view);
        observed.chain.get_or_insert(view);
        let node = validate(&observed).expect("no fault");
        Component::ALL.into_iter().filter(|part| holds_back(&observed, &node, *part).is_some()).collect()
    }

    fn stands(head: u64) -> ChainProgress {
        ChainProgress::Stalled { block: head, since: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_chain_that_advances_and_one_that_nobody_looks_at_hold_nothing_back() {
        assert_eq!(held(|_, _| {}), []);
        let mut observed = seen();
        observed.chain = None;
        let node = validate(&observed).expect("no fault");
        assert_eq!(holds_back(&observed, &node, Component::Client), None);
        assert_eq!(held(|_, view| view.assessment = ChainAssessment::default()), [], "no client reports");
    }

    #[test]
    fn nothing_is_replaced_by_choice_while_the_chain_stands_or_nobody_was_asked_yet() {
        assert_eq!(held(|_, view| view.assessment.course = stands(46)), Component::ALL);
        assert_eq!(held(|_, view| view.probed = false), Component::ALL);
        let stood = |observed: &mut Observed, view: &mut View| {
            let condition = Condition {
                type_: ADVANCING.into(),
                status: "False".into(),
                reason: "HeadStalled".into(),
                message: String::new(),
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
                observed_generation: None,
            };
            status(observed).conditions.push(condition);
            view.assessment.course = ChainProgress::Unknown;
        };
        assert_eq!(held(stood), Component::ALL, "it stood, and was not seen to move since");
        assert_eq!(held(|_, view| view.assessment.course = ChainProgress::AtGenesis), []);
    }

    #[test]
    fn a_validator_waits_until_another_one_has_caught_up_and_has_its_peers() {
        for (standing, waits) in [
            (ClientProgress::Behind, true),
            (ClientProgress::MissingPeers, true),
            (ClientProgress::Pending, true),
            (ClientProgress::Unobserved, false),
            (ClientProgress::CaughtUp, false),
        ] {
            let another = |_: &mut Observed, view: &mut View| {
                view.assessment.clients.insert("c".into(), ("uid-c".into(), standing));
            };
            let parts = if waits { vec![Component::Client] } else { vec![] };
            assert_eq!(held(another), parts, "{standing:?}");
            let member = |observed: &mut Observed, view: &mut View| {
                another(observed, view);
                observed.neighbours[1].role = Some(Role::Member);
            };
            assert_eq!(held(member), [], "a member carries no quorum");
        }
        let itself = |_: &mut Observed, view: &mut View| {
            view.assessment.clients.insert("bob".into(), ("uid".into(), ClientProgress::Behind));
        };
        assert_eq!(held(itself), [], "it does not wait for itself");
    }

    #[test]
    fn two_that_are_behind_do_not_wait_for_each_other() {
        let both = |_: &mut Observed, view: &mut View| {
            view.assessment.clients.insert("bob".into(), ("uid".into(), ClientProgress::Behind));
            view.assessment.clients.insert("c".into(), ("uid-c".into(), ClientProgress::Behind));
        };
        assert_eq!(held(both), []);
    }

    #[test]
    fn one_that_does_not_serve_is_counted_elsewhere() {
        for change in [(|pod: &mut Pod| pod.ready = false) as fn(&mut Pod), |pod| pod.terminating = true] {
            let away = |observed: &mut Observed, view: &mut View| {
                change(observed.neighbours[1].pod.as_mut().expect("a pod"));
                view.assessment.clients.remove("c");
            };
            assert_eq!(held(away), []);
        }
    }

    #[test]
    fn the_figures_of_a_pod_that_is_new_are_awaited_and_not_those_of_the_one_before_it() {
        let replaced = |observed: &mut Observed, _: &mut View| {
            observed.neighbours[1].pod.as_mut().expect("a pod").uid = "uid-new".into();
        };
        assert_eq!(held(replaced), [Component::Client]);
        let unknown = |_: &mut Observed, view: &mut View| drop(view.assessment.clients.remove("c"));
        assert_eq!(held(unknown), [Component::Client]);
    }

    #[test]
    fn a_member_waits_for_nobody_but_the_chain() {
        let member = |change: fn(&mut View)| {
            held(|observed, view| {
                let node = std::sync::Arc::make_mut(&mut observed.node);
                node.spec.role = Role::Member;
                change(view);
            })
        };
        let behind = |view: &mut View| {
            drop(view.assessment.clients.insert("c".into(), ("uid-c".into(), ClientProgress::Behind)))
        };
        assert_eq!(member(behind), []);
        assert_eq!(member(|view| view.assessment.course = stands(46)), Component::ALL);
    }
}
