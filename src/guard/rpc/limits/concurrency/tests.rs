use super::*;

fn share(slots: u32, waiting: u32) -> Share {
    Share { slots, waiting, deadlines: Duration::from_secs(5) }
}

fn account(name: &str) -> Arc<CallerState> {
    Arc::new(CallerState::new(name))
}

/// Takes as many slots as the caller may have now.
fn all(slots: &ConcurrencyLimit, of: &Arc<CallerState>, share: Share) -> Vec<ConcurrencySlot> {
    std::iter::from_fn(|| slots.take_now(of, share)).collect()
}

/// Makes `number` calls one after the other, each of this duration.
async fn calls(slots: &ConcurrencyLimit, of: &Arc<CallerState>, number: usize, millis: u64) {
    for _ in 0..number {
        let turn = slots.take(of, share(16, 256)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(turn);
    }
}

#[tokio::test(start_paused = true)]
async fn turns_are_had_waited_for_and_given_back() {
    let (slots, one, share) = (ConcurrencyLimit::default(), account("a"), share(16, 2));
    let mut had = all(&slots, &one, share);
    assert_eq!(had.len(), 2, "the caller is new");
    let (third, fourth) = tokio::join!(slots.take(&one, share), slots.take(&one, share));
    assert_eq!(third.unwrap_err().reason, "client_busy", "it waited for its deadline");
    assert_eq!(fourth.unwrap_err().reason, "client_busy", "no other call of this caller may wait");
    assert_eq!(slots.load(), (0, 2));
    let (third, ()) = tokio::join!(slots.take(&one, share), async { drop(had.pop()) });
    assert!(third.is_ok());
    drop((third, had));
    assert_eq!(slots.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn quick_callers_have_half_of_the_turns_and_slow_ones_few() {
    let slots = ConcurrencyLimit::default();
    let [quick, slow, long, other] = ["quick", "slow", "long", "other"].map(account);
    calls(&slots, &quick, 10, 1).await;
    let held = all(&slots, &quick, share(16, 256));
    assert_eq!(held.len(), 8);
    drop(held);
    for one in [&slow, &long] {
        calls(&slots, one, 4, 500).await;
    }
    calls(&slots, &quick, 1, 1).await;
    let held = [&slow, &long].map(|one| all(&slots, one, share(16, 256)));
    assert_eq!(held.each_ref().map(Vec::len), [2, 1]);
    assert_eq!(all(&slots, &quick, share(16, 256)).len(), 7);
    assert_eq!(all(&slots, &other, share(16, 256)).len(), 2);
    let load = |taken, is_slow| Load { waiting: 0, taken, is_slow };
    let loads = slots.loads();
    assert_eq!(
        ["slow", "quick", "other"].map(|name| loads[name]),
        [load(2, true), load(0, false), load(0, false)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_and_has_not_ended_holds_a_caller_back() {
    let (slots, one) = (ConcurrencyLimit::default(), account("a"));
    calls(&slots, &one, 10, 1).await;
    let mut held: Vec<_> = (0..3).filter_map(|_| slots.take_now(&one, share(16, 256))).collect();
    assert_eq!(held.len(), 3);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for left in [2, 1] {
        assert!(slots.take_now(&one, share(16, 256)).is_none());
        held.pop();
        assert_eq!(held.len(), left);
    }
    assert!(slots.take_now(&one, share(16, 256)).is_some());
}

#[tokio::test(start_paused = true)]
async fn whoever_has_fewest_turns_is_next_and_its_own_calls_come_in_order() {
    let (slots, share) = (Arc::new(ConcurrencyLimit::default()), share(4, 256));
    let [one, two, three] = ["a", "b", "c"].map(account);
    let mut held: Vec<_> = [&one, &two, &three].iter().filter_map(|of| slots.take_now(of, share)).collect();
    held.extend(slots.take_now(&account("d"), share));
    assert_eq!((held.len(), slots.load()), (4, (0, 4)));
    let (told, mut order) = tokio::sync::mpsc::unbounded_channel();
    for (of, number) in [(&one, 0), (&one, 1), (&account("e"), 2)] {
        let (slots, of, told) = (slots.clone(), of.clone(), told.clone());
        tokio::spawn(async move {
            let turn = slots.take(&of, share).await;
            let _ = told.send((number, turn));
        });
        tokio::task::yield_now().await;
    }
    assert_eq!(slots.load(), (3, 4));
    let mut next = Vec::new();
    while let Some(turn) = held.pop() {
        drop(turn);
        while let Ok(Some((number, turn))) =
            tokio::time::timeout(Duration::from_millis(1), order.recv()).await
        {
            next.push(number);
            held.insert(0, turn.unwrap());
        }
    }
    assert_eq!((next, slots.load()), (vec![2, 0, 1], (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_keeps_no_turn() {
    let (slots, one, share) = (ConcurrencyLimit::default(), account("a"), share(1, 16));
    let held = slots.take_now(&one, share).unwrap();
    {
        let mut waits = Box::pin(slots.take(&one, share));
        assert!(futures::poll!(&mut waits).is_pending());
        let mut given_up = Box::pin(slots.take(&one, share));
        assert!(futures::poll!(&mut given_up).is_pending());
        assert_eq!(slots.load(), (2, 1));
        drop(given_up);
        assert_eq!(slots.load(), (1, 1));
        drop(held);
        assert_eq!(slots.load(), (0, 1), "it has a slot");
        // dropping the wait frees the slot
    }
    assert_eq!(slots.load(), (0, 0));
    assert!(slots.take_now(&one, share).is_some());
}

#[tokio::test(start_paused = true)]
async fn with_another_number_there_are_never_more_than_the_larger_of_both() {
    let (slots, accounts) = (ConcurrencyLimit::default(), ["a", "b", "c", "d"].map(account));
    let take = |number| -> Vec<_> {
        accounts.iter().filter_map(|of| slots.take_now(of, share(number, 16))).collect()
    };
    let mut taken = take(4);
    assert_eq!(slots.load(), (0, 4));
    for left in [3, 2] {
        taken.pop();
        assert!(take(2).is_empty());
        assert_eq!(slots.load(), (0, left));
    }
    taken.pop();
    taken.extend(take(2));
    assert_eq!((taken.len(), slots.load()), (2, (0, 2)));
    let waits = slots.take(&accounts[3], share(2, 16));
    let more = async { assert!(slots.take_now(&accounts[0], share(3, 16)).is_none()) };
    let (waited, ()) = tokio::join!(waits, more);
    assert!(waited.is_ok(), "waiting calls get the new slots");
    assert_eq!(slots.load(), (0, 3));
}
