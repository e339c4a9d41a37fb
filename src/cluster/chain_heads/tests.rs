use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::{
    model::chain::{ChainProgress, ClientProgress},
    protocol::{
        chain_metrics::Figures,
        peer_connections::{ShortId, Suspect, Trial},
    },
};

fn at(second: u64) -> Now {
    Now { steady: Duration::from_secs(second), wall: Timestamp::UNIX_EPOCH }
}

fn place(node: &str, pod: &str, ready: bool) -> Place {
    Place {
        namespace: "ledger".into(),
        node: node.into(),
        network: "acme".into(),
        pod: pod.into(),
        ready,
        address: ([10, 0, 0, 1], 9545).into(),
    }
}

fn shown(certificate: &str) -> Fingerprint {
    Fingerprint::of(certificate.as_bytes())
}

fn says(certificate: &str, head: u64, age: u32) -> Option<(Fingerprint, Said)> {
    Some((shown(certificate), Figures { head, peers: 0, age }.into()))
}

fn is_due(chains: &ChainHeads, place: &Place, second: u64) -> bool {
    !chains.due(std::slice::from_ref(place), at(second)).is_empty()
}

fn judge(chains: &ChainHeads, second: u64) -> bool {
    chains.judge("ledger", "acme", &Schedule::default(), at(second))
}

#[test]
fn a_client_is_asked_often_until_its_chain_is_seen_to_move_and_then_rarely() {
    let (chains, alice) = (ChainHeads::default(), place("alice", "uid-1", true));
    let mut asked = Vec::new();
    for second in 0..=130 {
        if second % 5 == 0 && is_due(&chains, &alice, second) {
            chains.answered(&alice, &shown("held"), says("held", 10 + second, 0), at(second));
            asked.push(second);
        }
        judge(&chains, second);
    }
    assert_eq!(asked, [0, 5, 35, 65, 95, 125]);
    let replaced = place("alice", "uid-2", true);
    assert!(is_due(&chains, &replaced, 126), "another pod is asked at once");
}

#[test]
fn who_does_not_answer_is_asked_ever_more_rarely_and_at_once_when_it_is_ready() {
    let (chains, starting) = (ChainHeads::default(), place("alice", "uid-1", false));
    let asked = |place: &Place, seconds: std::ops::Range<u64>| {
        let mut asked = Vec::new();
        for second in seconds.step_by(5) {
            if is_due(&chains, place, second) {
                chains.answered(place, &shown("held"), None, at(second));
                asked.push(second);
            }
            judge(&chains, second);
        }
        asked
    };
    assert_eq!(asked(&starting, 0..70), [0, 30, 60]);
    let ready = place("alice", "uid-1", true);
    let asked = asked(&ready, 70..1500);
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!((asked[0], &pauses[..2]), (70, &[5, 10][..]));
    assert!(pauses.is_sorted() && pauses.last() == Some(&300), "{pauses:?}");
}

#[test]
fn a_client_is_believed_by_the_certificate_of_its_secret_or_by_the_one_that_it_was_believed_by() {
    let (chains, alice) = (ChainHeads::default(), place("alice", "uid-1", true));
    chains.due(std::slice::from_ref(&alice), at(0));
    let head = |held: &str, answer, second| {
        chains.answered(&alice, &shown(held), answer, at(second));
        chains.head(&alice, at(second))
    };
    assert_eq!(head("held", says("another", 7, 0), 0), None);
    assert_eq!(head("held", says("held", 7, 0), 1), Some(7));
    assert_eq!(head("renewed", says("held", 8, 0), 2), Some(8), "its kubelet has not brought the new one");
    assert_eq!(head("renewed", says("another", 9, 0), 3), Some(8));
    assert_eq!(head("renewed", says("renewed", 10, 0), 4), Some(10));
    assert_eq!(head("renewed", says("held", 11, 0), 5), Some(10), "it had the new one");
    assert_eq!(head("renewed", says("renewed", 12, 21), 6), Some(10), "its client does not answer it");
    let other = place("alice", "uid-2", true);
    chains.due(std::slice::from_ref(&other), at(7));
    chains.answered(&other, &shown("third"), says("renewed", 13, 0), at(7));
    assert_eq!(chains.head(&other, at(7)), None, "another pod was never believed");
}

