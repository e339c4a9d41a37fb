use proptest::prelude::*;

use super::*;
use crate::model::genesis::read_genesis;

fn at(second: u64) -> Now {
    let wall =
        i64::try_from(second).ok().and_then(|second| Timestamp::from_second(1_800_000_000 + second).ok());
    Now { steady: Duration::from_secs(second), wall: wall.expect("a time") }
}

/// A network whose clients have ready pods.
fn network(nodes: &[&str]) -> Chain {
    let mut chain = Chain::default();
    for node in nodes {
        chain.knows(node, "uid-1", true, at(0));
    }
    chain
}

/// Each client reports its head and three peers.
fn say(chain: &mut Chain, second: u64, heads: &[(&str, u64)]) {
    for (node, head) in heads {
        chain.saw(node, Figures { head: *head, peers: 3, age: 0 }, at(second));
    }
}

fn schedule(block: u64, empty: u64) -> Schedule {
    let genesis = include_str!("../../../e2e/genesis.json");
    let mut genesis: serde_json::Value = serde_json::from_str(genesis).expect("JSON");
    genesis["config"]["qbft"]["blockperiodseconds"] = block.into();
    genesis["config"]["qbft"]["emptyblockperiodseconds"] = empty.into();
    let facts = read_genesis(genesis.to_string().as_bytes()).expect("no fault");
    (*facts.schedule).clone()
}

fn course(chain: &Chain, second: u64) -> ChainProgress {
    chain.judge(&schedule(5, 0), at(second)).course
}

fn standing(chain: &Chain, second: u64, node: &str) -> ClientProgress {
    chain.judge(&schedule(5, 0), at(second)).clients[node].1
}

const FOUR: [&str; 4] = ["a", "b", "c", "d"];

fn all(head: u64) -> [(&'static str, u64); 4] {
    FOUR.map(|node| (node, head))
}

#[test]
fn a_chain_is_told_to_advance_when_it_has_and_to_stand_when_no_block_came_for_long() {
    let mut chain = network(&FOUR);
    assert_eq!(course(&chain, 0), ChainProgress::Unobserved);
    say(&mut chain, 10, &all(45));
    assert_eq!(course(&chain, 10), ChainProgress::Unknown);
    say(&mut chain, 40, &all(46));
    assert_eq!(course(&chain, 40), ChainProgress::Advancing);
    for second in [70, 100, 115] {
        say(&mut chain, second, &all(46));
        assert_eq!(course(&chain, second), ChainProgress::Advancing, "{second}");
    }
    say(&mut chain, 116, &all(46));
    let stands = ChainProgress::Stalled { block: 46, since: at(40).wall };
    assert_eq!(course(&chain, 116), stands);
    say(&mut chain, 130, &all(46));
    assert_eq!(course(&chain, 130), stands);
    say(&mut chain, 140, &all(47));
    assert_eq!(course(&chain, 140), ChainProgress::Advancing);
}

#[test]
fn a_chain_that_never_moved_while_it_was_seen_stands_since_it_was_seen() {
    let mut chain = network(&FOUR);
    for second in [10, 40, 70] {
        say(&mut chain, second, &all(46));
        assert_eq!(course(&chain, second), ChainProgress::Unknown, "{second}");
    }
    say(&mut chain, 86, &all(46));
    assert_eq!(course(&chain, 86), ChainProgress::Stalled { block: 46, since: at(10).wall });
}

#[test]
fn no_block_yet_is_not_a_chain_that_stands() {
    let mut chain = network(&FOUR);
    for second in [0, 50, 100, 150, 200] {
        say(&mut chain, second, &all(0));
    }
    assert_eq!(course(&chain, 200), ChainProgress::AtGenesis);
}

#[test]
fn empty_blocks_may_be_far_apart() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &all(45));
    say(&mut chain, 10, &all(46));
    for second in (30..=320).step_by(30) {
        say(&mut chain, second, &all(46));
    }
    let course = |empty: u64| chain.judge(&schedule(1, empty), at(320)).course;
    assert_eq!(course(60), ChainProgress::Advancing);
    assert!(matches!(course(0), ChainProgress::Stalled { .. }));
    assert_eq!(course(u64::MAX), ChainProgress::Advancing, "such a genesis waits for a day at most");
}

