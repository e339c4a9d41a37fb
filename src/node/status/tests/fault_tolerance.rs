use super::*;
use crate::api::node::Role;

fn validators(said: Option<i32>) -> QuorumNodeStatus {
    let mut observed = in_order(member());
    let spec = spec(&mut observed);
    (spec.role, spec.consensus.validators) = (Role::Validator, said);
    report(&observed)
}

#[test]
fn fewer_than_four_validators_are_told_with_their_number_and_are_ready_all_the_same() {
    for (said, told) in [
        (None, "1 validator and tolerates the loss of none"),
        (Some(3), "3 validators and tolerates the loss of none"),
    ] {
        let status = validators(said);
        let found = condition(&status, "QuorumTolerant").expect("told");
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("False", "InsufficientValidators"));
        assert!(found.message.contains(told), "{}", found.message);
        let missing = 4 - said.unwrap_or(1);
        assert!(
            found.message.contains(&format!("Run at least 4 validators (add {missing})")),
            "{}",
            found.message
        );
        assert_eq!(ready(&status).status, "True");
        assert!(condition(&status, "Reconciling").is_none());
    }
}

#[test]
fn four_validators_can_spare_one_and_nothing_is_told() {
    assert!(condition(&validators(Some(4)), "QuorumTolerant").is_none());
}

#[test]
fn a_member_is_not_told_about_validators() {
    assert!(condition(&report(&in_order(member())), "QuorumTolerant").is_none());
}
