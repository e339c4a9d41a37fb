use proptest::prelude::*;

use super::*;

/// State of a caller after calls of these durations in seconds, one after the other, and the time of the last one.
fn pace(took: &[f64]) -> (Pace, f64) {
    let (mut pace, mut now) = (Pace::default(), 1000.0);
    for took in took {
        now += took;
        pace.ended(*took, now);
    }
    (pace, now)
}

fn seen(took: &[f64], running: &[f64], later: f64) -> Seen {
    let (pace, now) = pace(took);
    pace.seen(running.iter().copied(), now + later)
}

/// Kind of a caller next to one with quick calls.
fn kind_of(seen: Seen) -> Kind {
    kind(&[seen, self::seen(&[MILLIS; 20], &[], 0.0)])
}

/// Kind of the first caller next to the others, in any order.
fn kind(all: &[Seen]) -> Kind {
    let of = |order: &mut dyn Iterator<Item = &Seen>| {
        let mut quickest = Quickest::default();
        order.for_each(|seen| quickest.and(*seen));
        quickest.kind(all[0])
    };
    let kind = of(&mut all.iter());
    assert_eq!(of(&mut all.iter().rev()), kind);
    kind
}

const MILLIS: f64 = 0.001;

#[test]
fn a_caller_is_new_until_enough_of_its_calls_have_ended_and_slow_when_they_are_long() {
    assert_eq!(kind_of(seen(&[], &[], 0.0)), Kind::New);
    assert_eq!(kind_of(seen(&[MILLIS; 8], &[], 0.0)), Kind::New, "the observations have decayed");
    assert_eq!(kind_of(seen(&[MILLIS; 10], &[], 0.0)), Kind::Quick);
    assert_eq!(kind_of(seen(&[0.2], &[], 0.0)), Kind::Slow);
    assert_eq!(kind_of(seen(&[], &[0.02], 0.0)), Kind::New);
    assert_eq!(kind_of(seen(&[], &[MILLIS; 9], 0.0)), Kind::New, "none of them has ended");
    assert_eq!(kind_of(seen(&[], &[0.06], 0.0)), Kind::Slow, "what still runs counts as well");
    assert_eq!(kind_of(seen(&[MILLIS; 100], &[0.1, 0.1], 0.0)), Kind::Slow);
}

/// The time is measured before the lock is taken, so calls may be reported out of order.
#[test]
fn a_call_that_is_told_late_neither_ages_what_was_told_nor_makes_it_younger() {
    let is_enough = |calls: usize| {
        let mut pace = Pace::default();
        (0..calls).for_each(|_| pace.ended(MILLIS, 1000.0));
        pace.ended(MILLIS, 990.0);
        pace.seen([].into_iter(), 1000.0).is_enough
    };
    assert_eq!([6, 7].map(is_enough), [false, true]);
}

#[test]
fn many_quick_calls_do_not_hide_long_ones() {
    // a thousand to one
    let mixed: Vec<_> = (0..2002).map(|call| if call % 1001 == 1000 { 2.0 } else { MILLIS }).collect();
    assert_eq!(kind_of(seen(&mixed, &[], 0.0)), Kind::Slow);
}

#[test]
fn a_caller_is_quick_again_once_its_calls_have_been_for_a_while_and_is_forgotten_in_the_end() {
    let mut took = vec![2.0; 4];
    assert_eq!(kind_of(seen(&took, &[], 0.0)), Kind::Slow);
    took.extend([10.0 * MILLIS; 18_000]);
    assert_eq!(kind_of(seen(&took, &[], 0.0)), Kind::Quick);
    assert_eq!(kind_of(seen(&[2.0; 4], &[], 299.0)), Kind::Slow, "waiting does not make it quick");
    assert_eq!(kind_of(seen(&[2.0; 4], &[], 301.0)), Kind::New);
}

#[test]
fn nobody_is_held_back_where_the_client_is_slow_for_all() {
    let [quick, busy, long] = [MILLIS, 0.2, 0.9].map(|took| seen(&[took; 20], &[], 0.0));
    assert_eq!(kind(&[busy]), Kind::Quick, "there is no other caller");
    assert_eq!(kind(&[seen(&[1.1; 20], &[], 0.0)]), Kind::Slow, "but another caller may come");
    assert_eq!(kind(&[busy, busy]), Kind::Quick);
    assert_eq!(kind(&[busy, long]), Kind::Quick, "it does not keep the client busy");
    assert_eq!(kind(&[long, busy]), Kind::Slow);
    assert_eq!(kind(&[busy, long, quick]), Kind::Slow);
    assert_eq!(kind(&[quick, long]), Kind::Quick);
    // twice as long as another caller's is not yet long
    let tenth = seen(&[0.1; 20], &[], 0.0);
    assert_eq!(
        [0.19, 0.21].map(|took| kind(&[seen(&[took; 20], &[], 0.0), tenth])),
        [Kind::Quick, Kind::Slow]
    );
    // only ended calls are the measure, and a caller is not its own measure
    let begun = |ran| seen(&[MILLIS; 20], &[ran], 0.0);
    assert_eq!(kind(&[busy, begun(5.0)]), Kind::Slow);
    assert_eq!(kind(&[begun(0.2)]), Kind::Quick);
    assert_eq!(kind(&[begun(0.2), busy]), Kind::Quick);
    assert_eq!(kind(&[begun(0.2), seen(&[2.0 * MILLIS; 20], &[], 0.0)]), Kind::Slow);
    // callers that have not called lately or often enough, and running calls, are no measure
    assert_eq!(kind(&[busy, busy, seen(&[MILLIS; 7], &[], 0.0)]), Kind::Quick);
    assert_eq!(kind(&[busy, busy, seen(&[], &[MILLIS; 9], 0.0)]), Kind::Quick);
    assert_eq!(kind(&[busy, busy, seen(&[MILLIS; 100], &[], 61.0)]), Kind::Quick);
    let longest = seen(&[3.0; 20], &[], 0.0);
    assert_eq!(kind(&[longest, longest]), Kind::Slow, "whatever others do");
}

