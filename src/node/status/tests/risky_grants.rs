use super::*;

/// A status where the sample's first caller has these methods, with or without a transaction manager.
fn granted(manager: bool, methods: &[&str], private_state: Option<bool>) -> Option<(String, String)> {
    let mut observed = in_order(if manager { member() } else { samples::smallest() });
    situations::called(&mut observed);
    let callers = &mut spec(&mut observed).rpc.callers;
    callers.truncate(1);
    callers[0].methods = methods.iter().map(|method| (*method).to_owned()).collect();
    callers[0].private_state = private_state;
    let status = report(&observed);
    assert_eq!(ready(&status).status, "True", "no part of being ready");
    let found = condition(&status, "GrantsToReview")?;
    assert_eq!(found.status, "True");
    Some((found.reason.clone(), found.message.clone()))
}

#[test]
fn who_may_trace_is_told_on_every_node() {
    for manager in [false, true] {
        let methods = ["eth_blockNumber", "debug_traceCall", "debug_subscribe"];
        let (reason, message) = granted(manager, &methods, None).expect("told");
        assert_eq!(reason, "TracingGranted");
        assert!(
            message.starts_with(
                "these callers may call tracing methods: wallet (debug_subscribe, debug_traceCall)."
            ),
            "{message}"
        );
    }
}

#[test]
fn who_reads_private_contracts_is_told_where_there_are_any() {
    for (methods, said, told) in [
        (&["eth_*"][..], Some(true), Some("wallet (eth_*)")),
        (&["eth_*"], Some(false), None),
        (&["eth_*"], None, None),
        (&["eth_blockNumber", "net_*"], Some(true), None),
        (&["eth_*", "eth_call"], Some(false), Some("wallet (eth_call)")),
        (
            &["eth_getLogs", "eth_getCode", "eth_getBalance", "eth_call"],
            None,
            Some("wallet (eth_call, eth_getBalance, eth_getCode, and 1 more)"),
        ),
    ] {
        let found = granted(true, methods, said);
        assert_eq!(found.is_some(), told.is_some(), "{methods:?} {said:?}");
        if let (Some((reason, message)), Some(told)) = (found, told) {
            assert_eq!(reason, "PrivateStateGranted");
            assert!(message.contains(told), "{message}");
        }
        assert_eq!(granted(false, methods, said), None, "there is nothing private: {methods:?} {said:?}");
    }
}

#[test]
fn both_are_told_at_once() {
    let (reason, message) = granted(true, &["debug_traceCall", "eth_*"], Some(true)).expect("told");
    assert_eq!(reason, "TracingGranted");
    assert!(message.contains("may call tracing methods: wallet (debug_traceCall)."), "{message}");
    assert!(
        message.contains("private contracts of this node: wallet (eth_*, debug_traceCall)."),
        "{message}"
    );
}

#[test]
fn a_node_without_callers_has_no_grants_to_review() {
    assert!(condition(&report(&in_order(member())), "GrantsToReview").is_none());
}
