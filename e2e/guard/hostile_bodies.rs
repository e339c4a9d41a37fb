//! Hostile JSON-RPC bodies, by axis: each axis is one way to disguise a call.

use crate::{
    payload_draft::{Draft, marker, member, open, other_case},
    rng::Rng,
};

/// Generates a body of an axis.
pub(crate) type Body = fn(&mut Rng) -> Vec<u8>;

pub(crate) const AXES: [(&str, Body); 14] = [
    ("undisguised", undisguised),
    ("key case", case),
    ("key fold", fold),
    ("escape", escape),
    ("duplicate", duplicate),
    ("order", order),
    ("value types", types),
    ("whitespace", whitespace),
    ("BOM and NUL", invisible),
    ("invalid UTF-8", encoding),
    ("batch shapes", batch),
    ("trailing data", trailing),
    ("sizes, spread", sizes),
    ("sizes, whole", whole),
];

/// A body of any axis except the two of sizes.
pub(crate) fn any(rng: &mut Rng) -> Vec<u8> {
    // bodies that are sent in pieces have their own sizes
    let (_, body) = rng.one_of(&AXES[..AXES.len() - 2]);
    body(rng)
}

/// A call that is not granted, without disguise, alone or in a batch.
fn undisguised(rng: &mut Rng) -> Vec<u8> {
    let hostile = Draft::plain(rng).bytes();
    match rng.below(3) {
        0 => [b"[", &hostile[..], b",", &Draft::granted(rng).bytes(), b"]"].concat(),
        1 => [b"[", &Draft::granted(rng).bytes()[..], b",", &hostile, b"]"].concat(),
        _ => hostile,
    }
}

fn case(rng: &mut Rng) -> Vec<u8> {
    let mut draft = if rng.percent(80) { Draft::shadowed(rng) } else { Draft::plain(rng) };
    for _ in 0..=rng.below(3) {
        let (name, _) = draft.some(rng);
        let is_exact = name == b"method" && rng.percent(70);
        if let (Ok(text), false) = (String::from_utf8(name.clone()), is_exact) {
            *name = other_case(&text.to_ascii_lowercase(), rng).into_bytes();
        }
    }
    draft.bytes()
}

/// Replaces s and k by the letters that Unicode folds to them: long s and kelvin sign.
fn folded(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let (s, k) = if rng.percent(50) { ("\u{17f}", "\u{212a}") } else { ("\\u017f", "\\u212A") };
    text.replace(['s', 'S'], s).replace(['k', 'K'], k).into_bytes()
}

fn fold(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    for name in ["params", "jsonrpc"] {
        let at = draft.at(name);
        if rng.percent(60) {
            draft.members[at].0 = folded(&draft.members[at].0, rng);
        } else if rng.percent(50) {
            let mut second = draft.members[at].clone();
            second.0 = folded(&second.0, rng);
            draft.members.push(second);
        }
    }
    if rng.percent(30) {
        let at = draft.at("method");
        draft.members[at].1 = folded(&draft.members[at].1, rng);
    }
    if rng.percent(30) {
        draft.members.push(member("\u{212a}ey\u{17f}", "1"));
    }
    draft.bytes()
}

fn escaped(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in text {
        match (byte, rng.below(10)) {
            (b'"' | b'\\', _) => out.push(byte),
            (_, 0..3) => out.extend(format!("\\u{byte:04x}").bytes()),
            (_, 3) => out.extend(format!("\\u{byte:04X}").bytes()),
            (b'/', 4) => out.extend(b"\\/"),
            _ => out.push(byte),
        }
    }
    match rng.below(30) {
        0 => out.extend(b"\\u0000"),
        1 => out.extend(b"\\ud800"),
        2 => out.extend(b"\\x41"),
        3 => out.extend(b"\\u00"),
        4 => out.extend(b"\\ud83d\\ude00"),
        _ => {}
    }
    out
}

fn escape(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    for _ in 0..=rng.below(3) {
        let at =
            if rng.percent(60) { draft.at("method") } else { rng.below(draft.members.len() as u64) as usize };
        let (name, value) = &mut draft.members[at];
        if rng.percent(60) {
            *name = escaped(name, rng);
        }
        if value.starts_with(b"\"") && rng.percent(40) {
            *value = escaped(value, rng);
        }
    }
    draft.bytes()
}

