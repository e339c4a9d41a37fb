//! Hostile WebSocket traffic, by axis: raw frames (RFC 6455 section 5.2).

use crate::{hostile_bodies, payload_draft::Draft, rng::Rng};

/// Bytes after the handshake, in pieces that are sent separately.
pub(crate) type Frames = Vec<Vec<u8>>;

type Make = fn(&mut Rng) -> Frames;

pub(crate) const AXES: [(&str, Make); 4] = [
    ("WebSocket text", text),
    ("WebSocket binary", binary),
    ("WebSocket fragmented", fragmented),
    ("WebSocket broken", broken),
];

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const MORE: u8 = 0;
const END: u8 = 0x80;

/// A frame, masked if `mask` is set.
pub(crate) fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![first];
    let is_masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..126 => frame.push(is_masked | short as u8),
        middle @ 126..0x1_0000 => {
            frame.push(is_masked | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(is_masked | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = mask.map_or([0; 4], |mask| {
        frame.extend(mask);
        mask
    });
    frame.extend(payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn masked(first: u8, payload: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mask = [(); 4].map(|()| rng.below(256) as u8);
    frame(first, payload, Some(mask))
}

fn message(rng: &mut Rng) -> Vec<u8> {
    match rng.below(5) {
        0 => Draft::plain(rng).bytes(),
        1 | 2 => Draft::shadowed(rng).bytes(),
        _ => hostile_bodies::any(rng),
    }
}

fn text(rng: &mut Rng) -> Frames {
    (0..=rng.below(3))
        .map(|_| {
            let message = message(rng);
            masked(END | TEXT, &message, rng)
        })
        .collect()
}

fn binary(rng: &mut Rng) -> Frames {
    (0..=rng.below(3))
        .map(|_| {
            let message = message(rng);
            masked(END | BINARY, &message, rng)
        })
        .collect()
}

/// A message in fragments, some empty, some followed by a ping, some split within a character.
fn fragments(first: u8, rng: &mut Rng) -> Frames {
    let message = message(rng);
    let mut rest = &message[..];
    let mut all = Vec::new();
    let mut kind = first;
    for _ in 0..=rng.below(6) {
        let (fragment, after) = rest.split_at(rng.below(rest.len() as u64 + 1) as usize);
        all.push(masked(kind, fragment, rng));
        if rng.percent(20) {
            all.push(masked(END | 9, b"ping", rng));
        }
        (rest, kind) = (after, MORE);
    }
    all.push(masked(END | MORE, rest, rng));
    all
}

fn fragmented(rng: &mut Rng) -> Frames {
    let first = if rng.percent(60) { TEXT } else { BINARY };
    let frames = fragments(first, rng);
    if rng.percent(50) { frames } else { vec![frames.concat()] }
}

/// Invalid frames with a hostile message.
fn broken(rng: &mut Rng) -> Frames {
    let message = message(rng);
    let granted = Draft::granted(rng).bytes();
    let whole = |first: u8, rng: &mut Rng| masked(first, &message, rng);
    match rng.below(9) {
        0 => vec![frame(END | TEXT, &message, None)],
        1 => vec![whole(END | MORE, rng)],
        2 => vec![whole(END | 0x40 | TEXT, rng)],
        3 => vec![whole(END | rng.below(16) as u8, rng)],
        // a message in the middle of another
        4 => vec![masked(TEXT, &granted, rng), whole(END | TEXT, rng)],
        5 => vec![masked(END | 8, &[3, 0xe8], rng), whole(END | TEXT, rng)],
        6 => vec![masked(TEXT, &granted, rng), masked(END | MORE, &message, rng)],
        7 => vec![masked(END | TEXT, &[&granted[..], &message].concat(), rng)],
        _ => {
            let mut long = whole(END | TEXT, rng);
            // announces more bytes than follow
            long[1] = 0x80 | 127;
            vec![long]
        }
    }
}

/// Messages in valid frames.
pub(crate) fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut message = Vec::new();
    while let [first, length, rest @ ..] = bytes {
        let (length, rest) = match (length & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, rest)
            }
            (short, rest) => (usize::from(short), rest),
        };
        let Some((mask, rest)) = rest.split_at_checked(4) else { break };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        bytes = rest;
        if first & 0x0f < 8 {
            message.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            if first & END != 0 {
                all.push(std::mem::take(&mut message));
            }
        }
    }
    all
}
