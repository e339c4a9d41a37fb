//! How many validators the chain of a network has, and which of them ran here and do not any more. Pure.

use std::collections::BTreeSet;

use super::{genesis::Schedule, identity, observed::Observed, sibling::Sibling};
use crate::api::{QuorumNode, node::Role};

/// So many addresses are remembered at most.
const REMEMBERED: usize = 1000;

/// The validators of a network's chain, as far as a spec or the genesis says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voters {
    /// How many there are: as many as are listed, or fewer where a number says so; `None` where nobody says.
    pub count: Option<i32>,
    /// Addresses of those that run here or did, each 0x and 40 lower-case hexadecimal digits. The network's disruption budget
    /// remembers them, since a node that is gone says nothing.
    pub seen: BTreeSet<String>,
    /// Those of them that no node here has now. Until they are voted out the chain waits for their votes.
    pub missing: BTreeSet<String>,
}

/// What follows from the specs of all nodes of the network, from the genesis and from who ran here before. Every node of the
/// network comes to the same.
#[must_use]
pub fn voters(observed: &Observed, schedule: &Schedule) -> Voters {
    let head = observed.chain.as_ref().map_or(0, |view| view.head);
    let Some((count, listed)) = stated(observed).or_else(|| schedule.listed(head)) else {
        return Voters { count: said(observed), ..Voters::default() };
    };
    let count = i32::try_from(count).ok();
    let here: BTreeSet<_> = here(observed).filter(|address| listed.contains(address)).collect();
    let remembered = observed.absent.voters.iter().cloned();
    // somebody who is on no list now may be on the next one again: a typing error is taken back
    let seen: BTreeSet<_> = here.iter().cloned().chain(remembered).take(REMEMBERED).collect();
    let missing = seen.difference(&here).filter(|address| listed.contains(*address)).cloned().collect();
    // a number alone adds nobody to a list
    Voters { count: said(observed).into_iter().chain(count).min(), seen, missing }
}

/// The addresses that the spec of this node or of another one of the network lists. Where two lists differ, who is on either
/// counts, and as many as are on the shorter one.
fn stated(observed: &Observed) -> Option<(usize, BTreeSet<String>)> {
    let lists = observed.siblings.iter().map(|sibling| &sibling.validator_addresses);
    let lists = lists.chain([&observed.node.spec.consensus.validator_addresses]);
    let lists: Vec<BTreeSet<_>> = lists
        .filter(|list| !list.is_empty())
        .map(|list| list.iter().map(|address| address.to_ascii_lowercase()).collect())
        .collect();
    let shortest = lists.iter().map(BTreeSet::len).min()?;
    Some((shortest, lists.into_iter().flatten().collect()))
}

/// The greatest number that a spec of the network states.
fn said(observed: &Observed) -> Option<i32> {
    let others = observed.siblings.iter().chain(&observed.absent.ending).map(|sibling| sibling.validators);
    others.chain([observed.node.spec.consensus.validators]).flatten().max()
}

/// Addresses of validators that are nodes here, those that are being deleted included.
fn here(observed: &Observed) -> impl Iterator<Item = String> {
    let others = observed.siblings.iter().chain(&observed.absent.ending);
    let others =
        others.filter(|other| other.is_validator()).filter_map(|other: &Sibling| other.address.clone());
    let QuorumNode { spec, status, .. } = &*observed.node;
    let status = status.as_ref().filter(|status| spec.role == Role::Validator && !identity::is_held(status));
    let own = status.and_then(|status| status.identity.as_ref()).map(|identity| identity.address.clone());
    others.chain(own).map(|address| address.to_ascii_lowercase())
}

