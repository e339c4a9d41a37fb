use super::*;

const TICK: Duration = Duration::from_millis(60);

fn which(name: &str) -> NamespacedName {
    ("ledger".into(), name.into())
}

/// Names that begin with `sick` have failed.
fn failures(which: &NamespacedName) -> u32 {
    u32::from(which.1.starts_with("sick"))
}

#[test]
fn those_that_fail_have_half_of_the_places_and_a_new_one_goes_first() {
    let (mut turns, now) = (WorkQueue::new(4), Instant::now());
    for i in 0..100 {
        turns.look_at(which(&format!("sick-{i}")), now);
    }
    assert!(turns.next(now, failures).is_some() && turns.next(now, failures).is_some());
    assert_eq!(turns.next(now, failures), None, "half of four");
    turns.wake(which("new"), now, Change::Own);
    let now = now + SETTLES;
    assert_eq!(turns.next(now, failures), Some((which("new"), false)));
    assert_eq!((turns.running, turns.ready.len()), (3, 98));
}

#[test]
fn who_waits_is_counted_and_for_how_long() {
    let (mut turns, now) = (WorkQueue::new(2), Instant::now());
    assert_eq!(turns.queue(), Queue::default());
    for (i, name) in (0..).zip(["sick-a", "sick-b", "new"]) {
        turns.look_at(which(name), now + TICK * i);
    }
    let later = now + TICK * 3;
    assert_eq!(turns.next(later, failures), Some((which("new"), true)), "it arrived last");
    assert_eq!(turns.queue(), Queue { waiting: 2, since: Some(now), running: 1 });
    assert_eq!(turns.next(later, failures), Some((which("sick-a"), true)));
    assert_eq!(turns.queue(), Queue { waiting: 1, since: Some(now + TICK), running: 2 });
    turns.ended(which("sick-a"), later, None);
    assert!(turns.next(later, failures).is_some());
    turns.ended(which("sick-b"), later, None);
    turns.ended(which("new"), later, None);
    assert_eq!(turns.queue(), Queue::default());
}

#[test]
fn those_that_fail_have_their_turns_in_the_order_in_which_they_came() {
    let (mut turns, now) = (WorkQueue::new(1), Instant::now());
    let names: Vec<_> = (0..50).map(|i| which(&format!("sick-{i:02}"))).collect();
    for (i, which) in (0..).zip(&names) {
        turns.wake(which.clone(), now + Duration::from_millis(i), Change::Own);
    }
    let now = now + Duration::from_secs(1);
    for which in &names {
        assert_eq!(turns.next(now, failures), Some((which.clone(), true)));
        turns.ended(which.clone(), now, Some(Duration::ZERO));
    }
}

#[test]
fn one_to_which_something_happens_waits_for_none_that_is_only_to_be_looked_at() {
    let (mut turns, now) = (WorkQueue::new(8), Instant::now());
    for i in 0..100 {
        turns.look_at(which(&format!("old-{i:02}")), now);
    }
    for i in 0..6 {
        assert_eq!(turns.next(now, failures), Some((which(&format!("old-{i:02}")), true)));
    }
    assert_eq!(turns.next(now, failures), None, "two of eight places are for news");
    turns.wake(which("new"), now, Change::Own);
    turns.wake(which("old-77"), now, Change::Own);
    let now = now + SETTLES;
    let chosen = [turns.next(now, failures), turns.next(now, failures)].map(|chosen| chosen.expect("one"));
    assert_eq!(chosen, [(which("old-77"), false), (which("new"), false)]);
    assert_eq!(turns.next(now, failures), None);
    turns.ended(which("old-00"), now, None);
    turns.ended(which("new"), now, Some(Duration::ZERO));
    // a node that is due again by itself is no longer a resync
    assert_eq!(turns.next(now, failures), Some((which("new"), false)));
    assert_eq!(turns.next(now, failures), Some((which("old-06"), true)));
    assert_eq!((turns.running, turns.patient, turns.failing), (8, 6, 0));
}

#[test]
fn to_be_looked_at_soon_is_sooner_than_later_and_no_later_than_before() {
    let (mut turns, now) = (WorkQueue::new(1), Instant::now());
    turns.wake(which("a"), now, Change::Said);
    turns.look_at(which("a"), now + SETTLES * 2);
    assert_eq!(turns.until(), Some(now + SETTLES));
    turns.look_at(which("a"), now);
    assert_eq!(turns.until(), Some(now));
}

#[test]
fn no_node_has_two_passes_at_once_and_what_happens_meanwhile_is_not_lost() {
    let (mut turns, now) = (WorkQueue::new(4), Instant::now());
    turns.wake(which("a"), now, Change::Said);
    assert_eq!(turns.next(now, failures), None, "more may happen");
    assert_eq!(turns.until(), Some(now + SETTLES));
    turns.wake(which("a"), now + SETTLES / 2, Change::Said);
    assert_eq!(turns.next(now + SETTLES, failures), None, "more did");
    let now = now + SETTLES * 2;
    assert_eq!(turns.next(now, failures), Some((which("a"), false)));
    turns.wake(which("a"), now, Change::Own);
    assert_eq!(turns.next(now, failures), None);
    let now = now + SETTLES;
    turns.ended(which("a"), now, Some(Duration::from_secs(600)));
    assert_eq!(turns.next(now, failures), Some((which("a"), false)), "at once, not when it was due");
    turns.ended(which("a"), now, None);
    assert!(turns.known.is_empty(), "a node that is gone is forgotten");
}

