use super::*;

#[test]
fn a_wait_doubles_up_to_five_minutes() {
    let seconds = (1..=10).map(|attempt| delay(attempt, 0).as_secs()).collect::<Vec<_>>();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
}

#[test]
fn no_number_of_failures_waits_longer_than_the_longest_wait() {
    for attempt in [0, 11, 17, 18, 40, u32::MAX] {
        let wait = delay(attempt, 0);
        assert!((FIRST..=LAST).contains(&wait), "{attempt}: {wait:?}");
        assert!(delay(attempt, 999) < LAST.mul_f64(1.5), "{attempt}");
    }
    assert_eq!(delay(u32::MAX, 0), LAST);
}

#[test]
fn jitter_adds_up_to_half_and_takes_nothing_away() {
    for attempt in 1..12 {
        let base = delay(attempt, 0);
        let waits: Vec<_> = (0..1000).map(|random| delay(attempt, random)).collect();
        assert!(waits.iter().all(|wait| *wait >= base && *wait < base.mul_f64(1.5)), "{attempt}");
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "each draw waits its own time");
        assert!(waits[999] > base.mul_f64(1.49), "the whole range is used");
    }
    assert!(delay(1, u64::MAX) < Duration::from_millis(1500));
}

#[test]
fn failures_in_a_row_wait_longer_each_time() {
    let backoff = Backoff::default();
    for attempt in 1..=12 {
        let (wait, base) = (backoff.next("ledger", "alice"), delay(attempt, 0));
        assert!(wait >= base && wait < base.mul_f64(1.5), "{attempt}: {wait:?}");
    }
}

#[test]
fn a_success_begins_anew() {
    let backoff = Backoff::default();
    for _ in 0..6 {
        backoff.next("ledger", "alice");
    }
    assert!(backoff.next("ledger", "alice") >= Duration::from_secs(64));
    backoff.forget("ledger", "alice");
    assert!(backoff.next("ledger", "alice") < Duration::from_secs(2));
}

#[test]
fn failures_are_counted_for_each_node_alone() {
    let backoff = Backoff::default();
    for _ in 0..6 {
        backoff.next("ledger", "alice");
    }
    assert!(backoff.next("ledger", "bob") < Duration::from_secs(2), "another name");
    assert!(backoff.next("other", "alice") < Duration::from_secs(2), "another namespace");
    backoff.forget("ledger", "bob");
    backoff.forget("other", "alice");
    assert!(
        backoff.next("ledger", "alice") >= Duration::from_secs(64),
        "the success of others changes nothing"
    );
}
