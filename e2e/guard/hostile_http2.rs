//! Hostile HTTP/2 traffic, by axis: raw frames (RFC 9113 section 6) with uncompressed headers (RFC 7541 section 6.2.2).

use crate::{hostile_bodies, payload_draft::Draft, rng::Rng, wire::Who};

type Header = (String, Vec<u8>);

/// A part of what is sent after the preface.
pub(crate) enum Part {
    /// Headers of a stream, and whether they end it. The headers of [`Who`] are added.
    Head(u32, Vec<Header>, bool),
    /// Type, flags, stream and payload of a frame.
    Frame(u8, u8, u32, Vec<u8>),
}

type Make = fn(&mut Rng) -> Vec<Part>;

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
    /// Encoded frames.
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
                // splits headers that exceed a frame, which is rare
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

/// A body in DATA frames, some padded, some empty.
fn data(stream: u32, body: &[u8], rng: &mut Rng) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = body;
    for _ in 0..rng.below(4) {
        let (piece, after) = rest.split_at(rng.below(rest.len() as u64 + 1) as usize);
        parts.push((piece.to_vec(), 0));
        rest = after;
    }
    parts.extend(rest.chunks(16_000).map(|piece| (piece.to_vec(), 0)));
    match parts.last_mut() {
        Some((_, flags)) => *flags = LAST,
        None => parts.push((vec![], LAST)),
    }
    let padded = |(piece, flags): (Vec<u8>, u8), rng: &mut Rng| {
        if rng.percent(20) {
            let padding = vec![b'}'; rng.below(9) as usize];
            let all = [&[padding.len() as u8][..], &piece, &padding].concat();
            return Part::Frame(DATA, flags | PADDED, stream, all);
        }
        Part::Frame(DATA, flags, stream, piece)
    };
    parts.into_iter().map(|part| padded(part, rng)).collect()
}

/// A body that is mostly hostile, and sometimes granted, so that other oddities of the request have an effect.
fn body(rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => Draft::granted(rng).bytes(),
        1 => Draft::shadowed(rng).bytes(),
        _ => hostile_bodies::any(rng),
    }
}

/// A hostile body in an ordinary request, sometimes with a granted one on another stream.
fn plain(rng: &mut Rng) -> Vec<Part> {
    let body = hostile_bodies::any(rng);
    let mut head = request("POST");
    if rng.percent(50) {
        head.push(header("content-length", body.len().to_string()));
    }
    let mut parts = vec![Part::Head(1, head, false)];
    let mut frames = data(1, &body, rng);
    if rng.percent(30) {
        let granted = Draft::granted(rng).bytes();
        parts.push(Part::Head(3, request("POST"), false));
        frames.insert(rng.below(frames.len() as u64) as usize, Part::Frame(DATA, LAST, 3, granted));
    }
    parts.extend(frames);
    parts
}

fn odd(rng: &mut Rng) -> Vec<Part> {
    let body = body(rng);
    let verb = rng.one_of(&[
        "POST", "POST", "POST", "POST", "POST", "POST", "POST", "GET", "OPTIONS", "PUT", "HEAD", "CONNECT",
        "post",
    ]);
    let mut head = request(verb);
    for _ in 0..=rng.below(2) {
        let length = (body.len() as u64 + rng.below(5)).to_string();
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
        let (name, value) = rng.one_of(&more);
        // pseudo-headers come first
        let first = if rng.percent(80) && !name.starts_with(':') { 4 } else { 0 };
        head.insert(first + rng.below((head.len() - first) as u64 + 1) as usize, header(name, value));
    }
    if rng.percent(10) {
        head.remove(rng.below(head.len() as u64) as usize);
    }
    if rng.percent(10) {
        // puts pseudo-headers after other headers
        head.reverse();
    }
    let mut parts = vec![Part::Head(1, head, false)];
    parts.extend(data(1, &body, rng));
    let granted = Draft::granted(rng).bytes();
    match rng.below(8) {
        // data after the end of the stream
        0 => parts.push(Part::Frame(DATA, LAST, 1, body)),
        // trailers that contain the body
        1 => parts.push(Part::Head(1, vec![header("x", &body)], true)),
        // data of a stream that was never opened
        2 => parts.push(Part::Frame(DATA, LAST, 5, body)),
        3 => parts.insert(0, Part::Frame(DATA, LAST, 1, granted)),
        4 => parts.insert(1, Part::Frame(CONTINUATION, END_OF_HEADERS, 1, vec![])),
        5 => parts.push(Part::Frame(rng.below(16) as u8, rng.below(256) as u8, 1, body)),
        _ => {}
    }
    parts
}