#[test]
fn what_was_seen_long_ago_says_nothing_and_a_gap_is_no_stall() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &all(45));
    say(&mut chain, 30, &all(46));
    assert_eq!(course(&chain, 130), ChainProgress::Advancing);
    assert_eq!(course(&chain, 131), ChainProgress::Unobserved);
    // whether the chain moved in the gap is unknown
    for node in FOUR {
        chain.knows(node, "uid-2", true, at(3000));
    }
    say(&mut chain, 3000, &all(99));
    assert_eq!(course(&chain, 3000), ChainProgress::Unknown);
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &all(45));
    say(&mut chain, 3000, &all(46));
    assert_eq!(course(&chain, 3000), ChainProgress::Advancing, "it has, however long it took");
}

#[test]
fn clients_that_synchronise_do_not_make_a_chain_advance() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &all(999));
    say(&mut chain, 10, &all(1000));
    for node in ["a", "b"] {
        chain.knows(node, "uid-2", true, at(20));
    }
    for second in (20..=120).step_by(10) {
        say(&mut chain, second, &[("a", second), ("b", second), ("c", 1000), ("d", 1000)]);
    }
    assert!(matches!(course(&chain, 120), ChainProgress::Stalled { block: 1000, .. }));
    assert_eq!(standing(&chain, 120, "a"), ClientProgress::Behind);
    assert_eq!(standing(&chain, 120, "c"), ClientProgress::CaughtUp);
}

#[test]
fn a_validator_on_an_emptied_volume_is_behind_until_it_is_a_few_blocks_from_the_head() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &all(100));
    chain.knows("a", "uid-2", false, at(10));
    assert_eq!(standing(&chain, 10, "a"), ClientProgress::Unobserved, "it does not serve");
    chain.knows("a", "uid-2", true, at(15));
    assert_eq!(standing(&chain, 15, "a"), ClientProgress::Pending);
    for (second, head, wanted) in [
        (20, 0, ClientProgress::Behind),
        (25, 97, ClientProgress::Behind),
        (30, 98, ClientProgress::CaughtUp),
        (35, 110, ClientProgress::CaughtUp),
    ] {
        say(&mut chain, second, &[("a", head), ("b", 101), ("c", 101), ("d", 101)]);
        assert_eq!(standing(&chain, second, "a"), wanted, "{second}");
    }
}

#[test]
fn blocks_that_came_after_a_client_was_asked_are_none_that_it_lacks() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &[("a", 100)]);
    say(&mut chain, 30, &[("b", 109), ("c", 109), ("d", 109)]);
    assert_eq!(standing(&chain, 30, "a"), ClientProgress::CaughtUp, "six blocks of 5 s, and a few");
    say(&mut chain, 30, &[("b", 110), ("c", 110)]);
    assert_eq!(standing(&chain, 30, "a"), ClientProgress::Behind);
    chain.saw("a", Figures { head: 104, peers: 3, age: 15 }, at(30));
    assert_eq!(standing(&chain, 30, "a"), ClientProgress::CaughtUp, "the client itself said so 15 s ago");
    say(&mut chain, 30, &[("a", 106)]);
    assert_eq!(standing(&chain, 30, "a"), ClientProgress::Behind);
}

#[test]
fn a_pod_that_is_new_has_its_turn_until_it_has_the_peers_of_the_one_before_it() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &all(100));
    chain.knows("a", "uid-2", true, at(10));
    let tell = |chain: &mut Chain, second: u64, peers: u32| {
        say(chain, second, &[("b", 100), ("c", 100), ("d", 100)]);
        chain.saw("a", Figures { head: 100, peers, age: 0 }, at(second));
        standing(chain, second, "a")
    };
    assert_eq!(tell(&mut chain, 20, 0), ClientProgress::MissingPeers);
    assert_eq!(tell(&mut chain, 25, 2), ClientProgress::MissingPeers);
    assert_eq!(tell(&mut chain, 30, 3), ClientProgress::CaughtUp);
    assert_eq!(tell(&mut chain, 35, 2), ClientProgress::CaughtUp, "it has caught up before");
    chain.knows("a", "uid-3", true, at(40));
    assert_eq!(tell(&mut chain, 45, 1), ClientProgress::MissingPeers);
    // it has not reached the earlier number of peers, which therefore still counts
    chain.knows("a", "uid-4", true, at(50));
    assert_eq!(tell(&mut chain, 55, 1), ClientProgress::MissingPeers);
    assert_eq!(tell(&mut chain, 654, 1), ClientProgress::MissingPeers);
    assert_eq!(tell(&mut chain, 655, 1), ClientProgress::CaughtUp, "its former peers may never come back");
}

