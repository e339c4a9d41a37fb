//! Tests of reading by the rules of RFC 6455 section 5, at once and in small steps.

use proptest::prelude::*;

use super::Seen::{Breach, Bytes as Payload, End, Event as Sees, Failed};
use super::*;

/// What is seen of the bytes. Checks that it is the same whether they arrive at once or one by one.
fn of(bytes: &[u8], most: u64) -> Vec<Seen> {
    let at_once = seen(Stream::new(bytes, usize::MAX, false), most);
    for (step, is_slow) in [(1, false), (1, true), (3, true), (usize::MAX, true)] {
        assert_eq!(seen(Stream::new(bytes, step, is_slow), most), at_once, "{step} at a time");
    }
    at_once
}

fn ping(payload: &'static str) -> Seen {
    Sees(Event::Ping(payload.into()))
}

#[test]
fn a_message_comes_in_pieces_and_ends_whether_text_or_binary_whole_or_in_fragments() {
    for first in [1, 2] {
        assert_eq!(of(&frame(0x80 | first, b"hello"), 5), [Payload(b"hello".into()), Sees(Event::End), End]);
        assert_eq!(of(&frame(0x80 | first, b""), 0), [Sees(Event::End), End]);
        let split = [frame(first, b""), frame(0, b"he"), frame(0, b""), frame(0, b"l"), frame(0x80, b"lo")];
        assert_eq!(of(&split.concat(), 5), [Payload(b"hello".into()), Sees(Event::End), End]);
        let split = [frame(first, b"hello"), frame(0x80, b""), frame(0x82, b"again")];
        let two =
            [Payload(b"hello".into()), Sees(Event::End), Payload(b"again".into()), Sees(Event::End), End];
        assert_eq!(of(&split.concat(), 5), two);
    }
}

#[test]
fn control_frames_come_between_fragments() {
    let long = [b'x'; 125];
    let bytes = [
        frame(0x89, b""),
        frame(1, b"he"),
        frame(0x89, b"there?"),
        frame(0x8a, b"unasked"),
        frame(0x89, &long),
        frame(0x80, b"llo"),
        frame(0x88, &[&1001u16.to_be_bytes()[..], "über".as_bytes()].concat()),
        frame(0x81, b"too late"),
    ];
    assert_eq!(
        of(&bytes.concat(), 5),
        [
            ping(""),
            Payload(b"he".into()),
            ping("there?"),
            Sees(Event::Pong),
            Sees(Event::Ping(Bytes::copy_from_slice(&long))),
            Payload(b"llo".into()),
            Sees(Event::End),
            Sees(Event::Close(Some((1001, "über".to_owned())))),
            End,
        ]
    );
    assert_eq!(of(&frame(0x88, b""), 0), [Sees(Event::Close(None)), End]);
}

#[test]
fn lengths_of_every_size_are_read() {
    for length in [1, 124, 125, 126, 127, 4095, 4096, 4097, 16_383, 16_385, 65_535, 65_536, 200_000] {
        let payload: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
        let bytes = frame(0x82, &payload);
        for step in [1000, 5000, usize::MAX] {
            let seen = seen(Stream::new(&bytes, step, step == 1000), length as u64);
            assert_eq!(seen, [Payload(payload.clone()), Sees(Event::End), End], "{length}");
        }
    }
}

