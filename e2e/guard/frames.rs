//! Axes along which a WebSocket is hostile: frames, byte by byte, RFC 6455 section 5.2.

use crate::bodies;
use crate::dice::Dice;
use crate::draft::Draft;

/// Frames as they are sent after the handshake, in pieces that each go out by themselves.
pub(crate) type Frames = Vec<Vec<u8>>;

type Make = fn(&mut Dice) -> Frames;

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

/// One frame, masked as a client's must be.
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

fn masked(first: u8, payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mask = [(); 4].map(|()| dice.below(256) as u8);
    frame(first, payload, Some(mask))
}

fn message(dice: &mut Dice) -> Vec<u8> {
    match dice.below(5) {
        0 => Draft::plain(dice).bytes(),
        1 | 2 => Draft::shadowed(dice).bytes(),
        _ => bodies::any(dice),
    }
}

fn text(dice: &mut Dice) -> Frames {
    (0..=dice.below(3))
        .map(|_| {
            let message = message(dice);
            masked(END | TEXT, &message, dice)
        })
        .collect()
}

fn binary(dice: &mut Dice) -> Frames {
    (0..=dice.below(3))
        .map(|_| {
            let message = message(dice);
            masked(END | BINARY, &message, dice)
        })
        .collect()
}

/// The message in fragments, some empty, some with a ping between, some within a character.
fn fragments(first: u8, dice: &mut Dice) -> Frames {
    let message = message(dice);
    let mut rest = &message[..];
    let mut all = Vec::new();
    let mut kind = first;
    for _ in 0..=dice.below(6) {
        let (fragment, after) = rest.split_at(dice.below(rest.len() as u64 + 1) as usize);
        all.push(masked(kind, fragment, dice));
        if dice.percent(20) {
            all.push(masked(END | 9, b"ping", dice));
        }
        (rest, kind) = (after, MORE);
    }
    all.push(masked(END | MORE, rest, dice));
    all
}

fn fragmented(dice: &mut Dice) -> Frames {
    let first = if dice.percent(60) { TEXT } else { BINARY };
    let frames = fragments(first, dice);
    if dice.percent(50) { frames } else { vec![frames.concat()] }
}

/// What no peer may send, with something hostile in it.
fn broken(dice: &mut Dice) -> Frames {
    let message = message(dice);
    let granted = Draft::granted(dice).bytes();
    let whole = |first: u8, dice: &mut Dice| masked(first, &message, dice);
    match dice.below(9) {
        0 => vec![frame(END | TEXT, &message, None)],
        1 => vec![whole(END | MORE, dice)],
        2 => vec![whole(END | 0x40 | TEXT, dice)],
        3 => vec![whole(END | dice.below(16) as u8, dice)],
        // a message in the middle of another
        4 => vec![masked(TEXT, &granted, dice), whole(END | TEXT, dice)],
        5 => vec![masked(END | 8, &[3, 0xe8], dice), whole(END | TEXT, dice)],
        6 => vec![masked(TEXT, &granted, dice), masked(END | MORE, &message, dice)],
        7 => vec![masked(END | TEXT, &[&granted[..], &message].concat(), dice)],
        _ => {
            let mut long = whole(END | TEXT, dice);
            // more is announced than comes
            long[1] = 0x80 | 127;
            vec![long]
        }
    }
}

/// The messages in frames that are right.
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