#[test]
fn no_more_peers_are_awaited_than_there_are_others_to_be_seen() {
    let mut chain = network(&["a", "b"]);
    let saw = |chain: &mut Chain, second: u64, node: &str, peers: u32| {
        chain.saw(node, Figures { head: 9, peers, age: 0 }, at(second));
    };
    saw(&mut chain, 0, "b", 40);
    saw(&mut chain, 0, "a", 40);
    chain.knows("a", "uid-2", true, at(10));
    saw(&mut chain, 20, "a", 1);
    assert_eq!(standing(&chain, 20, "a"), ClientProgress::CaughtUp);
    let mut alone = network(&["a"]);
    saw(&mut alone, 0, "a", 0);
    assert_eq!(standing(&alone, 0, "a"), ClientProgress::CaughtUp, "there is nobody");
}

#[test]
fn a_pod_that_cannot_be_asked_is_awaited_for_a_minute() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &[("b", 7), ("c", 7), ("d", 7)]);
    assert_eq!(standing(&chain, 59, "a"), ClientProgress::Pending);
    assert_eq!(standing(&chain, 60, "a"), ClientProgress::Unobserved);
    assert_eq!(standing(&network(&FOUR), 1, "a"), ClientProgress::Unobserved, "no client reports");
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut chain = network(&FOUR);
    assert!(chain.keep(|node| node != "a"));
    assert_eq!(chain.judge(&schedule(5, 0), at(0)).clients.len(), 3);
    assert!(!chain.keep(|_| false));
}

/// One of four clients does not count alone: the others may exist and report something else.
#[test]
fn one_of_four_that_is_heard_alone_says_nothing_of_the_chain() {
    let mut chain = network(&FOUR);
    say(&mut chain, 0, &[("a", 46)]);
    say(&mut chain, 200, &[("a", 46)]);
    assert_eq!(course(&chain, 200), ChainProgress::Unobserved);
    say(&mut chain, 201, &[("b", 46)]);
    assert_ne!(course(&chain, 201), ChainProgress::Unobserved);
    let mut alone = network(&["a"]);
    say(&mut alone, 0, &[("a", 46)]);
    assert_ne!(course(&alone, 0), ChainProgress::Unobserved, "there is nobody else");
}

/// Empty blocks may be more than a day apart.
#[test]
fn a_chain_that_is_idle_for_days_by_its_genesis_does_not_stand() {
    let mut chain = network(&["a"]);
    let days = schedule(5, 172_800);
    say(&mut chain, 0, &[("a", 46)]);
    for second in (0..172_800).step_by(30) {
        say(&mut chain, second, &[("a", 46)]);
    }
    assert!(!matches!(chain.judge(&days, at(172_800)).course, ChainProgress::Stalled { .. }));
}

proptest! {
    /// One of four clients may report anything: the others are not behind, and their figures decide.
    #[test]
    fn one_of_four_cannot_say_what_the_chain_does(
        said in prop::collection::vec((0..=crate::protocol::chain_metrics::HIGHEST, 0..5_u32, 0..20_u32), 12),
        stands in any::<bool>(),
    ) {
        let mut chain = network(&FOUR);
        let honest = |step: u64| if stands { 500 } else { 500 + 2 * step };
        for (step, (head, peers, age)) in (0..).zip(said) {
            let second = 10 * step;
            say(&mut chain, second, &[("b", honest(step)), ("c", honest(step)), ("d", honest(step))]);
            chain.saw("a", Figures { head, peers, age }, at(second));
            for node in ["b", "c", "d"] {
                prop_assert_eq!(standing(&chain, second, node), ClientProgress::CaughtUp);
            }
        }
        let course = course(&chain, 110);
        if stands {
            prop_assert_eq!(course, ChainProgress::Stalled { block: 500, since: at(0).wall });
        } else {
            prop_assert_eq!(course, ChainProgress::Advancing);
        }
    }

    /// Whatever the clients report, the chain is assessed as soon as more than one of them is observed.
    #[test]
    fn nothing_that_is_said_breaks_it(said in prop::collection::vec((0..4_usize, any::<u64>(), any::<u32>(), any::<u32>(), 0..90_u64), 0..40)) {
        let (mut chain, mut second) = (network(&FOUR), 0);
        for (node, head, peers, age, later) in said {
            second += later;
            chain.saw(FOUR[node], Figures { head, peers, age }, at(second));
            let assessment = chain.judge(&schedule(5, u64::MAX), at(second));
            let heard = FOUR.iter().filter(|node| chain.head_of(node, at(second)).is_some()).count();
            prop_assert_eq!(assessment.course == ChainProgress::Unobserved, heard < 2);
        }
    }
}
