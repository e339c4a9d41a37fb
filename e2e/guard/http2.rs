//! Axes along which HTTP/2 is hostile: frames, byte by byte, RFC 9113 section 6, and headers without
//! compression, RFC 7541 section 6.2.2.

use crate::bodies;
use crate::dice::Dice;
use crate::draft::Draft;
use crate::wire::Who;

type Header = (String, Vec<u8>);

/// What is sent after the preface.
pub(crate) enum Part {
    /// Headers of a stream, with the sender's own where [`Who`] has some; whether they end it.
    Head(u32, Vec<Header>, bool),
    /// A frame of a type, with flags, of a stream.
    Frame(u8, u8, u32, Vec<u8>),
}

type Make = fn(&mut Dice) -> Vec<Part>;

pub(crate) const AXES: [(&str, Make); 2] = [("HTTP/2", plain), ("HTTP/2 odd", odd)];

const DATA: u8 = 0;
const CONTINUATION: u8 = 9;
const LAST: u8 = 1;
const END_OF_HEADERS: u8 = 4;
const PADDED: u8 = 8;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match bytes.len() {
        short @ 0..127 => out.push(short as u8),
        long => {
            let mut rest = long - 127;
            out.push(127);
            while rest >= 128 {
                out.push(rest as u8 | 128);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
    }
    [&out[..], bytes].concat()
}

fn header(name: &str, value: impl AsRef<[u8]>) -> Header {
    (name.to_owned(), value.as_ref().to_vec())
}

impl Part {
    /// As it goes out.
    pub(crate) fn bytes(&self, who: &Who) -> Vec<u8> {
        match self {
            Self::Frame(kind, flags, stream, payload) => frame(*kind, *flags, *stream, payload),
            Self::Head(stream, headers, is_last) => {
                let mut block = Vec::new();
                let bearer =
                    who.bearer.iter().map(|token| header("authorization", format!("Bearer {token}")));
                for (name, value) in headers.iter().cloned().chain(bearer) {
                    let value = if value == b"@host@" { who.host.as_bytes().to_vec() } else { value };
                    block.extend([&[0][..], &text(name.as_bytes()), &text(&value)].concat());
                }
                let last = if *is_last { LAST } else { 0 };
                // rarely more than one frame holds, and then cut where frames are
                let mut pieces = block.chunks(16_000);
                let first = pieces.next().unwrap_or_default();
                let more: Vec<&[u8]> = pieces.collect();
                let end = |at: usize| if at == more.len() { END_OF_HEADERS } else { 0 };
                let mut out = frame(1, last | end(0), *stream, first);
                for (index, piece) in more.iter().enumerate() {
                    out.extend(frame(CONTINUATION, end(index + 1), *stream, piece));
                }
                out
            }
        }
    }
}

fn request(verb: &str) -> Vec<Header> {
    vec![
        header(":method", verb),
        header(":scheme", "https"),
        header(":authority", "@host@"),
        header(":path", "/"),
        header("content-type", "application/json"),
    ]
}

/// A body in frames, some with padding, some empty.
fn data(stream: u32, body: &[u8], dice: &mut Dice) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = body;
    for _ in 0..dice.below(4) {
        let (piece, after) = rest.split_at(dice.below(rest.len() as u64 + 1) as usize);
        parts.push((piece.to_vec(), 0));
        rest = after;
    }
    parts.extend(rest.chunks(16_000).map(|piece| (piece.to_vec(), 0)));
    match parts.last_mut() {
        Some((_, flags)) => *flags = LAST,
        None => parts.push((vec![], LAST)),
    }
    let padded = |(piece, flags): (Vec<u8>, u8), dice: &mut Dice| {
        if dice.percent(20) {
            let padding = vec![b'}'; dice.below(9) as usize];
            let all = [&[padding.len() as u8][..], &piece, &padding].concat();
            return Part::Frame(DATA, flags | PADDED, stream, all);
        }
        Part::Frame(DATA, flags, stream, piece)
    };
    parts.into_iter().map(|part| padded(part, dice)).collect()
}

/// A body that is most often hostile; where all of it is granted, what is odd about the rest still shows.
fn body(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => Draft::granted(dice).bytes(),
        1 => Draft::shadowed(dice).bytes(),
        _ => bodies::any(dice),
    }
}

/// A hostile body in a request like any other. Sometimes with a granted one beside it.
fn plain(dice: &mut Dice) -> Vec<Part> {
    let body = bodies::any(dice);
    let mut head = request("POST");
    if dice.percent(50) {
        head.push(header("content-length", body.len().to_string()));
    }
    let mut parts = vec![Part::Head(1, head, false)];
    let mut frames = data(1, &body, dice);
    if dice.percent(30) {
        let granted = Draft::granted(dice).bytes();
        parts.push(Part::Head(3, request("POST"), false));
        frames.insert(dice.below(frames.len() as u64) as usize, Part::Frame(DATA, LAST, 3, granted));
    }
    parts.extend(frames);
    parts
}

fn odd(dice: &mut Dice) -> Vec<Part> {
    let body = body(dice);
    let verb = dice.one_of(&[
        "POST", "POST", "POST", "POST", "POST", "POST", "POST", "GET", "OPTIONS", "PUT", "HEAD", "CONNECT",
        "post",
    ]);
    let mut head = request(verb);
    for _ in 0..=dice.below(2) {
        let length = (body.len() as u64 + dice.below(5)).to_string();
        let more = [
            ("content-length", length.as_str()),
            ("content-length", "0"),
            ("Content-Type", "application/json"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("transfer-encoding", "chunked"),
            ("connection", "keep-alive"),
            ("te", "gzip"),
            ("host", "localhost"),
            ("host", "other.example"),
            (":path", "/admin"),
            (":authority", "other.example"),
            (":method", "GET"),
            (":protocol", "websocket"),
            ("x", "a\r\ncontent-length: 0"),
            ("x\r\ny", "z"),
            ("", "nameless"),
            ("cookie", "a=b"),
            ("accept", "*/*"),
            ("user-agent", "wallet/1"),
            ("x", "y"),
            ("priority", "u=1, i"),
            ("forwarded", "for=127.0.0.1"),
        ];
        let (name, value) = dice.one_of(&more);
        // names with a colon come first
        let first = if dice.percent(80) && !name.starts_with(':') { 4 } else { 0 };
        head.insert(first + dice.below((head.len() - first) as u64 + 1) as usize, header(name, value));
    }
    if dice.percent(10) {
        head.remove(dice.below(head.len() as u64) as usize);
    }
    if dice.percent(10) {
        // names of the same kind are then after others
        head.reverse();
    }
    let mut parts = vec![Part::Head(1, head, false)];
    parts.extend(data(1, &body, dice));
    let granted = Draft::granted(dice).bytes();
    match dice.below(8) {
        // after its end
        0 => parts.push(Part::Frame(DATA, LAST, 1, body)),
        // headers that follow, and with them what a body might be
        1 => parts.push(Part::Head(1, vec![header("x", &body)], true)),
        // of a stream that was not begun
        2 => parts.push(Part::Frame(DATA, LAST, 5, body)),
        3 => parts.insert(0, Part::Frame(DATA, LAST, 1, granted)),
        4 => parts.insert(1, Part::Frame(CONTINUATION, END_OF_HEADERS, 1, vec![])),
        5 => parts.push(Part::Frame(dice.below(16) as u8, dice.below(256) as u8, 1, body)),
        _ => {}
    }
    parts
}
