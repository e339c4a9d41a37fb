use std::io::{BufRead as _, Read as _};

use serde_json::Value;

use super::{
    super::{Audit, record::Transport},
    *,
};

fn ledger() -> (Ledger, std::fs::File) {
    let (out, into) = rustix::pipe::pipe().unwrap();
    let ledger = Ledger {
        counts: Arc::new(Metrics::new(Audit::to(into))),
        way: Way { connection: 7, from: [10, 1, 2, 3].into(), transport: Transport::WebSocket },
        account: Some(Arc::new(CallerState::new("wallet"))),
        who: Some(r#","subject":"dns:wallet.example","serial":"0a""#.into()),
        since: Instant::now(),
    };
    (ledger, out.into())
}

fn records(ledger: Ledger, mut out: std::fs::File) -> Vec<Value> {
    assert_eq!((ledger.counts.audit.reserved(), ledger.counts.audit.waiting()), (0, 0));
    drop(ledger);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Verdicts and reasons of records.
fn told(records: &[Value]) -> Vec<(&str, Option<&str>)> {
    records.iter().map(|record| (record["verdict"].as_str().unwrap(), record["reason"].as_str())).collect()
}

#[test]
fn a_call_that_may_change_something_is_put_down_when_it_is_sent_and_when_it_ends() {
    let (ledger, out) = ledger();
    let mut read = ledger.open("eth_call", 10).unwrap();
    let mut changes = ledger.open("eth_sendRawTransaction", 20).unwrap();
    let mut other = ledger.open("admin_addPeer", 30).unwrap();
    for audit_scope in [&mut read, &mut changes, &mut other] {
        audit_scope.sent();
        audit_scope.sent();
    }
    let begun = ledger.counts.audit.lines();
    assert_eq!(begun, [0, 2, 0, 0]);
    for audit_scope in [&mut read, &mut changes, &mut other] {
        audit_scope.answered(5);
        audit_scope.answered(6);
        audit_scope.end(None);
        audit_scope.end(Some("cut"));
    }
    drop((read, changes, other));
    assert_eq!(ledger.account.as_ref().unwrap().allowed.load(Ordering::Relaxed), 3);
    let records = records(ledger, out);
    let verdicts: Vec<_> = told(&records).into_iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(verdicts, ["begun", "begun", "allowed", "allowed", "allowed"]);
    let [changes, other, read, changed, _] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&changes["method"], &changes["bytesIn"]), (&"eth_sendRawTransaction".into(), &20.into()));
    assert_eq!((&changes["call"], &changes["subject"]), (&changed["call"], &"dns:wallet.example".into()));
    assert!(changes["call"].is_u64() && changes["call"] != other["call"] && read.get("call").is_none());
    assert_eq!((&changed["bytesOut"], &changed["serial"]), (&11.into(), &"0a".into()));
}

#[test]
fn what_did_not_reach_the_client_is_never_called_allowed() {
    let (ledger, out) = ledger();
    let busy = Rejection::client_busy();
    for method in ["eth_call", "eth_sendTransaction"] {
        drop(ledger.open(method, 1).unwrap());
        ledger.open(method, 1).unwrap().end(None);
        ledger.open(method, 1).unwrap().end(Some("client_failed"));
        ledger.open(method, 1).unwrap().shed(&busy);
    }
    assert_eq!(ledger.account.as_ref().unwrap().allowed.load(Ordering::Relaxed), 0);
    assert_eq!(ledger.account.as_ref().unwrap().refused.load(Ordering::Relaxed), 8);
    let records = records(ledger, out);
    let once = ["cut", "cut", "client_failed", "client_busy"].map(|reason| ("refused", Some(reason)));
    assert_eq!(told(&records), [once, once].concat());
    assert_eq!(records[7]["method"], "eth_sendTransaction");
}

#[test]
fn what_was_sent_and_breaks_off_may_have_been_made() {
    let (ledger, out) = ledger();
    let sent = |method: &str| {
        let mut audit_scope = ledger.open(method, 1).unwrap();
        audit_scope.sent();
        audit_scope
    };
    drop(sent("eth_call"));
    sent("eth_call").end(Some("answer_too_slow"));
    // the client did not receive it after all
    sent("eth_call").shed(&Rejection::client_unreachable());
    sent("eth_sendTransaction").shed(&Rejection::client_unreachable());
    let records = records(ledger, out);
    let wanted = [
        ("allowed", Some("cut")),
        ("allowed", Some("answer_too_slow")),
        ("refused", Some("client_unreachable")),
        ("begun", None),
        ("refused", Some("client_unreachable")),
    ];
    assert_eq!(told(&records), wanted);
    assert_eq!(records[3]["call"], records[4]["call"]);
}