#[test]
fn one_caller_has_half_two_have_a_third_each_and_slow_ones_few() {
    let had = |kind, all, taken, slow| {
        let may =
            |own: &u32| ConcurrencyLimit { all, taken: taken + own, own: *own, slow: slow + own }.may(kind);
        (0..=all).take_while(may).count()
    };
    let quick = |all, taken| had(Kind::Quick, all, taken, 0);
    assert_eq!([1, 2, 3, 4, 16, 17].map(|all| quick(all, 0)), [1, 1, 2, 2, 8, 9]);
    assert_eq!([8, 12, 14, 15, 16].map(|taken| quick(16, taken)), [4, 2, 1, 1, 0]);
    let slow = |all, others| had(Kind::Slow, all, others, others);
    assert_eq!([1, 2, 4, 16, 32].map(|all| slow(all, 0)), [1, 1, 1, 2, 4]);
    assert_eq!([1, 2, 7, 8].map(|others| slow(16, others)), [1, 1, 1, 0]);
    assert_eq!([1, 16, 64].map(|all| had(Kind::New, all, 0, 0)), [1, 2, 8]);
    assert!(may_wait(2, 0, 0) && !may_wait(2, 1, 1) && !may_wait(2, 2, 0));
}

/// Callers take and free slots as the moves say, limited only by fairness. Returns the slots of each.
fn play(all: u32, kinds: &[Kind], moves: &[(usize, bool)]) -> Vec<u32> {
    let mut own = vec![0_u32; kinds.len()];
    for (who, is_take) in moves {
        let who = who % kinds.len();
        let slow = |(_, kind): &(&u32, &Kind)| **kind == Kind::Slow;
        let slow = own.iter().zip(kinds).filter(slow).map(|(own, _)| own).sum();
        let turns = ConcurrencyLimit { all, taken: own.iter().sum(), own: own[who], slow };
        match is_take {
            true if turns.may(kinds[who]) => own[who] += 1,
            false => own[who] = own[who].saturating_sub(1),
            true => {}
        }
    }
    own
}

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    prop::collection::vec(prop::sample::select(vec![Kind::Quick, Kind::New, Kind::Slow]), 1..9)
}

/// Moves that take more slots than they free.
fn moves() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..64_usize, prop::bool::weighted(0.8)), 0..300)
}

proptest! {
    #[test]
    fn whatever_slow_callers_do_a_quick_one_finds_a_turn(all in 2..200_u32, number in 1..9_usize, moves in moves()) {
        let own = play(all, &vec![Kind::Slow; number], &moves);
        let slow = own.iter().sum();
        prop_assert!(slow <= all / 2, "{own:?} of {all}");
        for kind in [Kind::Quick, Kind::New] {
            prop_assert!(ConcurrencyLimit { all, taken: slow, own: 0, slow }.may(kind), "{own:?} of {all}");
        }
    }

    #[test]
    fn whatever_two_callers_do_a_third_finds_a_turn(all in 4..200_u32, pair in kinds(), moves in moves()) {
        let pair: Vec<_> = pair.into_iter().cycle().take(2).collect();
        let own = play(all, &pair, &moves);
        let slow = own.iter().zip(&pair).filter(|(_, kind)| **kind == Kind::Slow).map(|(own, _)| own).sum();
        prop_assert!(own.iter().all(|own| *own <= all.div_ceil(2)), "{own:?} of {all}");
        prop_assert!(ConcurrencyLimit { all, taken: own.iter().sum(), own: 0, slow }.may(Kind::New), "{own:?} of {all}");
    }

    #[test]
    fn there_are_never_more_and_everybody_has_one_in_the_end(all in 1..64_u32, kinds in kinds(), moves in moves()) {
        let own = play(all, &kinds, &moves);
        prop_assert!(own.iter().sum::<u32>() <= all);
        // every caller gets a slot once all others have freed theirs
        for kind in &kinds {
            let alone = ConcurrencyLimit { all, taken: 0, own: 0, slow: 0 };
            prop_assert!(alone.may(*kind));
        }
    }

    #[test]
    fn with_more_time_in_long_calls_a_caller_is_never_quicker(
        took in prop::collection::vec(0.0001..0.05_f64, 0..50),
        long in prop::collection::vec(0.05..5.0_f64, 1..5),
    ) {
        let before = seen(&took, &[], 0.0).typical.unwrap_or_default();
        let all = [&took[..], &long[..]].concat();
        prop_assert!(seen(&all, &[], 0.0).typical.unwrap_or_default() >= before);
        prop_assert!(seen(&took, &long, 0.0).typical.unwrap_or_default() >= before);
    }
}