fn duplicate(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::twin(rng);
    for _ in 0..rng.below(4) {
        let mut again = draft.some(rng).clone();
        if again.0 == b"method" && rng.percent(50) {
            again.1 =
                format!("\"{}\"", if rng.percent(50) { open(rng).0 } else { marker(rng).0 }).into_bytes();
        }
        if rng.percent(40) {
            again.0 = other_case(&String::from_utf8_lossy(&again.0).to_ascii_lowercase(), rng).into_bytes();
        }
        let at = rng.below(draft.members.len() as u64 + 1) as usize;
        draft.members.insert(at, again);
    }
    draft.bytes()
}

fn order(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    if rng.percent(40) {
        draft.members.push(member("method", format!("\"{}\"", open(rng).0)));
    }
    draft.shuffle(rng);
    draft.bytes()
}

const VALUES: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "2.0",
    "1e2",
    "1E400",
    "-1",
    "18446744073709551616",
    "\"\"",
    "\"2.0\"",
    "\"1\"",
    "[]",
    "{}",
    "[[]]",
    "[null]",
    "{\"method\":\"admin_peers\"}",
    "[\"admin_peers\"]",
    "\"admin_peers\"",
    "01",
    "NaN",
    "'admin_peers'",
    "\"eth_chainId\"",
];

fn types(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    for _ in 0..=rng.below(2) {
        let value = rng.one_of(&VALUES).as_bytes().to_vec();
        match rng.below(4) {
            // the client continues after a value of a wrong type
            0 => draft.members.push(member(if rng.percent(50) { "method" } else { "Method" }, value)),
            1 => {
                let name = rng.one_of(&["error", "result", "id", "params", "jsonrpc", "extra"]);
                draft.members.insert(0, member(name, value));
            }
            _ => draft.some(rng).1 = value,
        }
    }
    draft.bytes()
}

/// The draft with insertions between tokens, or rarely within one.
fn between(draft: &Draft, what: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tokens = draft.tokens();
    for token in &tokens {
        if rng.percent(25) {
            bytes.extend(rng.one_of(what));
        }
        if token.len() > 3 && rng.percent(4) {
            let (before, after) = token.split_at(1 + rng.below(token.len() as u64 - 2) as usize);
            bytes.extend([before, rng.one_of(what), after].concat());
        } else {
            bytes.extend(token);
        }
    }
    if rng.percent(30) {
        bytes.extend(rng.one_of(what));
    }
    bytes
}

fn whitespace(rng: &mut Rng) -> Vec<u8> {
    let legal: [&[u8]; 5] = [b" ", b"\t", b"\n", b"\r\n", b"    \n\t "];
    let lax: [&[u8]; 8] = [
        b"\x0b",
        b"\x0c",
        "\u{a0}".as_bytes(),
        "\u{85}".as_bytes(),
        "\u{2028}".as_bytes(),
        b"/**/",
        b"//\n",
        b" ",
    ];
    let draft = Draft::any(rng);
    if rng.percent(60) { between(&draft, &legal, rng) } else { between(&draft, &lax, rng) }
}

fn invisible(rng: &mut Rng) -> Vec<u8> {
    let draft = Draft::any(rng);
    let marks: [&[u8]; 6] = [
        "\u{feff}".as_bytes(),
        b"\0",
        "\u{200b}".as_bytes(),
        "\u{2060}".as_bytes(),
        b"\xff\xfe",
        b"\xfe\xff",
    ];
    match rng.below(4) {
        0 => [rng.one_of(&marks), &draft.bytes()].concat(),
        1 => [&draft.bytes()[..], rng.one_of(&marks)].concat(),
        2 => String::from_utf8_lossy(&draft.bytes()).encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => between(&draft, &marks, rng),
    }
}

fn encoding(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    // overlong, incomplete, surrogate or out of range
    let wrong: [&[u8]; 8] = [
        b"\xff",
        b"\xc1\xad",
        b"\xc0\x80",
        b"\xe0\x80\xad",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc5",
        b"\x80",
    ];
    for _ in 0..=rng.below(2) {
        let what = rng.one_of(&wrong);
        let (name, value) = draft.some(rng);
        let text = if rng.percent(60) || value.len() < 3 { name } else { value };
        let at = (1 + rng.below(text.len() as u64 - 1) as usize).min(text.len());
        text.splice(at..at, what.iter().copied());
    }
    if rng.percent(30) {
        draft.members.push(([&b"x"[..], rng.one_of(&wrong)].concat(), b"1".to_vec()));
    }
    draft.bytes()
}

