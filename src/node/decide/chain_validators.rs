//! Number of validators of a network's chain, and those that ran here but have no node any more. Pure.

use std::collections::BTreeSet;

use crate::{
    api::{QuorumNode, node::Role},
    model::{genesis::Schedule, identity, network_member::NetworkMember},
    node::observed::Observed,
};

/// Maximum number of stored addresses.
const MAX_ADDRESSES: usize = 1000;

/// The validators of a network's chain, as far as a spec or the genesis states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainValidators {
    /// Number of validators: the length of the list, or a lower number that a spec states; `None` where neither exists.
    pub count: Option<i32>,
    /// Addresses of those that run or ran here, each 0x and 40 lower-case hexadecimal digits. An annotation of the
    /// network's disruption budget stores them, since a deleted node cannot report its address.
    pub seen: BTreeSet<String>,
    /// Those of `seen` that no node here has now. The chain counts their votes until they are voted out.
    pub missing: BTreeSet<String>,
}

/// Computes the validators from the specs of all nodes of the network, the genesis, and the stored addresses. Every
/// node of the network gets the same result.
#[must_use]
pub fn chain_validators(observed: &Observed, schedule: &Schedule) -> ChainValidators {
    let head = observed.chain.as_ref().map_or(0, |view| view.head);
    let Some((count, listed)) = stated(observed).or_else(|| schedule.listed(head)) else {
        return ChainValidators { count: said(observed), ..ChainValidators::default() };
    };
    let count = i32::try_from(count).ok();
    let here: BTreeSet<_> = here(observed).filter(|address| listed.contains(address)).collect();
    let remembered = observed.absent.chain_validators.iter().cloned();
    // addresses on no list stay stored: a later list may contain them again, after a typo is corrected
    let seen: BTreeSet<_> = here.iter().cloned().chain(remembered).take(MAX_ADDRESSES).collect();
    let missing = seen.difference(&here).filter(|address| listed.contains(*address)).cloned().collect();
    // a stated number never raises the length of a list
    ChainValidators { count: said(observed).into_iter().chain(count).min(), seen, missing }
}

/// The addresses that the specs of the network's nodes list, and their number. Where lists differ, returns the
/// addresses of all lists and the length of the shortest.
fn stated(observed: &Observed) -> Option<(usize, BTreeSet<String>)> {
    let lists = observed.network_members.iter().map(|network_member| &network_member.validator_addresses);
    let lists = lists.chain([&observed.node.spec.consensus.validator_addresses]);
    let lists: Vec<BTreeSet<_>> = lists
        .filter(|list| !list.is_empty())
        .map(|list| list.iter().map(|address| address.to_ascii_lowercase()).collect())
        .collect();
    let shortest = lists.iter().map(BTreeSet::len).min()?;
    Some((shortest, lists.into_iter().flatten().collect()))
}

/// The highest number of validators that a spec of the network states.
fn said(observed: &Observed) -> Option<i32> {
    let others = observed
        .network_members
        .iter()
        .chain(&observed.absent.ending)
        .map(|network_member| network_member.validators);
    others.chain([observed.node.spec.consensus.validators]).flatten().max()
}

/// Addresses of the validators that have a node here, including nodes that are being deleted.
fn here(observed: &Observed) -> impl Iterator<Item = String> {
    let others = observed.network_members.iter().chain(&observed.absent.ending);
    let others =
        others.filter(|other| other.is_validator()).filter_map(|other: &NetworkMember| other.address.clone());
    let QuorumNode { spec, status, .. } = &*observed.node;
    let status = status.as_ref().filter(|status| spec.role == Role::Validator && !identity::is_held(status));
    let own = status.and_then(|status| status.identity.as_ref()).map(|identity| identity.address.clone());
    others.chain(own).map(|address| address.to_ascii_lowercase())
}