#[test]
fn a_block_is_no_news_and_a_chain_that_stands_is_once() {
    let (chains, alice) = (ChainHeads::default(), place("alice", "uid-1", true));
    let mut news = Vec::new();
    for second in (0..400).step_by(5) {
        if is_due(&chains, &alice, second) {
            let head = second.min(200) + 1;
            chains.answered(&alice, &shown("held"), says("held", head, 0), at(second));
        }
        if judge(&chains, second) {
            news.push((second, chains.view("ledger", "acme").assessment.course));
        }
    }
    let courses: Vec<_> = news.iter().map(|(_, course)| course.clone()).collect();
    assert!(
        matches!(
            courses.as_slice(),
            [ChainProgress::Unknown, ChainProgress::Advancing, ChainProgress::Stalled { block: 201, .. }]
        ),
        "{news:?}"
    );
}

#[test]
fn networks_are_told_apart_and_who_is_gone_is_forgotten() {
    let (chains, alice) = (ChainHeads::default(), place("alice", "uid-1", true));
    let other = Place { namespace: "bank".into(), ..alice.clone() };
    chains.due(&[alice.clone(), other.clone()], at(0));
    chains.answered(&alice, &shown("held"), says("held", 7, 0), at(0));
    assert!(judge(&chains, 0));
    assert_eq!(chains.view("ledger", "acme").head, 7);
    assert_eq!(chains.view("bank", "acme").head, 0);
    let known = chains.view("ledger", "acme").assessment.clients;
    assert_eq!(known["alice"], ("uid-1".to_owned(), ClientProgress::CaughtUp));
    chains.due(std::slice::from_ref(&other), at(1));
    assert_eq!(chains.view("ledger", "acme"), View::default());
    assert_eq!(chains.head(&alice, at(1)), None);
    assert!(!judge(&chains, 1), "there is nothing to say of it");
}

#[test]
fn missing_peers_are_news_once_and_are_not_known_when_nothing_is_heard_of_them() {
    let (chains, alice) = (ChainHeads::default(), place("alice", "uid-1", true));
    chains.due(std::slice::from_ref(&alice), at(0));
    let suspects =
        vec![Suspect { id: ShortId::of("00000000000000ab").expect("an id"), trial: Trial::Refused }];
    let missing = PeerState::Missing { count: 1, suspects: suspects.clone() };
    let says = |missing, seconds| {
        let suspects = if missing == 0 { vec![] } else { suspects.clone() };
        let connections = Some(Connections { listed: 2, missing, seconds, suspects });
        Some((shown("held"), Said { figures: Figures { head: 1, peers: 1, age: 0 }, connections }))
    };
    let told = |answer, second| {
        chains.answered(&alice, &shown("held"), answer, at(second));
        (chains.meets(&alice, at(second)), chains.met("ledger", "alice"))
    };
    assert_eq!(told(says(1, 60), 0), (true, PeerState::Untold));
    assert_eq!(told(says(0, 0), 5), (true, PeerState::All));
    assert_eq!(told(says(0, 0), 35), (false, PeerState::All));
    assert_eq!(told(says(1, 119), 65), (true, PeerState::Untold));
    assert_eq!(told(says(1, 149), 95), (true, missing.clone()));
    assert_eq!(told(says(1, 179), 125), (false, missing.clone()), "how long it has lasted is no news");
    assert_eq!(told(None, 155), (false, missing.clone()));
    assert!(!chains.meets(&alice, at(225)));
    assert!(chains.meets(&alice, at(226)));
    assert_eq!(chains.met("ledger", "alice"), PeerState::Unseen);
    // an older sidecar does not report connections
    assert_eq!(told(says(0, 0), 230), (true, PeerState::All));
    let earlier = Figures { head: 1, peers: 1, age: 0 };
    assert_eq!(told(Some((shown("held"), earlier.into())), 235), (true, PeerState::Unseen));
    assert_eq!(told(says(0, 0), 240), (true, PeerState::All));
    // another pod has another sidecar
    let other = place("alice", "uid-2", true);
    chains.due(std::slice::from_ref(&other), at(241));
    chains.answered(&other, &shown("held"), None, at(241));
    assert!(chains.meets(&other, at(241)));
    assert_eq!(chains.met("ledger", "alice"), PeerState::Unseen);
    chains.due(&[], at(250));
    assert!(!chains.meets(&other, at(250)));
    assert_eq!(chains.met("ledger", "alice"), PeerState::Unseen);
}