#[test]
fn every_fault_has_its_code() {
    let close = |bytes: &[u8]| frame(0x88, bytes);
    let unmasked = [&[0x81, 5][..], b"hello"].concat();
    let mut faults = vec![
        ("an unmasked frame", unmasked, 1002),
        ("an unmasked ping", vec![0x89, 0], 1002),
        ("a ping in fragments", frame(0x09, b""), 1002),
        ("a close in fragments", frame(0x08, b""), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a long close", frame(0x88, &[0x03; 126]), 1002),
        ("a very long pong", head(0x8a, 1 << 40), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a message within another", [frame(1, b"x"), frame(0x81, b"y")].concat(), 1002),
        (
            "a continuation after the last fragment",
            [frame(1, b"x"), frame(0x80, b"y"), frame(0, b"z")].concat(),
            1002,
        ),
        ("125 in two bytes", [&[0x81, 0xfe, 0, 125, 1, 2, 3, 4][..], &[0; 125]].concat(), 1002),
        ("65535 in eight bytes", [&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &[0; 4]].concat(), 1002),
        ("a length of 64 bits", [&[0x81, 0xff, 0x80][..], &[0; 20]].concat(), 1002),
        ("half a code", close(&[3]), 1002),
        ("a reason that is not UTF-8", close(&[3, 0xe8, 0xff, b'x']), 1007),
        ("a reason that ends within a character", close(&[3, 0xe8, 0xc3]), 1007),
        ("a large message", frame(0x81, &[0; 1001]), 1009),
        ("a very large message", [head(0x81, 1 << 62), vec![0; 4]].concat(), 1009),
        ("a message large in all", [frame(1, &[0; 1000]), frame(0x80, &[0])].concat(), 1009),
        (
            "lengths that pass 64 bits",
            [frame(1, &[0; 9]), head(0x80, usize::MAX >> 1), vec![0; 4]].concat(),
            1009,
        ),
    ];
    for bit in [0x10, 0x20, 0x40] {
        faults.push(("a reserved bit", frame(0x81 | bit, b"x"), 1002));
        faults.push(("a reserved bit of a continuation", [frame(1, b"x"), frame(bit, b"x")].concat(), 1002));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        faults.push(("an opcode", frame(0x80 | opcode, b""), 1002));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        faults.push(("a code", close(&u16::to_be_bytes(code)), 1002));
    }
    for (what, bytes, code) in faults {
        let seen = of(&[frame(0x89, b"before"), bytes, frame(0x89, b"after")].concat(), 1000);
        assert_eq!(seen[0], ping("before"), "{what}");
        assert_eq!(seen.last(), Some(&Breach(code)), "{what}");
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999] {
        let closes = Sees(Event::Close(Some((code, String::new()))));
        assert_eq!(of(&close(&code.to_be_bytes()), 0), [closes, End]);
    }
}

#[test]
fn a_message_that_is_too_large_is_known_by_its_header() {
    let mut bytes = [frame(1, &[7; 600]), frame(0x89, b""), head(0x80, 401), vec![0; 4]].concat();
    let found = of(&bytes, 1000);
    assert_eq!(found, [Payload(vec![7; 600]), ping(""), Breach(1009)]);
    bytes.extend([0; 401]);
    assert_eq!(of(&bytes, 1001).last(), Some(&End));
}

#[test]
fn the_bound_of_a_message_can_be_set_later() {
    let bytes = [frame(0x81, &[7; 10]), frame(0x81, &[7; 20]), frame(0x81, &[7; 20])].concat();
    let mut frames = Frames::new(Stream::new(&bytes, usize::MAX, false), Bytes::new(), 10);
    let mut next = || once(frames.next()).map(Seen::of);
    assert_eq!([next(), next()].map(|seen| seen.is_ready()), [true, true]);
    frames.set_most(20);
    let mut next = || once(frames.next()).map(Seen::of);
    assert_eq!([next(), next()], [Poll::Ready(Payload(vec![7; 20])), Poll::Ready(Sees(Event::End))]);
    frames.set_most(19);
    assert_eq!(once(frames.next()).map(Seen::of), Poll::Ready(Breach(1009)));
}

#[test]
fn a_stream_that_ends_early_has_failed() {
    let message = [frame(1, b"he"), frame(0x89, b"?"), frame(0x80, b"llo")].concat();
    let pinged = [message.clone(), frame(0x89, b"there?")].concat();
    let whole = [pinged.clone(), frame(0x88, b"")].concat();
    for end in 0..=whole.len() {
        let last = of(&whole[..end], 5).pop().unwrap();
        let is_between = [0, message.len(), pinged.len(), whole.len()].contains(&end);
        assert_eq!(last, if is_between { End } else { Failed(io::ErrorKind::UnexpectedEof) }, "{end}");
    }
}

#[test]
fn nothing_is_read_before_it_is_asked_for_and_little_beyond() {
    let bytes = frame(0x81, b"twenty bytes of text").repeat(10_000);
    let mut frames = Frames::new(Stream::new(&bytes, usize::MAX, false), Bytes::new(), 1000);
    let mut asked = 0;
    while asked < 3000 {
        // a message that has begun is not counted yet
        let beyond = frames.stream.read.saturating_sub((asked + 1) * bytes.len() / 10_000);
        assert!(beyond <= 4 << 10, "{beyond} bytes after {asked} messages");
        let Poll::Ready(Ok(Some(event))) = once(frames.next()) else { panic!("no event") };
        asked += usize::from(event == Event::End);
    }
    // a known frame is read in larger steps, and nothing beyond it
    let bytes = [frame(0x81, &[7; 50_000]), frame(0x89, b"")].concat();
    let mut frames = Frames::new(Stream::new(&bytes, usize::MAX, false), Bytes::new(), 50_000);
    let mut reads = 0;
    while !matches!(once(frames.next()), Poll::Ready(Ok(Some(Event::End)))) {
        reads += 1;
        assert_eq!(frames.held.len(), 0, "{reads}");
    }
    assert_eq!(reads, 4);
}

#[test]
fn an_idle_socket_holds_nothing() {
    let bytes = [frame(0x81, &[7; 100]), frame(0x89, b"a ping"), frame(0x89, b"another")].concat();
    let mut frames = Frames::new(Stream::new(&bytes, usize::MAX, true), Bytes::new(), 5000);
    assert!(once(frames.next()).is_pending());
    assert_eq!((frames.held.len(), frames.reader.held()), (0, 0));
    while !matches!(once(frames.next()), Poll::Ready(Ok(Some(Event::Ping(_))))) {}
    assert!(frames.held.is_unique(), "another frame");
    while !matches!(once(frames.next()), Poll::Ready(Ok(Some(Event::Ping(_))))) {}
    assert!(once(frames.next()).is_pending());
    assert_eq!((frames.held.is_unique(), frames.reader.held()), (false, 0), "memory is retained");
    let idle = size_of::<Frames<Stream>>() - size_of::<Stream>();
    assert!(idle <= 176, "{idle} bytes beside the stream");
}

#[test]
fn a_mask_is_taken_off_at_every_offset() {
    let mask = [1, 2, 3, 4];
    for length in 0..40 {
        let mut bytes = vec![0xf0; length];
        unmask(&mut bytes, mask);
        let by_hand: Vec<u8> = (0..length).map(|at| 0xf0 ^ mask[at % 4]).collect();
        assert_eq!(bytes, by_hand);
    }
}

/// Bytes that look like frames, some of them broken.
pub fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0u8, 1, 2, 0x80, 0x81, 0x82, 0x89, 0x8a]),
        1 => any::<u8>(),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..200);
    let frames = prop::collection::vec((first, payload), 0..12).prop_map(|frames| {
        frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect::<Vec<u8>>()
    });
    let broken = (frames, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3));
    let broken = broken.prop_map(|(mut bytes, changes)| {
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    });
    prop_oneof![4 => broken, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_comes_no_message_passes_its_bound(bytes in hostile(), most in 0..400_u64, step in 1..40_usize) {
        let at_once = seen(Stream::new(&bytes, usize::MAX, false), most);
        let mut so_far = 0;
        for seen in &at_once {
            match seen {
                Payload(bytes) => so_far += bytes.len() as u64,
                Sees(Event::End) => so_far = 0,
                _ => {}
            }
            prop_assert!(so_far <= most, "{so_far} of {most}");
        }
        prop_assert_eq!(seen(Stream::new(&bytes, step, true), most), at_once);
    }
}