/// A node after a trigger and a reconcile, with the end time of that reconcile.
fn looked_at() -> (WorkQueue, Instant) {
    let (mut turns, start) = (WorkQueue::new(4), Instant::now());
    turns.wake(which("a"), start, Change::Own);
    assert_eq!(turns.until(), Some(start + SETTLES), "a new node waits for what others say");
    assert!(turns.next(start + SETTLES, failures).is_some());
    let end = start + SETTLES * 4;
    turns.ended(which("a"), end, Some(Duration::from_secs(600)));
    (turns, end)
}

#[test]
fn a_node_at_rest_has_its_turn_at_once_and_then_as_its_events_settle() {
    let (mut turns, end) = looked_at();
    let first = end + SETTLES;
    turns.wake(which("a"), first, Change::Own);
    assert!(turns.next(first, failures).is_some());
    turns.ended(which("a"), first, None);
    turns.wake(which("a"), first + TICK, Change::Own);
    turns.wake(which("a"), first + TICK * 2, Change::Own);
    assert_eq!(turns.until(), Some(first + TICK * 2 + SETTLES), "each event starts it anew");
}

#[test]
fn the_echo_of_a_pass_is_waited_for() {
    let (mut turns, end) = looked_at();
    let echo = end + SETTLES / 2;
    turns.wake(which("a"), echo, Change::Own);
    assert_eq!(turns.until(), Some(echo + SETTLES));
}

/// Otherwise the node would act on a claim that the same reconcile has just written, before it sees competing claims.
#[test]
fn an_event_during_a_pass_begins_no_other_at_its_end() {
    let (mut turns, end) = looked_at();
    let began = end + SETTLES * 10;
    turns.wake(which("a"), began, Change::Own);
    assert!(turns.next(began, failures).is_some());
    let during = began + SETTLES * 3;
    turns.wake(which("a"), during, Change::Own);
    turns.ended(which("a"), during, None);
    assert_eq!(turns.until(), Some(during + SETTLES));
}

#[test]
fn what_others_say_is_never_acted_upon_at_once() {
    let (mut turns, end) = looked_at();
    let told = end + SETTLES * 10;
    turns.wake(which("a"), told, Change::Said);
    assert_eq!(turns.until(), Some(told + SETTLES));
    turns.wake(which("a"), told + SETTLES / 2, Change::Own);
    assert_eq!(turns.until(), Some(told + SETTLES / 2 + SETTLES), "nor by way of something else");
}

#[test]
fn what_nodes_say_is_heard_out_whatever_else_happens() {
    let (mut turns, end) = looked_at();
    let said = end + TICK * 16;
    for i in 0..16 {
        turns.wake(which("a"), end + TICK * i, Change::Other);
    }
    turns.wake(which("a"), said, Change::Said);
    turns.wake(which("a"), said + TICK, Change::Other);
    assert_eq!(turns.until(), Some(said + SETTLES), "later than a second after the first");
}

#[test]
fn events_that_never_end_postpone_a_pass_for_a_second_whatever_they_are() {
    for news in [Change::Own, Change::Said, Change::Other] {
        let (mut turns, end) = looked_at();
        let begins = |i: &u32| {
            turns.wake(which("a"), end + TICK * *i, news);
            turns.next(end + TICK * *i, failures).is_some()
        };
        assert_eq!((0..40).find(begins), Some(17), "{news:?}: the first after a second");
    }
}

/// An earlier claim to the same identity arrives at most a moment later.
#[test]
fn its_own_claim_is_heard_out_however_long_others_have_talked() {
    let (mut turns, end) = looked_at();
    for i in 0..16 {
        turns.wake(which("a"), end + TICK * i, Change::Said);
    }
    let claimed = end + TICK * 16;
    turns.wake(which("a"), claimed, Change::Claim);
    for i in 17..20 {
        assert_eq!(turns.until(), Some(claimed + SETTLES), "later than a second after the first word");
        turns.wake(which("a"), end + TICK * i, Change::Said);
    }
    assert!(turns.next(claimed + SETTLES, failures).is_some());
    // a claim delays only the reconcile that follows it
    turns.ended(which("a"), claimed + SETTLES, Some(Duration::from_secs(600)));
    turns.wake(which("a"), claimed + SETTLES * 3, Change::Own);
    assert_eq!(turns.until(), Some(claimed + SETTLES * 3));
}

#[test]
fn what_it_claims_during_a_pass_is_heard_out_although_it_is_due_sooner() {
    let (mut turns, end) = looked_at();
    turns.wake(which("a"), end + SETTLES, Change::Own);
    assert!(turns.next(end + SETTLES, failures).is_some());
    let claimed = end + SETTLES * 2;
    turns.wake(which("a"), claimed, Change::Claim);
    turns.ended(which("a"), claimed, Some(Duration::from_millis(1)));
    assert_eq!(turns.until(), Some(claimed + SETTLES));
}