/// Elements of a batch with one hostile call.
fn elements(rng: &mut Rng) -> Vec<Vec<u8>> {
    let others: [&[u8]; 8] = [b"null", b"1", b"[]", b"{}", b"\"eth_chainId\"", b"[[]]", b"", b"true"];
    let mut all = Vec::new();
    for _ in 0..rng.below(5) {
        all.push(if rng.percent(60) { Draft::granted(rng).bytes() } else { rng.one_of(&others).to_vec() });
    }
    let at = rng.below(all.len() as u64 + 1) as usize;
    all.insert(at, Draft::any(rng).bytes());
    all
}

fn batch(rng: &mut Rng) -> Vec<u8> {
    let all = elements(rng);
    let hostile = Draft::any(rng).bytes();
    let joined = |with: &[u8]| all.join(with);
    match rng.below(9) {
        0 => [b"[[", &joined(b",")[..], b"]]"].concat(),
        1 => [b"[", &joined(b",")[..], b",]"].concat(),
        2 => [b"[", &joined(b" ")[..], b"]"].concat(),
        3 => [b"[", &joined(b",")[..], b"],", &hostile].concat(),
        4 => [b"[", &joined(b",")[..], b"][", &hostile, b"]"].concat(),
        5 => [b"[", &joined(b",")[..]].concat(),
        6 => {
            let many: Vec<_> = (0..95 + rng.below(10)).map(|_| Draft::granted(rng).bytes()).collect();
            [b"[", &many.join(&b","[..])[..], b",", &hostile, b"]"].concat()
        }
        7 => [b" \n[ ", &joined(b" ,\t")[..], b"\r\n]"].concat(),
        _ => [b"[", &joined(b",")[..], b"]"].concat(),
    }
}

fn trailing(rng: &mut Rng) -> Vec<u8> {
    let first = if rng.percent(50) { Draft::granted(rng) } else { Draft::any(rng) };
    let hostile = Draft::any(rng).bytes();
    let gaps: [&[u8]; 12] =
        [b"", b"\n", b" ", b",", b"\0", b"\r\n\r\n", b"]", b"}", b";", b"\x1e", b"\n--\n", b"\xef\xbb\xbf"];
    let gap = rng.one_of(&gaps);
    match rng.below(4) {
        0 => [&first.bytes()[..], gap].concat(),
        1 => [b"[", &first.bytes()[..], b"]", gap, &hostile].concat(),
        _ => [&first.bytes()[..], gap, &hostile].concat(),
    }
}

/// Common buffer sizes of connections, decoders and stored bodies.
const BUFFERS: [usize; 7] = [512, 1024, 4096, 8192, 16 * 1024, 64 * 1024, 1024 * 1024];

/// A body whose hostile member begins near the end of a buffer.
fn sizes(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    let last = draft.members.pop().unwrap_or_else(|| member("method", "\"admin_peers\""));
    let end = rng.one_of(&BUFFERS) + rng.below(24) as usize;
    let used = draft.bytes().len() + 12;
    let gap = end.saturating_sub(used);
    let filler = match rng.below(3) {
        0 => b" ".repeat(gap),
        1 => b"\n".repeat(gap),
        _ => b" \t\r\n".repeat(gap / 4 + 1),
    };
    let tokens = draft.tokens();
    let (_, before) = tokens.split_last().unwrap_or((&tokens[0], &[]));
    [&before.concat()[..], b",", &filler, b"\"", &last.0, b"\":", &last.1, b"}"].concat()
}

/// A body whose size is close to that of a buffer.
fn whole(rng: &mut Rng) -> Vec<u8> {
    let mut draft = Draft::any(rng);
    let size = rng.one_of(&BUFFERS) + rng.below(9) as usize - 4;
    let gap = size.saturating_sub(draft.bytes().len());
    match rng.below(3) {
        0 => {
            let at = draft.at("params");
            draft.members[at].1 = [b"[\"", &b"0".repeat(gap.saturating_sub(5))[..], b"\"]"].concat();
            draft.bytes()
        }
        1 => {
            let at = draft.at("id");
            draft.members[at].1 = [b"\"", &b"0".repeat(gap)[..], b"\""].concat();
            draft.bytes()
        }
        _ => [draft.bytes(), b" ".repeat(gap)].concat(),
    }
}
