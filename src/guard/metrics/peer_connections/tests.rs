use super::*;

const PORT: u16 = 30303;

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

fn url(key: char, address: &str) -> String {
    format!("enode://{}@{address}?discport=0", key.to_string().repeat(128))
}

fn id(key: char) -> ShortId {
    ShortId::of(&key.to_string().repeat(128)).unwrap()
}

fn pair(own: &str, other: &str) -> Pair {
    (own.parse().unwrap(), other.parse().unwrap())
}

/// Peers `a` and `b` in the cluster, `c` on the internet.
fn three() -> Peers {
    let mut peers = Peers::of(PORT);
    peers.list(&[url('a', "10.96.0.7:30303"), url('b', "[fd00::7]:30303"), url('c', "198.51.100.7:31000")]);
    peers
}

fn called(other: &str) -> Pair {
    pair("10.42.0.9:40000", other)
}

fn told(peers: &Peers, second: u64) -> (u32, u32, Vec<ShortId>) {
    let told = peers.told(at(second)).expect("seen");
    (told.missing, told.seconds, told.suspects.into_iter().map(|suspect| suspect.id).collect())
}

#[test]
fn the_kernels_table_is_read_in_both_families_and_only_what_is_established() {
    let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
    let (own, other) = (word([10, 42, 0, 9]), word([10, 96, 0, 7]));
    let mapped = [word([0; 4]), word([0; 4]), word([0, 0, 255, 255]), other.clone()].concat();
    let six = [word([0xfd, 0, 0, 0]), word([0; 4]), word([0; 4]), word([0, 0, 0, 7])].concat();
    let table = format!(
        "  sl  local_address rem_address   st tx_queue\n\
         0: {own}:9C40 {other}:765F 01 00000000:00000000 00:00000000\n\
         1: {own}:9C41 {other}:765F 02 00000000:00000000\n\
         2: {own}:765F {other}:9C42 06\n\
         3: {mapped}:765F {six}:9C43 01 0\n\
         4: {own}:9C40 01\n\
         5: xyz:9C40 {other}:765F 01\n\
         6: {own} {other}:765F 01\n"
    );
    let seen: Vec<_> = established(&table).collect();
    assert_eq!(
        seen,
        [pair("10.42.0.9:40000", "10.96.0.7:30303"), pair("10.96.0.7:30303", "[fd00::7]:40003")]
    );
}

#[test]
fn peers_whom_the_client_has_called_are_found_by_their_address_once_the_connection_lasts() {
    let mut peers = three();
    assert_eq!(peers.told(at(0)), None, "not observed yet");
    let all = [called("10.96.0.7:30303"), called("[fd00::7]:30303"), called("198.51.100.7:31000")];
    peers.look(all, at(0));
    assert_eq!(told(&peers, 0), (3, 0, vec![id('a'), id('b'), id('c')]), "the handshakes may still fail");
    peers.look(all, at(9));
    assert_eq!(told(&peers, 9).0, 3);
    peers.look(all, at(10));
    assert_eq!(told(&peers, 10), (0, 0, vec![]));
    peers.look(all[1..].iter().copied(), at(15));
    assert_eq!(told(&peers, 20), (1, 5, vec![id('a')]));
    // the peer is back on another connection
    let back = [pair("10.42.0.9:40001", "10.96.0.7:30303"), all[1], all[2]];
    peers.look(back, at(20));
    assert_eq!(told(&peers, 20).0, 1);
    peers.look(back, at(30));
    assert_eq!(told(&peers, 30), (0, 0, vec![]));
}

#[test]
fn whoever_has_called_the_client_counts_as_one_of_those_that_are_not_found() {
    let mut peers = three();
    let inbound = |from: &str| pair("10.42.0.9:30303", from);
    let seen = [called("10.96.0.7:30303"), inbound("10.42.1.5:51000")];
    for second in [0, 10, 130] {
        peers.look(seen, at(second));
    }
    assert_eq!(told(&peers, 130), (1, 130, vec![id('b'), id('c')]), "one of the two");
    // a second inbound connection may be the other peer's, so none is known to be missing
    let seen = [seen[0], seen[1], inbound("10.42.1.6:51000")];
    for second in [140, 150] {
        peers.look(seen, at(second));
    }
    assert_eq!(told(&peers, 150), (0, 0, vec![]));
    // some Service implementations show the pod's address instead of the Service's
    let mut peers = three();
    let translated = [called("10.42.1.5:30303"), called("10.42.1.6:30303"), called("198.51.100.7:31000")];
    for second in [0, 10] {
        peers.look(translated, at(second));
    }
    assert_eq!(told(&peers, 10), (0, 0, vec![]));
}