/// Reads the addresses from the disruption budget's annotation. Ignores invalid ones.
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
        model::{decode::Decoded, genesis::read_genesis},
        node::observed::samples::{identity, in_order, smallest},
    };

    /// A validator `alice` with the key of this letter.
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

    fn other(name: &str, address: &str, consensus: serde_json::Value) -> NetworkMember {
        let mut node = smallest();
        node["metadata"]["name"] = json!(name);
        node["spec"]["role"] = json!("Validator");
        node["spec"]["consensus"]
            .as_object_mut()
            .expect("a part")
            .extend(consensus.as_object().cloned().unwrap_or_default());
        node["status"] = json!({"identity": {"publicKey": "ab", "address": address, "secretName": "s"}});
        NetworkMember::from(&Decoded(Ok(serde_json::from_value(node).expect("a node"))))
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
        observed.network_members =
            (1..7).map(|digit| other(&format!("v{digit}"), &address(digit), json!({}))).collect();
        state(&mut observed, &[1, 2, 3, 4]);
        let counted = chain_validators(&observed, &Schedule::default());
        assert_eq!(counted, ChainValidators { count: Some(4), seen: set(&[1, 2, 3, 4]), missing: set(&[]) });
    }

    #[test]
    fn who_was_here_is_missing_until_it_is_back_or_on_no_list() {
        let mut observed = alice('a');
        state(&mut observed, &[1, 2, 3]);
        observed.absent.chain_validators = set(&[1, 2, 9]);
        let missing = |observed: &Observed| chain_validators(observed, &Schedule::default()).missing;
        assert_eq!(missing(&observed), set(&[1, 2]), "9 was voted out, and 3 has never run here");
        observed.network_members =
            vec![other("v1", &address(1).to_uppercase().replace("0X", "0x"), json!({}))];
        assert_eq!(missing(&observed), set(&[2]));
        observed.absent.ending = vec![other("v2", &address(2), json!({}))];
        assert_eq!(missing(&observed), set(&[]), "it is there as long as it is being deleted");
        observed.absent.ending.clear();
        state(&mut observed, &[1, 3]);
        assert_eq!(missing(&observed), set(&[]));
        // a validator that was left out by mistake is listed again
        observed.absent.chain_validators = chain_validators(&observed, &Schedule::default()).seen;
        state(&mut observed, &[1, 2, 3]);
        assert_eq!(missing(&observed), set(&[2]));
    }

    #[test]
    fn the_node_itself_counts_while_it_is_a_validator() {
        let mut observed = alice('b');
        let own = identity('b').address;
        Arc::make_mut(&mut observed.node).spec.consensus.validator_addresses = vec![own.clone()];
        assert_eq!(chain_validators(&observed, &Schedule::default()).seen, BTreeSet::from([own.clone()]));
        Arc::make_mut(&mut observed.node).spec.role = Role::Member;
        assert_eq!(chain_validators(&observed, &Schedule::default()).seen, BTreeSet::new());
        observed.absent.chain_validators = BTreeSet::from([own.clone()]);
        assert_eq!(
            chain_validators(&observed, &Schedule::default()).missing,
            BTreeSet::from([own]),
            "it makes no blocks now"
        );
    }

    #[test]
    fn what_a_spec_states_goes_before_the_genesis_and_the_shorter_list_counts() {
        let genesis = include_bytes!("../../../e2e/genesis.json");
        let schedule = read_genesis(genesis).expect("no fault").schedule;
        let mut observed = alice('a');
        assert_eq!(chain_validators(&observed, &schedule).count, Some(1));
        assert_eq!(chain_validators(&observed, &Schedule::default()).count, None, "neither states them");
        observed.network_members = vec![other(
            "v1",
            &address(1),
            json!({"validatorAddresses": [address(1), address(2), address(3)]}),
        )];
        assert_eq!(chain_validators(&observed, &schedule).count, Some(3));
        state(&mut observed, &[7, 8]);
        let counted = chain_validators(&observed, &schedule);
        assert_eq!((counted.count, counted.seen), (Some(2), set(&[1])));
        let number = |number: u32| vec![other("v3", &address(3), json!({"validators": number}))];
        observed.absent.ending = number(1000);
        assert_eq!(
            chain_validators(&observed, &schedule).count,
            Some(2),
            "a number never raises the length of a list"
        );
        observed.absent.ending = number(1);
        assert_eq!(chain_validators(&observed, &schedule).count, Some(1), "a number may lower it");
    }

    #[test]
    fn what_somebody_else_wrote_there_is_no_address() {
        let own = address(0xab);
        assert_eq!(read(&format!("{own},,0x,{},x{own},{own}0", own.to_uppercase())), BTreeSet::from([own]));
    }
}
