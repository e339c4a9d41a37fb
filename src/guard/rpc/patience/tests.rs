use super::*;

#[test]
fn one_rests_when_nothing_is_under_way_and_everything_is_out() {
    let long = Duration::from_secs(60);
    let patience = Patience::new(Bounds { idle: long, header: long, request: long });
    patience.doing().idle += long;
    assert!(!patience.rests(), "it may say something yet");
    patience.doing().idle -= long + RESTS;
    assert!(patience.rests());
    patience.is_unsent.store(true, Ordering::Relaxed);
    assert!(!patience.rests());
    patience.is_unsent.store(false, Ordering::Relaxed);
    let changes: [fn(&mut Doing); 3] = [
        |doing| doing.requests.push(doing.idle),
        |doing| doing.header = Some(doing.idle),
        |doing| doing.released = true,
    ];
    for change in changes {
        let before = patience.doing().clone();
        change(&mut patience.doing());
        assert!(!patience.rests());
        *patience.doing() = before;
    }
    assert!(patience.rests());
}

#[test]
fn whoever_is_known_no_longer_has_the_last_answer_first() {
    let long = Duration::from_secs(60);
    let patience = Patience::new(Bounds { idle: 2 * long, header: long, request: long });
    let began = patience.doing().idle;
    patience.known_until(began);
    let due = |is_http1| patience.due(is_http1).map(|(at, bound)| (at - began, bound));
    assert_eq!(due(true), Some((RESTS, Bound::Identity)));
    assert_eq!(due(false), Some((long, Bound::Identity)), "what HTTP/2 holds is not known");
    patience.is_unsent.store(true, Ordering::Relaxed);
    assert_eq!(due(true), Some((long, Bound::Identity)));
    patience.known_until(began + 3 * long);
    assert_eq!(due(true), Some((2 * long, Bound::Idle)));
}

#[test]
fn whoever_is_not_known_lives_so_long_whatever_it_says() {
    let long = 10 * UNKNOWN;
    let patience = Patience::new(Bounds { idle: long, header: long, request: long });
    let end = Some((patience.began + UNKNOWN, Bound::Identity));
    assert_eq!(patience.due(true), end);
    patience.heard();
    assert_eq!(patience.due(true), end);
    drop(patience.begin());
    assert_eq!(patience.due(true), end);
    patience.known_until(patience.began + 2 * long);
    assert_eq!(patience.due(true).map(|(_, bound)| bound), Some(Bound::Idle));
}
