//! Tests of writing: order of the frames, at once and in small steps.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Writes the whole queue. Whenever it is pending, the future is dropped and created again.
fn written(frames: &mut Frames<Stream>) -> Vec<u8> {
    while once(frames.written()).map(Result::unwrap).is_pending() {}
    assert!(!frames.is_writing() && frames.waiting() == 0);
    std::mem::take(&mut frames.stream.output)
}

/// Frames over a stream that takes `step` bytes at a time.
fn frames(step: usize) -> Frames<Stream> {
    Frames::new(Stream::new(b"", step, step < 1000), Bytes::new(), 0)
}

/// A frame without a mask, as the server writes it.
fn out(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first, payload.len());
    out[1] &= 0x7f;
    [out, payload.to_vec()].concat()
}

#[test]
fn messages_fragments_and_control_frames_are_written_as_the_rfc_has_them() {
    for step in [1, 7, usize::MAX] {
        let mut frames = frames(step);
        frames.text("hello".into());
        assert_eq!(frames.waiting(), 7);
        assert_eq!(written(&mut frames), out(0x81, b"hello"));
        frames.fragment("he".into(), true, false);
        frames.fragment("l".into(), false, false);
        frames.fragment("lo".into(), false, false);
        frames.fragment(Bytes::new(), false, true);
        let split = [out(1, b"he"), out(0, b"l"), out(0, b"lo"), out(0x80, b"")];
        assert_eq!(written(&mut frames), split.concat());
        frames.ping("p".into());
        assert_eq!(written(&mut frames), out(0x89, b"p"));
        frames.text(Bytes::new());
        assert_eq!(written(&mut frames), out(0x81, b""));
        for length in [125, 126, 127, 65_535, 65_536, 100_000] {
            let payload = vec![b'x'; length];
            if step > 1 {
                frames.text(payload.clone().into());
                assert_eq!(written(&mut frames), out(0x81, &payload), "{length}");
            }
        }
        frames.close(1001, "later");
        assert_eq!(written(&mut frames), out(0x88, b"\x03\xe9later"));
    }
}

#[test]
fn a_frame_of_several_parts_is_one_frame() {
    for step in [1, usize::MAX] {
        let mut frames = frames(step);
        frames.frame(["{".into(), Bytes::new(), "\"id\":7".into(), "}".into()], true, true);
        assert_eq!(written(&mut frames), out(0x81, b"{\"id\":7}"));
        frames.frame([Bytes::new(), Bytes::new()], true, false);
        frames.frame([], false, true);
        assert_eq!(written(&mut frames), [out(1, b""), out(0x80, b"")].concat());
    }
}

#[test]
fn what_waits_is_written_at_once_and_flushed_once() {
    let mut frames = frames(usize::MAX);
    assert!(once(frames.written()).is_ready());
    assert_eq!((frames.stream.writes, frames.stream.flushes), (0, 0), "the queue was empty");
    for at in 0..7 {
        frames.fragment("xyz".into(), at == 0, at == 6);
    }
    frames.ping(Bytes::new());
    written(&mut frames);
    assert_eq!((frames.stream.writes, frames.stream.flushes), (1, 1));
}

#[test]
fn a_flush_that_waits_is_gone_on_with() {
    let mut frames = frames(10);
    frames.text("four".into());
    while frames.waiting() > 0 {
        assert!(once(frames.written()).is_pending());
    }
    assert!(frames.is_writing() && frames.stream.flushes == 0);
    written(&mut frames);
    assert_eq!((frames.stream.writes, frames.stream.flushes), (1, 1));
}

#[test]
fn a_control_frame_waits_for_the_frame_that_has_begun_and_for_no_other() {
    for begun in 1..10 {
        let mut frames = frames(1);
        frames.frame(["abc".into(), "defg".into()], true, false);
        frames.fragment("second".into(), false, true);
        while frames.stream.output.len() < begun {
            assert!(once(frames.written()).is_pending());
        }
        frames.pong("one".into());
        frames.ping("two".into());
        frames.pong("three".into());
        let all = [out(1, b"abcdefg"), out(0x8a, b"three"), out(0x89, b"two"), out(0x80, b"second")];
        assert_eq!(written(&mut frames), all.concat(), "{begun}");
    }
}

#[test]
fn a_flood_of_pings_is_answered_once_while_nothing_can_be_written() {
    let mut frames = frames(usize::MAX);
    frames.text("before".into());
    for at in 0..10_000 {
        frames.pong(at.to_string().into());
        frames.ping(Bytes::new());
    }
    assert_eq!(frames.waiting(), 8 + 6 + 2);
    assert_eq!(written(&mut frames), [out(0x8a, b"9999"), out(0x89, b""), out(0x81, b"before")].concat());
}