#[test]
fn what_is_refused_or_opened_says_who() {
    let (mut ledger, out) = ledger();
    ledger.opened();
    ledger.refused_call(Some("admin_peers"), &Rejection::not_granted(), 11);
    ledger.account = None;
    ledger.who = None;
    ledger.refused(&Rejection::path(), 0);
    let records = records(ledger, out);
    assert_eq!(
        told(&records),
        [("opened", None), ("refused", Some("not_granted")), ("refused", Some("path"))]
    );
    assert_eq!(
        (&records[0]["subject"], &records[0]["caller"]),
        (&"dns:wallet.example".into(), &"wallet".into())
    );
    assert_eq!((&records[1]["method"], &records[1]["bytesIn"]), (&"admin_peers".into(), &11.into()));
    assert!(records[2].get("subject").is_none() && records[2].get("caller").is_none());
}

#[test]
fn a_call_without_room_is_not_made_and_a_reservation_is_given_back_to_the_byte() {
    let (ledger, out) = ledger();
    let mut entries = Vec::new();
    let rejection = loop {
        let method = if entries.len() % 2 == 0 { "eth_call" } else { "eth_sendTransaction" };
        match ledger.open(method, u64::MAX) {
            Ok(audit_scope) => entries.push(audit_scope),
            Err(rejection) => break rejection,
        }
    };
    assert_eq!(rejection.reason, "audit_blocked");
    assert!(entries.len() > 1000, "{}", entries.len());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let mut out = out;
        out.read_to_string(&mut text).map(|_| text)
    });
    // a call never needs more than it reserved, even if it is cut or rejected
    for (at, audit_scope) in entries.iter_mut().enumerate() {
        match at % 5 {
            0 => audit_scope.shed(&Rejection::client_busy()),
            1 => audit_scope.sent(),
            _ => {
                audit_scope.sent();
                audit_scope.answered(usize::MAX);
                audit_scope.end(Some("certificate_untrusted"));
            }
        }
    }
    let count = entries.len();
    drop(entries);
    let end = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(end.block_on(ledger.counts.audit.end(Duration::from_secs(10))), 0);
    assert_eq!((ledger.counts.audit.reserved(), ledger.counts.audit.waiting()), (0, 0));
    assert!(ledger.open("eth_call", 1).is_ok());
    let lines = ledger.counts.audit.lines();
    assert_eq!(lines[Verdict::Allowed as usize] as usize, count - count.div_ceil(5));
    drop(ledger);
    let text = reader.join().unwrap().unwrap();
    assert_eq!(text.lines().count() as u64, lines.iter().sum::<u64>());
}

#[test]
fn while_four_flood_each_answered_call_has_its_record() {
    let (ledger, out) = ledger();
    let written = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&written);
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufReader::new(out).lines();
        let noted = lines.inspect(|line| {
            let is_call = line.as_ref().is_ok_and(|line| line.contains("\"allowed\""));
            seen.fetch_add(is_call.into(), Ordering::Relaxed);
        });
        noted.collect::<std::io::Result<Vec<String>>>()
    });
    let flood = |caller: Option<&str>| {
        let account = caller.map(|name| Arc::new(CallerState::new(name)));
        let ledger = Ledger { account, who: None, ..ledger.clone() };
        std::thread::spawn(move || (0..50_000).for_each(|_| ledger.refused(&Rejection::not_granted(), 2)))
    };
    let floods = [Some("loud"), Some("loud"), Some("shop"), None].map(flood);
    let mut answered = 0;
    while !floods.iter().all(std::thread::JoinHandle::is_finished) || answered < 1000 {
        // so that the calls alone do not fill the space if records are written slowly
        if answered - written.load(Ordering::Relaxed) >= 64 {
            std::thread::yield_now();
            continue;
        }
        let mut audit_scope = ledger.open("eth_call", 1).expect("no flood is in the way of a call");
        audit_scope.sent();
        audit_scope.answered(1);
        audit_scope.end(None);
        answered += 1;
    }
    let end = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(end.block_on(ledger.counts.audit.end(Duration::from_secs(10))), 0);
    drop((ledger, floods.map(|flood| flood.join().unwrap())));
    let text = reader.join().unwrap().unwrap();
    assert_eq!(written.load(Ordering::Relaxed), answered);
    let lines: Vec<Value> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused = lines.iter().filter(|line| line["verdict"] == "refused");
    assert_eq!(refused.clone().map(|line| line["count"].as_u64().unwrap_or(1)).sum::<u64>(), 200_000);
    assert!(refused.count() < 1000);
}