/// Reads what the disruption budget remembers; what is no address of an account is left out.
#[must_use]
pub fn read(text: &str) -> BTreeSet<String> {
    let is_address = |text: &&str| {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40);
        digits.is_some_and(|digits| digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    text.split(',').filter(is_address).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        cluster::guard::Guard,
        node::{
            genesis::read_genesis,
            observed::samples::{identity, in_order, smallest},
        },
    };

    /// Of a validator `alice`, whose key is that of the letter.
    fn alice(letter: char) -> Observed {
        let mut node = smallest();
        node["spec"]["role"] = json!("Validator");
        let mut observed = in_order(node);
        let status = Arc::make_mut(&mut observed.node).status.get_or_insert_default();
        status.identity = Some(serde_json::from_value(json!({
            "publicKey": identity(letter).public_key, "address": identity(letter).address, "secretName": "s",
        })).expect("an identity"));
        observed
    }

    fn other(name: &str, address: &str, consensus: serde_json::Value) -> Sibling {
        let mut node = smallest();
        node["metadata"]["name"] = json!(name);
        node["spec"]["role"] = json!("Validator");
        node["spec"]["consensus"]
            .as_object_mut()
            .expect("a part")
            .extend(consensus.as_object().cloned().unwrap_or_default());
        node["status"] = json!({"identity": {"publicKey": "ab", "address": address, "secretName": "s"}});
        Sibling::from(&Guard(Ok(serde_json::from_value(node).expect("a node"))))
    }

    fn address(digit: u8) -> String {
        format!("0x{}", format!("{digit:02x}").repeat(20))
    }

    fn set(digits: &[u8]) -> BTreeSet<String> {
        digits.iter().map(|digit| address(*digit)).collect()
    }

    fn state(observed: &mut Observed, list: &[u8]) {
        let spec = &mut Arc::make_mut(&mut observed.node).spec;
        spec.consensus.validator_addresses = set(list).into_iter().collect();
    }

    #[test]
    fn who_is_on_no_list_does_not_count() {
        let mut observed = alice('a');
        observed.siblings =
            (1..7).map(|digit| other(&format!("v{digit}"), &address(digit), json!({}))).collect();
        state(&mut observed, &[1, 2, 3, 4]);
        let counted = voters(&observed, &Schedule::default());
        assert_eq!(counted, Voters { count: Some(4), seen: set(&[1, 2, 3, 4]), missing: set(&[]) });
    }

    #[test]
    fn who_was_here_is_missing_until_it_is_back_or_on_no_list() {
        let mut observed = alice('a');
        state(&mut observed, &[1, 2, 3]);
        observed.absent.voters = set(&[1, 2, 9]);
        let missing = |observed: &Observed| voters(observed, &Schedule::default()).missing;
        assert_eq!(missing(&observed), set(&[1, 2]), "9 was voted out, and 3 has never run here");
        observed.siblings = vec![other("v1", &address(1).to_uppercase().replace("0X", "0x"), json!({}))];
        assert_eq!(missing(&observed), set(&[2]));
        observed.absent.ending = vec![other("v2", &address(2), json!({}))];
        assert_eq!(missing(&observed), set(&[]), "it is there as long as it is being deleted");
        observed.absent.ending.clear();
        state(&mut observed, &[1, 3]);
        assert_eq!(missing(&observed), set(&[]));
        // whoever was left out by mistake is on the list again
        observed.absent.voters = voters(&observed, &Schedule::default()).seen;
        state(&mut observed, &[1, 2, 3]);
        assert_eq!(missing(&observed), set(&[2]));
    }

    #[test]
    fn the_node_itself_counts_while_it_is_a_validator() {
        let mut observed = alice('b');
        let own = identity('b').address;
        Arc::make_mut(&mut observed.node).spec.consensus.validator_addresses = vec![own.clone()];
        assert_eq!(voters(&observed, &Schedule::default()).seen, BTreeSet::from([own.clone()]));
        Arc::make_mut(&mut observed.node).spec.role = Role::Member;
        assert_eq!(voters(&observed, &Schedule::default()).seen, BTreeSet::new());
        observed.absent.voters = BTreeSet::from([own.clone()]);
        assert_eq!(
            voters(&observed, &Schedule::default()).missing,
            BTreeSet::from([own]),
            "it makes no blocks now"
        );
    }

    #[test]
    fn what_a_spec_states_goes_before_the_genesis_and_the_shorter_list_counts() {
        let genesis = include_bytes!("../../e2e/genesis.json");
        let schedule = read_genesis(genesis).expect("no fault").schedule;
        let mut observed = alice('a');
        assert_eq!(voters(&observed, &schedule).count, Some(1));
        assert_eq!(voters(&observed, &Schedule::default()).count, None, "nobody says");
        observed.siblings = vec![other(
            "v1",
            &address(1),
            json!({"validatorAddresses": [address(1), address(2), address(3)]}),
        )];
        assert_eq!(voters(&observed, &schedule).count, Some(3));
        state(&mut observed, &[7, 8]);
        let counted = voters(&observed, &schedule);
        assert_eq!((counted.count, counted.seen), (Some(2), set(&[1])));
        let number = |number: u32| vec![other("v3", &address(3), json!({"validators": number}))];
        observed.absent.ending = number(1000);
        assert_eq!(voters(&observed, &schedule).count, Some(2), "a number adds nobody to a list");
        observed.absent.ending = number(1);
        assert_eq!(voters(&observed, &schedule).count, Some(1), "it may say that there are fewer");
    }

    #[test]
    fn what_somebody_else_wrote_there_is_no_address() {
        let own = address(0xab);
        assert_eq!(read(&format!("{own},,0x,{},x{own},{own}0", own.to_uppercase())), BTreeSet::from([own]));
    }
}
