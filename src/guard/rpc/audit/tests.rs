use std::io::Read as _;

use super::{super::audit::record::Transport, *};

const WAY: Way = Way {
    connection: 1,
    from: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    transport: Transport::Http2,
};

fn call(method: &str) -> Fact<'_> {
    Fact {
        caller: Some("wallet"),
        who: None,
        method: Some(method),
        verdict: Verdict::Allowed,
        reason: None,
        call: None,
        bytes: (1, 2),
        took: Duration::from_micros(3),
    }
}

fn refused(caller: Option<&str>) -> Fact<'_> {
    Fact { caller, verdict: Verdict::Refused, reason: Some("rate"), ..call("eth_call") }
}

fn pipe() -> (Audit, std::fs::File) {
    let (out, into) = rustix::pipe::pipe().unwrap();
    (Audit::to(into), std::fs::File::from(out))
}

fn reserved(audit: &Audit, fact: &Fact<'_>) -> Option<Space> {
    audit.reserve(record::most(fact))
}

/// Makes a call from its reservation to its record. Returns whether there was space.
fn made(audit: &Audit, method: &str) -> bool {
    let space = reserved(audit, &call(method));
    space.map(|mut space| audit.last(&mut space, &WAY, &call(method))).is_some()
}

fn read_all(audit: Audit, mut out: std::fs::File) -> Vec<serde_json::Value> {
    drop(audit);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
    lines.collect()
}

#[test]
fn a_record_is_there_when_it_was_put_down_and_nothing_stays_reserved() {
    let (audit, out) = pipe();
    let mut given_up = reserved(&audit, &call("eth_never")).unwrap();
    assert_eq!(audit.reserved(), record::most(&call("eth_never")));
    assert!(made(&audit, "eth_call") && made(&audit, "net_version"));
    audit.release(&mut given_up);
    assert_eq!((audit.waiting(), audit.reserved(), audit.calls.load(Ordering::Relaxed)), (0, 0, 0));
    assert_eq!((audit.lines(), audit.left()), ([2, 0, 0, 0], 0));
    let methods: Vec<_> = read_all(audit, out).iter().map(|record| record["method"].clone()).collect();
    assert_eq!(methods, ["eth_call", "net_version"]);
}

#[tokio::test]
async fn calls_that_were_sent_have_their_records_although_nobody_reads() {
    let (audit, mut out) = pipe();
    // these calls are under way when the reader stops, and end when there is no space for others
    let mut under_way: Vec<Space> = (0..64).map(|_| reserved(&audit, &call("eth_late")).unwrap()).collect();
    let mut made_until_full = 0;
    while made(&audit, "eth_call") {
        made_until_full += 1;
    }
    assert!(reserved(&audit, &call("eth_call")).is_none());
    for space in &mut under_way {
        audit.last(space, &WAY, &call("eth_late"));
    }
    assert!(audit.calls.load(Ordering::Relaxed) <= CALLS);
    assert_eq!(audit.reserved(), 0);
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(audit.end(Duration::from_secs(20)).await, 0);
    assert_eq!((audit.waiting(), audit.calls.load(Ordering::Relaxed)), (0, 0));
    assert!(made(&audit, "eth_call"), "there is space again");
    drop(audit);
    let text = reader.join().unwrap();
    assert_eq!(text.lines().count(), made_until_full + 64 + 1);
    assert_eq!(text.matches("eth_late").count(), 64);
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn however_many_are_refused_calls_are_made() {
    let (audit, _out) = pipe();
    for _ in 0..100_000 {
        audit.note(&WAY, &refused(None));
        audit.note(&WAY, &refused(Some("shop")));
        // as if a second had passed each time
        let mut kept = audit.kept();
        kept.quota = Quota::default();
    }
    assert!(audit.waiting() <= NOTES && audit.waiting() > NOTES / 2, "{}", audit.waiting());
    assert_eq!(audit.calls.load(Ordering::Relaxed), 0);
    let mut calls = 0;
    while made(&audit, "eth_call") {
        calls += 1;
    }
    assert!(calls > CALLS / record::most(&call("eth_call")), "{calls}");
    assert!(audit.waiting() <= CALLS + NOTES);
}

#[tokio::test]
async fn a_flood_of_refusals_has_few_lines_and_each_is_counted() {
    let (audit, mut out) = pipe();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    });
    for _ in 0..50_000 {
        audit.note(&WAY, &refused(None));
    }
    audit.note(&WAY, &refused(Some("wallet")));
    assert_eq!(audit.end(Duration::from_secs(20)).await, 0);
    let summed = audit.summed();
    drop(audit);
    let text = reader.join().unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (of_wallet, of_unknown): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["caller"] == "wallet");
    assert_eq!(of_wallet.len(), 1, "a known caller's rejection has its line");
    assert!(of_unknown.len() < 200, "{} lines", of_unknown.len());
    let counted = of_unknown.iter().map(|record| record["count"].as_u64().unwrap_or(1));
    assert_eq!(counted.sum::<u64>(), 50_000);
    assert!(summed > 49_000);
    let last = of_unknown.last().unwrap();
    assert_eq!(
        (&last["reason"], &last["verdict"], &last["from"]),
        (&"rate".into(), &"refused".into(), &"127.0.0.1".into())
    );
    assert!(last["since"].as_str() <= last["time"].as_str());
}

#[tokio::test]
async fn what_nobody_ever_reads_is_counted() {
    let (audit, _out) = pipe();
    while made(&audit, "eth_call") {}
    for _ in 0..1000 {
        audit.note(&WAY, &refused(Some("wallet")));
    }
    let waiting = audit.waiting();
    let lost = audit.end(Duration::from_millis(100)).await;
    assert!(lost > 2000 && lost < 1000 + waiting as u64 / 100, "{lost} of {waiting} bytes");
    assert_eq!(audit.lost(), lost);
}

#[tokio::test]
async fn at_the_end_calls_that_still_end_are_waited_for() {
    let (audit, out) = pipe();
    let mut space = reserved(&audit, &call("eth_last")).unwrap();
    let late = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        audit.last(&mut space, &WAY, &call("eth_last"));
    };
    let (lost, ()) = tokio::join!(audit.end(Duration::from_secs(10)), late);
    assert_eq!(lost, 0);
    assert_eq!(read_all(audit, out)[0]["method"], "eth_last");
    // a call that does not end in time is lost
    let (audit, _out) = pipe();
    let _space = reserved(&audit, &call("eth_never")).unwrap();
    assert_eq!(audit.end(Duration::from_millis(100)).await, 1);
}
