//! Hostile HTTP/1.1 requests, by axis: raw verbs, headers and framing.

use crate::{hostile_bodies, payload_draft::Draft, rng::Rng};

/// Placeholder for the sender's `Host` header and credentials.
pub(crate) const WHO: &[u8] = b"@who@\r\n";

/// A request, in pieces that are sent separately.
pub(crate) type Request = Vec<Vec<u8>>;

type Make = fn(&mut Rng) -> Request;

pub(crate) const AXES: [(&str, Make); 6] = [
    ("verbs", verbs),
    ("content types", content_types),
    ("encodings", encodings),
    ("chunking", chunking),
    ("headers", headers),
    ("HTTP/1.1", plain),
];

/// A hostile body, preferably one that the client executes.
fn body(rng: &mut Rng) -> Vec<u8> {
    match rng.below(4) {
        0 => Draft::plain(rng).bytes(),
        1 => hostile_bodies::any(rng),
        _ => Draft::shadowed(rng).bytes(),
    }
}

fn head(line: &str, headers: &[&str]) -> Vec<u8> {
    let mut head = [line.as_bytes(), b"\r\n", WHO].concat();
    for header in headers {
        head.extend([header.as_bytes(), b"\r\n"].concat());
    }
    [&head[..], b"\r\n"].concat()
}

/// An ordinary POST request.
pub(crate) fn post(body: &[u8]) -> Request {
    let length = format!("Content-Length: {}", body.len());
    let head = head("POST / HTTP/1.1", &["Content-Type: application/json", &length, "Connection: close"]);
    vec![[&head[..], body].concat()]
}

/// Splits a request at random places, but not within [`WHO`].
pub(crate) fn in_pieces(mut request: Vec<u8>, rng: &mut Rng) -> Request {
    let mut pieces = Vec::new();
    for _ in 0..rng.below(4) {
        if request.len() > 1 {
            let at = 1 + rng.below(request.len() as u64 - 1) as usize;
            let who = request.windows(WHO.len()).position(|window| window == WHO);
            let within = who.filter(|who| (who + 1..who + WHO.len()).contains(&at));
            let rest = request.split_off(within.unwrap_or(at));
            pieces.push(std::mem::replace(&mut request, rest));
        }
    }
    pieces.push(request);
    pieces
}

/// A hostile body in an ordinary request.
fn plain(rng: &mut Rng) -> Request {
    let request = post(&hostile_bodies::any(rng)).concat();
    in_pieces(request, rng)
}

fn verbs(rng: &mut Rng) -> Request {
    let verbs = [
        "GET", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "post", "Post", "QUERY",
        "PROPFIND", "P", "POST", "",
    ];
    let targets =
        ["/", "/", "/", "//", "/graphql", "/?x=1", "*", "http://localhost/", "/%2e/", "/rpc", "/;a"];
    let versions = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1"];
    let body = body(rng);
    let line = format!("{} {} {}", rng.one_of(&verbs), rng.one_of(&targets), rng.one_of(&versions));
    let length = format!("Content-Length: {}", body.len());
    let mut lines = vec!["Content-Type: application/json", &length, "Connection: close"];
    if rng.percent(30) {
        lines.push(rng.one_of(&[
            "X-HTTP-Method-Override: POST",
            "Origin: https://app.example",
            "Access-Control-Request-Method: POST",
            "Expect: 100-continue",
        ]));
    }
    vec![[&head(&line, &lines)[..], &body].concat()]
}

fn content_types(rng: &mut Rng) -> Request {
    let types = [
        "Content-Type: application/json",
        "Content-Type: application/json; charset=utf-8",
        "Content-Type: application/json; charset=utf-16",
        "Content-Type: application/json;",
        "Content-Type: application/json;charset=\"utf-8",
        "Content-Type: APPLICATION/JSON",
        "Content-Type: application/json-rpc",
        "Content-Type: application/jsonrequest",
        "Content-Type: application/json, text/plain",
        "Content-Type: text/plain",
        "Content-Type: text/json",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: application/json\r\nContent-Type: text/plain",
        "Content-Type: text/plain\r\nContent-Type: application/json",
        "Content-Type: \tapplication/json \t",
        "Content-Type:application/json",
        "Content-Type : application/json",
        "Content-Type:\r\n application/json",
        "content-type: application/json; a=b; a=c",
        "Content_Type: application/json",
        "X: y",
    ];
    let body = body(rng);
    let length = format!("Content-Length: {}", body.len());
    let head = head("POST / HTTP/1.1", &[rng.one_of(&types), &length, "Connection: close"]);
    in_pieces([&head[..], &body].concat(), rng)
}