#[test]
fn a_close_goes_after_the_frame_that_has_begun_and_nothing_after_it() {
    for begun in [0, 1, 4] {
        let mut frames = frames(1);
        frames.fragment("first".into(), true, false);
        frames.fragment("second".into(), false, true);
        frames.pong("p".into());
        let before = if begun == 0 { vec![] } else { out(0x8a, b"p") };
        while frames.stream.output.len() < before.len() + begun {
            assert!(once(frames.written()).is_pending());
        }
        frames.close(1008, "");
        frames.close(1000, "");
        frames.text("late".into());
        frames.ping("late".into());
        let first = if begun == 0 { out(0x8a, b"p") } else { [before, out(1, b"first")].concat() };
        assert_eq!(written(&mut frames), [first, out(0x88, &1008u16.to_be_bytes())].concat(), "{begun}");
    }
    let mut frames = frames(100);
    frames.close(1005, "unsaid");
    assert_eq!(written(&mut frames), out(0x88, b""));
}

#[test]
fn what_is_too_long_for_a_control_frame_is_cut() {
    let mut frames = frames(usize::MAX);
    frames.ping(vec![b'x'; 126].into());
    frames.close(1000, &"ü".repeat(100));
    let reason = [&[3, 0xe8][..], "ü".repeat(61).as_bytes()].concat();
    assert_eq!(written(&mut frames), [out(0x89, &[b'x'; 125]), out(0x88, &reason)].concat());
}

#[test]
fn what_is_written_is_dropped_at_once_and_what_waits_is_not() {
    struct Charged {
        _charge: Arc<()>,
    }
    impl AsRef<[u8]> for Charged {
        fn as_ref(&self) -> &[u8] {
            b"four"
        }
    }
    let charge = Arc::new(());
    let owner = |charge: &Arc<()>| Bytes::from_owner(Charged { _charge: charge.clone() });
    let mut frames = frames(1);
    frames.fragment(owner(&charge), true, false);
    frames.fragment(owner(&charge), false, true);
    for (written, held) in [(5, 3), (6, 2), (11, 2), (12, 1)] {
        while frames.stream.output.len() < written {
            let _ = once(frames.written());
        }
        assert_eq!(Arc::strong_count(&charge), held, "{written}");
    }
}

#[test]
fn a_stream_that_fails_is_told_once_and_holds_nothing() {
    let mut frames = frames(10);
    frames.stream.takes = 20;
    frames.text(vec![b'x'; 100].into());
    let failed = loop {
        if let Poll::Ready(written) = once(frames.written()) {
            break written;
        }
    };
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((frames.is_writing(), frames.waiting()), (false, 0));
    frames.text("more".into());
    assert!(!frames.is_writing());
}

#[test]
fn it_reads_while_it_cannot_write() {
    let input = [frame(0x81, b"hello"), frame(0x89, b"?")].concat();
    let mut frames = Frames::new(Stream::new(&input, 2, true), Bytes::new(), 5);
    frames.text("an answer".into());
    let (mut read, mut writes) = (Vec::new(), 0);
    while read.last() != Some(&Seen::End) {
        match once(frames.progress(true)).map(Result::unwrap) {
            Poll::Ready(Progress::Written) => writes += 1,
            Poll::Ready(Progress::Read(event)) => {
                if let Some(Event::Ping(payload)) = &event {
                    frames.pong(payload.clone());
                }
                put(&mut read, Seen::of(Ok(event)));
            }
            Poll::Pending => {}
        }
    }
    let ping = Seen::Event(Event::Ping("?".into()));
    assert_eq!(read, [Seen::Bytes(b"hello".into()), Seen::Event(Event::End), ping, Seen::End]);
    let more = written(&mut frames);
    assert!(writes <= 2, "{writes}");
    assert_eq!(more, [out(0x81, b"an answer"), out(0x8a, b"?")].concat());
    assert!(once(frames.progress(false)).is_pending(), "there is nothing to do");
}

proptest! {
    #[test]
    fn whatever_is_put_in_comes_out_as_frames(
        puts in prop::collection::vec((0..5_u8, 0..300_usize, 0..4_usize), 0..30),
        step in 1..50_usize,
    ) {
        let (mut frames, mut expected, mut is_open) = (frames(step), Vec::new(), false);
        for (what, length, polls) in puts {
            let payload = Bytes::from(vec![what; length]);
            match what {
                0 => frames.ping(payload),
                1 => frames.pong(payload),
                what => {
                    let is_last = what != 2;
                    let half = payload.slice(..length / 2);
                    frames.frame([half, payload.slice(length / 2..)], !is_open, is_last);
                    expected.push((u8::from(is_last) << 7 | u8::from(!is_open), payload.to_vec()));
                    is_open = !is_last;
                }
            }
            for _ in 0..polls {
                let _ = once(frames.written());
            }
        }
        let bytes = written(&mut frames);
        let mut left = &bytes[..];
        let mut data = Vec::new();
        while let [first, second, rest @ ..] = left {
            let (length, rest) = match second {
                126 => (u16::from_be_bytes([rest[0], rest[1]]).into(), &rest[2..]),
                short => (usize::from(*short), rest),
            };
            let (payload, rest) = rest.split_at(length);
            match first {
                0x89 => prop_assert!(payload.iter().all(|byte| *byte == 0) && length <= 125),
                0x8a => prop_assert!(payload.iter().all(|byte| *byte == 1) && length <= 125),
                first => data.push((*first, payload.to_vec())),
            }
            left = rest;
        }
        prop_assert!(left.is_empty());
        prop_assert_eq!(data, expected);
    }
}
