//! Axes along which a body is hostile.

use crate::dice::Dice;
use crate::draft::{Draft, marker, member, open, other_case};

/// Makes a body of an axis.
pub(crate) type Body = fn(&mut Dice) -> Vec<u8>;

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

/// A body of any axis.
pub(crate) fn any(dice: &mut Dice) -> Vec<u8> {
    // sizes are left out: what is sent in pieces has sizes of its own
    let (_, body) = dice.one_of(&AXES[..AXES.len() - 2]);
    body(dice)
}

/// What the client takes for a call like any other, alone or in a batch.
fn undisguised(dice: &mut Dice) -> Vec<u8> {
    let hostile = Draft::plain(dice).bytes();
    match dice.below(3) {
        0 => [b"[", &hostile[..], b",", &Draft::granted(dice).bytes(), b"]"].concat(),
        1 => [b"[", &Draft::granted(dice).bytes()[..], b",", &hostile, b"]"].concat(),
        _ => hostile,
    }
}

fn case(dice: &mut Dice) -> Vec<u8> {
    let mut draft = if dice.percent(80) { Draft::shadowed(dice) } else { Draft::plain(dice) };
    for _ in 0..=dice.below(3) {
        let (name, _) = draft.some(dice);
        let is_exact = name == b"method" && dice.percent(70);
        if let (Ok(text), false) = (String::from_utf8(name.clone()), is_exact) {
            *name = other_case(&text.to_ascii_lowercase(), dice).into_bytes();
        }
    }
    draft.bytes()
}

/// Letters that Unicode folds onto those of ASCII: the long s and the sign of the kelvin.
fn folded(text: &[u8], dice: &mut Dice) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let (s, k) = if dice.percent(50) { ("\u{17f}", "\u{212a}") } else { ("\\u017f", "\\u212A") };
    text.replace(['s', 'S'], s).replace(['k', 'K'], k).into_bytes()
}

fn fold(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    for name in ["params", "jsonrpc"] {
        let at = draft.at(name);
        if dice.percent(60) {
            draft.members[at].0 = folded(&draft.members[at].0, dice);
        } else if dice.percent(50) {
            let mut second = draft.members[at].clone();
            second.0 = folded(&second.0, dice);
            draft.members.push(second);
        }
    }
    if dice.percent(30) {
        let at = draft.at("method");
        draft.members[at].1 = folded(&draft.members[at].1, dice);
    }
    if dice.percent(30) {
        draft.members.push(member("\u{212a}ey\u{17f}", "1"));
    }
    draft.bytes()
}

fn escaped(text: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in text {
        match (byte, dice.below(10)) {
            (b'"' | b'\\', _) => out.push(byte),
            (_, 0..3) => out.extend(format!("\\u{byte:04x}").bytes()),
            (_, 3) => out.extend(format!("\\u{byte:04X}").bytes()),
            (b'/', 4) => out.extend(b"\\/"),
            _ => out.push(byte),
        }
    }
    match dice.below(30) {
        0 => out.extend(b"\\u0000"),
        1 => out.extend(b"\\ud800"),
        2 => out.extend(b"\\x41"),
        3 => out.extend(b"\\u00"),
        4 => out.extend(b"\\ud83d\\ude00"),
        _ => {}
    }
    out
}

fn escape(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    for _ in 0..=dice.below(3) {
        let at = if dice.percent(60) {
            draft.at("method")
        } else {
            dice.below(draft.members.len() as u64) as usize
        };
        let (name, value) = &mut draft.members[at];
        if dice.percent(60) {
            *name = escaped(name, dice);
        }
        if value.starts_with(b"\"") && dice.percent(40) {
            *value = escaped(value, dice);
        }
    }
    draft.bytes()
}

fn duplicate(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::twin(dice);
    for _ in 0..dice.below(4) {
        let mut again = draft.some(dice).clone();
        if again.0 == b"method" && dice.percent(50) {
            again.1 =
                format!("\"{}\"", if dice.percent(50) { open(dice).0 } else { marker(dice).0 }).into_bytes();
        }
        if dice.percent(40) {
            again.0 = other_case(&String::from_utf8_lossy(&again.0).to_ascii_lowercase(), dice).into_bytes();
        }
        let at = dice.below(draft.members.len() as u64 + 1) as usize;
        draft.members.insert(at, again);
    }
    draft.bytes()
}

