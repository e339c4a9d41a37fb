use super::*;

#[test]
fn one_rests_when_nothing_is_under_way_and_everything_is_out() {
    let long = Duration::from_secs(60);
    let deadlines = Deadlines::new(Bounds { idle: long, header: long, request: long });
    deadlines.doing().idle += long;
    assert!(!deadlines.rests(), "more may follow soon");
    deadlines.doing().idle -= long + RESTS;
    assert!(deadlines.rests());
    deadlines.is_unsent.store(true, Ordering::Relaxed);
    assert!(!deadlines.rests());
    deadlines.is_unsent.store(false, Ordering::Relaxed);
    let changes: [fn(&mut Doing); 3] = [
        |doing| doing.requests.push(doing.idle),
        |doing| doing.header = Some(doing.idle),
        |doing| doing.released = true,
    ];
    for change in changes {
        let before = deadlines.doing().clone();
        change(&mut deadlines.doing());
        assert!(!deadlines.rests());
        *deadlines.doing() = before;
    }
    assert!(deadlines.rests());
}

#[test]
fn whoever_is_known_no_longer_has_the_last_answer_first() {
    let long = Duration::from_secs(60);
    let deadlines = Deadlines::new(Bounds { idle: 2 * long, header: long, request: long });
    let began = deadlines.doing().idle;
    deadlines.known_until(began);
    let due = |is_http1| deadlines.due(is_http1).map(|(at, bound)| (at - began, bound));
    assert_eq!(due(true), Some((RESTS, Bound::Identity)));
    assert_eq!(due(false), Some((long, Bound::Identity)), "HTTP/2 may hold unsent bytes");
    deadlines.is_unsent.store(true, Ordering::Relaxed);
    assert_eq!(due(true), Some((long, Bound::Identity)));
    deadlines.known_until(began + 3 * long);
    assert_eq!(due(true), Some((2 * long, Bound::Idle)));
}

#[test]
fn whoever_is_not_known_lives_so_long_whatever_it_says() {
    let long = 10 * UNKNOWN;
    let deadlines = Deadlines::new(Bounds { idle: long, header: long, request: long });
    let end = Some((deadlines.began + UNKNOWN, Bound::Identity));
    assert_eq!(deadlines.due(true), end);
    deadlines.heard();
    assert_eq!(deadlines.due(true), end);
    drop(deadlines.begin());
    assert_eq!(deadlines.due(true), end);
    deadlines.known_until(deadlines.began + 2 * long);
    assert_eq!(deadlines.due(true).map(|(_, bound)| bound), Some(Bound::Idle));
}