#[test]
fn connections_that_end_within_the_handshake_are_none_however_often_they_come() {
    let mut peers = three();
    for second in (0..=200).step_by(5) {
        // another port each time
        let own = format!("10.42.0.9:{}", 40_000 + second);
        peers.look([pair(&own, "10.96.0.7:30303"), pair("10.42.0.9:9545", "10.42.0.1:60000")], at(second));
    }
    let (missing, seconds, _) = told(&peers, 200);
    assert_eq!((missing, seconds), (3, 200));
}

#[test]
fn a_peer_is_tried_only_while_some_are_missing_and_one_of_the_internet_rarely_once_it_answers() {
    let mut peers = three();
    let mut tried: BTreeMap<ShortId, Vec<u64>> = BTreeMap::new();
    let seen = [called("10.96.0.7:30303")];
    for second in (0..1300).step_by(5) {
        peers.look(seen, at(second));
        for (one, _) in peers.due(at(second)) {
            tried.entry(one).or_default().push(second);
            let trial = if second < 100 { Trial::TimedOut } else { Trial::Reached };
            peers.tried(one, trial, at(second));
        }
    }
    assert!(!tried.contains_key(&id('a')), "it is connected");
    assert_eq!(tried[&id('b')][..4], [30, 60, 90, 120]);
    assert_eq!(tried[&id('b')].len(), 43);
    assert_eq!(tried[&id('c')], [30, 60, 90, 120, 720]);
    let all = [seen[0], called("[fd00::7]:30303"), called("198.51.100.7:31000")];
    for second in [2000, 2010] {
        peers.look(all, at(second));
    }
    assert!(peers.due(at(2010)).is_empty());
}

#[test]
fn whoever_cannot_be_reached_is_named_first_and_the_number_of_names_is_bounded() {
    let mut peers = Peers::of(PORT);
    let urls: Vec<_> = (0..600u32)
        .map(|n| format!("enode://{n:016x}{}@10.0.{}.{}:30303?discport=0", "0".repeat(112), n / 250, n % 250))
        .collect();
    peers.list(&urls);
    for second in [0, 30] {
        peers.look([], at(second));
    }
    let due = peers.due(at(30));
    assert_eq!(due.len(), AT_ONCE);
    peers.tried(due[3].0, Trial::Reached, at(30));
    peers.tried(due[4].0, Trial::Refused, at(30));
    let told = peers.told(at(30)).unwrap();
    assert_eq!((told.listed, told.missing, told.suspects.len()), (512, 512, NAMED));
    assert_eq!(told.suspects[0], Suspect { id: due[4].0, trial: Trial::Refused });
    let next: Vec<_> = peers.due(at(35)).into_iter().map(|(id, _)| id).collect();
    assert!(!next.contains(&due[3].0) && next.len() == AT_ONCE, "one after the other");
}

#[test]
fn who_is_listed_no_more_is_forgotten_and_whose_address_changes_is_tried_anew() {
    let mut peers = three();
    for second in [0, 30] {
        peers.look([], at(second));
    }
    for key in ['a', 'b', 'c'] {
        peers.tried(id(key), Trial::Refused, at(30));
    }
    peers.list(&[
        url('a', "10.96.0.7:30303"),
        url('b', "10.96.0.8:30303"),
        url('b', "10.96.0.9:30303"),
        "enode://short@10.0.0.1:1".into(),
        url('d', "a-name:30303"),
    ]);
    peers.look([], at(35));
    let told = peers.told(at(35)).unwrap();
    let trials: Vec<_> = told.suspects.iter().map(|suspect| (suspect.id, suspect.trial)).collect();
    assert_eq!(trials, [(id('a'), Trial::Refused), (id('b'), Trial::Untried)]);
    assert_eq!(peers.due(at(35)), [(id('b'), "10.96.0.8:30303".parse().unwrap())]);
    peers.list(&[]);
    peers.look([], at(40));
    assert_eq!(peers.told(at(40)), Some(Connections::default()));
    peers.is_blind();
    assert_eq!(peers.told(at(45)), None);
}
