//! Axes along which a request is hostile: its verb, its headers, its framing. HTTP/1.1, byte by byte.

use crate::bodies;
use crate::dice::Dice;
use crate::draft::Draft;

/// What the one who sends it puts in place of this: `Host`, and credentials where there are some.
pub(crate) const WHO: &[u8] = b"@who@\r\n";

/// A request as it is sent, in pieces that each go out by themselves.
pub(crate) type Request = Vec<Vec<u8>>;

type Make = fn(&mut Dice) -> Request;

pub(crate) const AXES: [(&str, Make); 6] = [
    ("verbs", verbs),
    ("content types", content_types),
    ("encodings", encodings),
    ("chunking", chunking),
    ("headers", headers),
    ("HTTP/1.1", plain),
];

/// A hostile body, of those a client executes more often than of others.
fn body(dice: &mut Dice) -> Vec<u8> {
    match dice.below(4) {
        0 => Draft::plain(dice).bytes(),
        1 => bodies::any(dice),
        _ => Draft::shadowed(dice).bytes(),
    }
}

fn head(line: &str, headers: &[&str]) -> Vec<u8> {
    let mut head = [line.as_bytes(), b"\r\n", WHO].concat();
    for header in headers {
        head.extend([header.as_bytes(), b"\r\n"].concat());
    }
    [&head[..], b"\r\n"].concat()
}

/// As a library sends it.
pub(crate) fn post(body: &[u8]) -> Request {
    let length = format!("Content-Length: {}", body.len());
    let head = head("POST / HTTP/1.1", &["Content-Type: application/json", &length, "Connection: close"]);
    vec![[&head[..], body].concat()]
}

/// The same, cut where readers might not expect it.
pub(crate) fn in_pieces(mut request: Vec<u8>, dice: &mut Dice) -> Request {
    let mut pieces = Vec::new();
    for _ in 0..dice.below(4) {
        if request.len() > 1 {
            let at = 1 + dice.below(request.len() as u64 - 1) as usize;
            let who = request.windows(WHO.len()).position(|window| window == WHO);
            let within = who.filter(|who| (who + 1..who + WHO.len()).contains(&at));
            let rest = request.split_off(within.unwrap_or(at));
            pieces.push(std::mem::replace(&mut request, rest));
        }
    }
    pieces.push(request);
    pieces
}

/// A hostile body in a request like any other.
fn plain(dice: &mut Dice) -> Request {
    let request = post(&bodies::any(dice)).concat();
    in_pieces(request, dice)
}

fn verbs(dice: &mut Dice) -> Request {
    let verbs = [
        "GET", "OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "post", "Post", "QUERY",
        "PROPFIND", "P", "POST", "",
    ];
    let targets =
        ["/", "/", "/", "//", "/graphql", "/?x=1", "*", "http://localhost/", "/%2e/", "/rpc", "/;a"];
    let versions = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1"];
    let body = body(dice);
    let line = format!("{} {} {}", dice.one_of(&verbs), dice.one_of(&targets), dice.one_of(&versions));
    let length = format!("Content-Length: {}", body.len());
    let mut lines = vec!["Content-Type: application/json", &length, "Connection: close"];
    if dice.percent(30) {
        lines.push(dice.one_of(&[
            "X-HTTP-Method-Override: POST",
            "Origin: https://app.example",
            "Access-Control-Request-Method: POST",
            "Expect: 100-continue",
        ]));
    }
    vec![[&head(&line, &lines)[..], &body].concat()]
}

fn content_types(dice: &mut Dice) -> Request {
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
    let body = body(dice);
    let length = format!("Content-Length: {}", body.len());
    let head = head("POST / HTTP/1.1", &[dice.one_of(&types), &length, "Connection: close"]);
    in_pieces([&head[..], &body].concat(), dice)
}

fn encodings(dice: &mut Dice) -> Request {
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
    let plain = body(dice);
    let body = match dice.below(4) {
        // stored blocks, as no compressor is at hand here
        0 => stored(&plain),
        1 => String::from_utf8_lossy(&plain).encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => plain,
    };
    let encoding = format!("{}: {}", dice.one_of(&names), dice.one_of(&encodings));
    let length = format!("Content-Length: {}", body.len());
    let head =
        head("POST / HTTP/1.1", &["Content-Type: application/json", &encoding, &length, "Connection: close"]);
    vec![[&head[..], &body].concat()]
}

/// gzip of it, RFC 1952, without compression.
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

/// In chunks, most often as they should be.
fn chunked(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    let is_odd = dice.percent(30);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(1 + dice.below(rest.len() as u64) as usize);
        let length = chunk.len();
        let size = match dice.below(8) {
            0 => format!("{length:X}"),
            1 => format!("000{length:x}"),
            2 => format!("{length:x};a=\"b\""),
            3 if is_odd => format!("{length:x} "),
            4 if is_odd => format!("0x{length:x}"),
            5 if is_odd => format!("{length:x};\n"),
            6 if is_odd => format!("1000000000000000{length:x}"),
            _ => format!("{length:x}"),
        };
        let end: &[u8] = if is_odd && dice.percent(20) { b"\n" } else { b"\r\n" };
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
    out.extend(dice.one_of(&ends));
    out
}

/// Two requests in one, for those who do not agree where the first ends.
fn chunking(dice: &mut Dice) -> Request {
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
    let hostile = body(dice);
    let inner = post(&hostile).concat();
    let granted = Draft::granted(dice).bytes();
    let outer = if dice.percent(50) { hostile } else { granted };
    let mut body = chunked(&outer, dice);
    let mut lines = vec!["Content-Type: application/json".to_owned(), dice.one_of(&codings).to_owned()];
    match dice.below(6) {
        0 => lines.push(format!("Content-Length: {}", body.len())),
        1 => lines.push("Content-Length: 0".to_owned()),
        2 => lines.extend([format!("Content-Length: {}", body.len()), "Content-Length: 3".to_owned()]),
        3 => lines = vec![lines.swap_remove(0), format!("Content-Length: {}", outer.len())],
        4 => lines.insert(0, format!("Content-Length: +{}", outer.len())),
        _ => {}
    }
    if dice.percent(50) {
        body.extend(inner);
    } else {
        lines.push("Connection: close".to_owned());
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    in_pieces([&head("POST / HTTP/1.1", &lines)[..], &body].concat(), dice)
}

fn headers(dice: &mut Dice) -> Request {
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
    let body = body(dice);
    let length = format!("Content-Length: {}", body.len());
    let mut all = vec!["Content-Type: application/json", &length];
    for _ in 0..=dice.below(2) {
        let at = dice.below(all.len() as u64 + 1) as usize;
        all.insert(at, dice.one_of(&lines));
    }
    let mut request = [&head("POST / HTTP/1.1", &all)[..], &body].concat();
    // a second one on the same connection
    request.extend(post(&Draft::any(dice).bytes()).concat());
    in_pieces(request, dice)
}