fn order(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    if dice.percent(40) {
        draft.members.push(member("method", format!("\"{}\"", open(dice).0)));
    }
    draft.shuffle(dice);
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

fn types(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    for _ in 0..=dice.below(2) {
        let value = dice.one_of(&VALUES).as_bytes().to_vec();
        match dice.below(4) {
            // the client goes on after a value of the wrong type
            0 => draft.members.push(member(if dice.percent(50) { "method" } else { "Method" }, value)),
            1 => {
                let name = dice.one_of(&["error", "result", "id", "params", "jsonrpc", "extra"]);
                draft.members.insert(0, member(name, value));
            }
            _ => draft.some(dice).1 = value,
        }
    }
    draft.bytes()
}

/// With something between tokens, or rarely within one.
fn between(draft: &Draft, what: &[&[u8]], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    let tokens = draft.tokens();
    for token in &tokens {
        if dice.percent(25) {
            bytes.extend(dice.one_of(what));
        }
        if token.len() > 3 && dice.percent(4) {
            let (before, after) = token.split_at(1 + dice.below(token.len() as u64 - 2) as usize);
            bytes.extend([before, dice.one_of(what), after].concat());
        } else {
            bytes.extend(token);
        }
    }
    if dice.percent(30) {
        bytes.extend(dice.one_of(what));
    }
    bytes
}

fn whitespace(dice: &mut Dice) -> Vec<u8> {
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
    let draft = Draft::any(dice);
    if dice.percent(60) { between(&draft, &legal, dice) } else { between(&draft, &lax, dice) }
}

fn invisible(dice: &mut Dice) -> Vec<u8> {
    let draft = Draft::any(dice);
    let marks: [&[u8]; 6] = [
        "\u{feff}".as_bytes(),
        b"\0",
        "\u{200b}".as_bytes(),
        "\u{2060}".as_bytes(),
        b"\xff\xfe",
        b"\xfe\xff",
    ];
    match dice.below(4) {
        0 => [dice.one_of(&marks), &draft.bytes()].concat(),
        1 => [&draft.bytes()[..], dice.one_of(&marks)].concat(),
        2 => String::from_utf8_lossy(&draft.bytes()).encode_utf16().flat_map(u16::to_le_bytes).collect(),
        _ => between(&draft, &marks, dice),
    }
}

fn encoding(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    // overlong, half, of a surrogate, past the end
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
    for _ in 0..=dice.below(2) {
        let what = dice.one_of(&wrong);
        let (name, value) = draft.some(dice);
        let text = if dice.percent(60) || value.len() < 3 { name } else { value };
        let at = (1 + dice.below(text.len() as u64 - 1) as usize).min(text.len());
        text.splice(at..at, what.iter().copied());
    }
    if dice.percent(30) {
        draft.members.push(([&b"x"[..], dice.one_of(&wrong)].concat(), b"1".to_vec()));
    }
    draft.bytes()
}

/// Elements of a batch, one of which is hostile.
fn elements(dice: &mut Dice) -> Vec<Vec<u8>> {
    let others: [&[u8]; 8] = [b"null", b"1", b"[]", b"{}", b"\"eth_chainId\"", b"[[]]", b"", b"true"];
    let mut all = Vec::new();
    for _ in 0..dice.below(5) {
        all.push(if dice.percent(60) { Draft::granted(dice).bytes() } else { dice.one_of(&others).to_vec() });
    }
    let at = dice.below(all.len() as u64 + 1) as usize;
    all.insert(at, Draft::any(dice).bytes());
    all
}

fn batch(dice: &mut Dice) -> Vec<u8> {
    let all = elements(dice);
    let hostile = Draft::any(dice).bytes();
    let joined = |with: &[u8]| all.join(with);
    match dice.below(9) {
        0 => [b"[[", &joined(b",")[..], b"]]"].concat(),
        1 => [b"[", &joined(b",")[..], b",]"].concat(),
        2 => [b"[", &joined(b" ")[..], b"]"].concat(),
        3 => [b"[", &joined(b",")[..], b"],", &hostile].concat(),
        4 => [b"[", &joined(b",")[..], b"][", &hostile, b"]"].concat(),
        5 => [b"[", &joined(b",")[..]].concat(),
        6 => {
            let many: Vec<_> = (0..95 + dice.below(10)).map(|_| Draft::granted(dice).bytes()).collect();
            [b"[", &many.join(&b","[..])[..], b",", &hostile, b"]"].concat()
        }
        7 => [b" \n[ ", &joined(b" ,\t")[..], b"\r\n]"].concat(),
        _ => [b"[", &joined(b",")[..], b"]"].concat(),
    }
}

fn trailing(dice: &mut Dice) -> Vec<u8> {
    let first = if dice.percent(50) { Draft::granted(dice) } else { Draft::any(dice) };
    let hostile = Draft::any(dice).bytes();
    let gaps: [&[u8]; 12] =
        [b"", b"\n", b" ", b",", b"\0", b"\r\n\r\n", b"]", b"}", b";", b"\x1e", b"\n--\n", b"\xef\xbb\xbf"];
    let gap = dice.one_of(&gaps);
    match dice.below(4) {
        0 => [&first.bytes()[..], gap].concat(),
        1 => [b"[", &first.bytes()[..], b"]", gap, &hostile].concat(),
        _ => [&first.bytes()[..], gap, &hostile].concat(),
    }
}

/// Where readers have buffers: of their connection, of their decoder, of a body they keep.
const BUFFERS: [usize; 7] = [512, 1024, 4096, 8192, 16 * 1024, 64 * 1024, 1024 * 1024];

/// Its hostile member begins just before or after the end of a buffer.
fn sizes(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    let last = draft.members.pop().unwrap_or_else(|| member("method", "\"admin_peers\""));
    let end = dice.one_of(&BUFFERS) + dice.below(24) as usize;
    let used = draft.bytes().len() + 12;
    let gap = end.saturating_sub(used);
    let filler = match dice.below(3) {
        0 => b" ".repeat(gap),
        1 => b"\n".repeat(gap),
        _ => b" \t\r\n".repeat(gap / 4 + 1),
    };
    let tokens = draft.tokens();
    let (_, before) = tokens.split_last().unwrap_or((&tokens[0], &[]));
    [&before.concat()[..], b",", &filler, b"\"", &last.0, b"\":", &last.1, b"}"].concat()
}

/// Its size is just under or over that of a buffer.
fn whole(dice: &mut Dice) -> Vec<u8> {
    let mut draft = Draft::any(dice);
    let size = dice.one_of(&BUFFERS) + dice.below(9) as usize - 4;
    let gap = size.saturating_sub(draft.bytes().len());
    match dice.below(3) {
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
