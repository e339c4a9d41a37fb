//! Finds where the values of a JSON text begin and end, because answers repeat parts of the request unchanged.

use serde::de::IgnoredAny;

/// Returns the first value of a text, whatever follows it. The error is `true` if the text ends too early, `false` if
/// it is not JSON.
pub(crate) fn first(text: &[u8]) -> Result<&[u8], bool> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(text[..values.byte_offset()].trim_ascii()),
        Some(Err(error)) => Err(error.is_eof()),
        None => Err(true),
    }
}

/// Returns the elements of a list.
pub(crate) fn elements(list: &[u8]) -> Vec<&[u8]> {
    let mut rest = inside(list);
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let element = value(rest);
        // not JSON
        if element.is_empty() {
            break;
        }
        elements.push(element);
        rest = after(&rest[element.len()..], b',');
    }
    elements
}

/// Returns the members of an object: decoded names, and values as in the text.
pub(crate) fn members(object: &[u8]) -> impl Iterator<Item = (String, &[u8])> {
    let mut rest = inside(object);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let name = value(rest);
        // not JSON
        if name.is_empty() {
            return None;
        }
        rest = after(&rest[name.len()..], b':');
        let value = value(rest);
        rest = after(&rest[value.len()..], b',');
        Some((string(name).unwrap_or_default(), value))
    })
}

/// Returns the first member of this name, as in the text.
pub(crate) fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    members(object).find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Decodes a value that is a string.
pub(crate) fn string(value: &[u8]) -> Option<String> {
    serde_json::from_slice(value).ok()
}

/// Formats a value as the client repeats it: without white space, and with the characters escaped that are special in
/// HTML.
pub(crate) fn compact(value: &[u8]) -> Vec<u8> {
    let (mut is_string, mut is_escaped) = (false, false);
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        if is_string || !byte.is_ascii_whitespace() {
            out.push(*byte);
        }
        is_string ^= *byte == b'"' && !is_escaped;
        is_escaped = is_string && *byte == b'\\' && !is_escaped;
    }
    if !out.iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2)) {
        return out;
    }
    let mut escaped = Vec::with_capacity(out.len());
    let mut rest = &out[..];
    while let [byte, more @ ..] = rest {
        let (piece, taken): (&[u8], usize) = match (byte, more) {
            (b'<', _) => (b"\\u003c", 1),
            (b'>', _) => (b"\\u003e", 1),
            (b'&', _) => (b"\\u0026", 1),
            (0xe2, [0x80, 0xa8, ..]) => (b"\\u2028", 3),
            (0xe2, [0x80, 0xa9, ..]) => (b"\\u2029", 3),
            _ => (&rest[..1], 1),
        };
        escaped.extend_from_slice(piece);
        rest = &rest[taken..];
    }
    escaped
}

/// Returns the text between the brackets.
fn inside(value: &[u8]) -> &[u8] {
    value.get(1..value.len().saturating_sub(1)).unwrap_or_default().trim_ascii()
}

fn after(rest: &[u8], separator: u8) -> &[u8] {
    let rest = rest.trim_ascii_start();
    rest.strip_prefix(&[separator]).unwrap_or(rest).trim_ascii_start()
}

/// Returns the value at the beginning of a text that is known to be JSON.
fn value(text: &[u8]) -> &[u8] {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        let ends = match byte {
            _ if is_escaped => false,
            b'"' => {
                is_string = !is_string;
                !is_string && depth == 0
            }
            _ if is_string => false,
            b'[' | b'{' => {
                depth += 1;
                false
            }
            // these end the enclosing list or object
            b']' | b'}' | b',' | b':' if depth == 0 => return text[..at].trim_ascii_end(),
            b']' | b'}' => {
                depth -= 1;
                depth == 0
            }
            _ => false,
        };
        is_escaped = is_string && *byte == b'\\' && !is_escaped;
        if ends {
            return &text[..=at];
        }
    }
    text.trim_ascii_end()
}