#[test]
fn while_a_message_is_kept_from_beginning_control_frames_are_read_and_nothing_of_it_is_lost() {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let text = |text: &str| Payload(text.as_bytes().to_vec());
    for (kept, room) in [
        (frame(0x81, b"hello!"), 6),
        ([frame(1, b"he"), frame(0x80, b"llo!")].concat(), 6),
        ([frame(1, b""), frame(0x80, b"hello!")].concat(), 6),
        (frame(0x81, b"hello!"), 0),
    ] {
        let small = if room > 0 { frame(0x81, b"small") } else { Vec::new() };
        let bytes = [frame(0x89, b"one"), small, frame(0x89, b"two"), kept, frame(0x89, b"three")].concat();
        for step in [1, 3, usize::MAX] {
            let mut frames = Frames::new(Stream::new(&bytes, step, false), Bytes::new(), 100);
            let mut seen = Vec::new();
            frames.let_begin(Some(room));
            while let Poll::Ready(event) = frames.poll_event(&mut cx) {
                put(&mut seen, Seen::of(event));
            }
            let mut before = vec![ping("one")];
            if room > 0 {
                before.extend([text("small"), Sees(Event::End)]);
            }
            before.push(ping("two"));
            assert!(seen == before && frames.is_kept(), "{step} at a time: {seen:?}");
            frames.let_begin(None);
            let mut rest = Vec::new();
            while rest.last() != Some(&End) {
                let Poll::Ready(event) = frames.poll_event(&mut cx) else { panic!("{rest:?}") };
                put(&mut rest, Seen::of(event));
            }
            assert_eq!(rest, [text("hello!"), Sees(Event::End), ping("three"), End], "{step} at a time");
        }
    }
    let mut empty = Frames::new(Stream::new(&frame(0x81, b""), 9, false), Bytes::new(), 100);
    empty.let_begin(Some(0));
    assert!(empty.poll_event(&mut cx).is_pending(), "one without a byte is one more");
}