fn encodings(rng: &mut Rng) -> Request {
    let encodings = [
        "gzip",
        "deflate",
        "br",
        "zstd",
        "identity",
        "x-gzip",
        "identity, gzip",
        "gzip;q=0",
        "",
        "GZIP",
        "chunked",
        "aes128gcm",
    ];
    let names = [
        "Content-Encoding",
        "Content-Encoding",
        "content-encoding",
        "Transfer-Encoding",
        "Content-Transfer-Encoding",
        "TE",
    ];
    let plain = body(rng);
    let body = match rng.below(4) {
        // gzip with stored blocks, without a compressor
        0 => stored(&plain),
        1 => String::from_utf8_lossy(&plain).encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => plain,
    };
    let encoding = format!("{}: {}", rng.one_of(&names), rng.one_of(&encodings));
    let length = format!("Content-Length: {}", body.len());
    let head =
        head("POST / HTTP/1.1", &["Content-Type: application/json", &encoding, &length, "Connection: close"]);
    vec![[&head[..], &body].concat()]
}

/// Encodes as gzip (RFC 1952) without compression.
fn stored(plain: &[u8]) -> Vec<u8> {
    let size = u16::try_from(plain.len()).unwrap_or(u16::MAX);
    let plain = &plain[..usize::from(size)];
    let crc = !plain.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1];
    [
        &header[..],
        &size.to_le_bytes(),
        &(!size).to_le_bytes(),
        plain,
        &crc.to_le_bytes(),
        &u32::from(size).to_le_bytes(),
    ]
    .concat()
}

/// Encodes in chunks, mostly valid ones.
fn chunked(body: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    let is_odd = rng.percent(30);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + rng.below(rest.len() as u64) as usize);
        let length = chunk.len();
        let size = match rng.below(8) {
            0 => format!("{length:X}"),
            1 => format!("000{length:x}"),
            2 => format!("{length:x};a=\"b\""),
            3 if is_odd => format!("{length:x} "),
            4 if is_odd => format!("0x{length:x}"),
            5 if is_odd => format!("{length:x};\n"),
            6 if is_odd => format!("1000000000000000{length:x}"),
            _ => format!("{length:x}"),
        };
        let end: &[u8] = if is_odd && rng.percent(20) { b"\n" } else { b"\r\n" };
        out.extend([size.as_bytes(), end, chunk, end].concat());
        rest = after;
    }
    let ends: [&[u8]; 6] = [
        b"0\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\n\r\n",
        b"0\r\nContent-Type: text/plain\r\n\r\n",
        b"00000\r\n\r\n",
        b"0\n\n",
    ];
    out.extend(rng.one_of(&ends));
    out
}

/// Two requests in one, for peers that disagree about the end of the first.
fn chunking(rng: &mut Rng) -> Request {
    let codings = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: Chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ];
    let hostile = body(rng);
    let inner = post(&hostile).concat();
    let granted = Draft::granted(rng).bytes();
    let outer = if rng.percent(50) { hostile } else { granted };
    let mut body = chunked(&outer, rng);
    let mut lines = vec!["Content-Type: application/json".to_owned(), rng.one_of(&codings).to_owned()];
    match rng.below(6) {
        0 => lines.push(format!("Content-Length: {}", body.len())),
        1 => lines.push("Content-Length: 0".to_owned()),
        2 => lines.extend([format!("Content-Length: {}", body.len()), "Content-Length: 3".to_owned()]),
        3 => lines = vec![lines.swap_remove(0), format!("Content-Length: {}", outer.len())],
        4 => lines.insert(0, format!("Content-Length: +{}", outer.len())),
        _ => {}
    }
    if rng.percent(50) {
        body.extend(inner);
    } else {
        lines.push("Connection: close".to_owned());
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    in_pieces([&head("POST / HTTP/1.1", &lines)[..], &body].concat(), rng)
}

fn headers(rng: &mut Rng) -> Request {
    let lines = [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Connection: close, content-length",
        "Content-Length: 1\r\nX: y",
        "Content-Length: 00",
        "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1",
        "X-Original-URL: /admin",
        "Host: localhost",
        "Origin: null",
        "X\0: y",
        " folded: by a space",
        "X: y\rContent-Length: 0",
        "X: y\nContent-Length: 0",
        ": nameless",
        "Accept-Encoding: gzip",
        "Keep-Alive: timeout=1",
    ];
    let body = body(rng);
    let length = format!("Content-Length: {}", body.len());
    let mut all = vec!["Content-Type: application/json", &length];
    for _ in 0..=rng.below(2) {
        let at = rng.below(all.len() as u64 + 1) as usize;
        all.insert(at, rng.one_of(&lines));
    }
    let mut request = [&head("POST / HTTP/1.1", &all)[..], &body].concat();
    // a second request on the same connection
    request.extend(post(&Draft::any(rng).bytes()).concat());
    in_pieces(request, rng)
}
