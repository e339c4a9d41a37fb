//! Strict RLP decoder: one item in canonical encoding, with no bytes after it.

/// An item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Bytes(&'a [u8]),
    List(Vec<Item<'a>>),
}

/// Maximum nesting of lists. `extraData` has three levels.
const DEEPEST: usize = 8;

/// Reads bytes that hold exactly one item.
///
/// # Errors
/// What is wrong, as a verb phrase that follows the subject.
pub(super) fn read(bytes: &[u8]) -> Result<Item<'_>, &'static str> {
    match item(bytes, 0)? {
        (item, []) => Ok(item),
        _ => Err("has bytes after its end"),
    }
}

/// The first item and the remaining bytes.
fn item(bytes: &[u8], depth: usize) -> Result<(Item<'_>, &[u8]), &'static str> {
    let (&first, rest) = bytes.split_first().ok_or("ends early")?;
    if first < 0x80 {
        return Ok((Item::Bytes(&bytes[..1]), rest));
    }
    let is_list = first >= 0xc0;
    let short = first - if is_list { 0xc0 } else { 0x80 };
    let (length, rest) = if short < 56 { (usize::from(short), rest) } else { length(rest, short - 55)? };
    let (content, rest) = rest.split_at_checked(length).ok_or("ends early")?;
    if is_list {
        return Ok((Item::List(items(content, depth)?), rest));
    }
    match content {
        [byte] if *byte < 0x80 => Err("has a single byte written as two"),
        _ => Ok((Item::Bytes(content), rest)),
    }
}

fn items(mut content: &[u8], depth: usize) -> Result<Vec<Item<'_>>, &'static str> {
    if depth == DEEPEST {
        return Err("has lists nested too deeply");
    }
    let mut items = Vec::new();
    while !content.is_empty() {
        let (item, rest) = item(content, depth + 1)?;
        items.push(item);
        content = rest;
    }
    Ok(items)
}

/// Reads a length that is encoded in `width` bytes.
fn length(bytes: &[u8], width: u8) -> Result<(usize, &[u8]), &'static str> {
    let (digits, rest) = bytes.split_at_checked(width.into()).ok_or("ends early")?;
    let length = digits
        .iter()
        .try_fold(0_usize, |length, byte| length.checked_mul(256).map(|length| length + usize::from(*byte)));
    match length {
        _ if digits.first() == Some(&0) => Err("has a length that begins with zero"),
        Some(length) if length < 56 => Err("has a short length written as a long one"),
        Some(length) => Ok((length, rest)),
        None => Err("ends early"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(item: &Item<'_>) -> Vec<u8> {
        let (content, base) = match item {
            Item::Bytes([byte]) if *byte < 0x80 => return vec![*byte],
            Item::Bytes(bytes) => (bytes.to_vec(), 0x80_u8),
            Item::List(items) => (items.iter().flat_map(written).collect(), 0xc0),
        };
        let mut bytes = Vec::new();
        match u8::try_from(content.len()) {
            Ok(length) if length < 56 => bytes.push(base + length),
            _ => {
                let length = content.len().to_be_bytes();
                let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
                bytes.push(base + 55 + u8::try_from(length.len()).expect("few"));
                bytes.extend(length);
            }
        }
        bytes.extend(content);
        bytes
    }

    #[test]
    fn the_examples_of_the_definition_are_read() {
        assert_eq!(read(&[0x83, b'd', b'o', b'g']), Ok(Item::Bytes(b"dog")));
        assert_eq!(read(&[0x80]), Ok(Item::Bytes(b"")));
        assert_eq!(read(&[0xc0]), Ok(Item::List(vec![])));
        assert_eq!(read(&[0x0f]), Ok(Item::Bytes(&[0x0f])));
        let nested = [0xc7, 0xc0, 0xc1, 0xc0, 0xc3, 0xc0, 0xc1, 0xc0];
        let empty = || Item::List(vec![]);
        let one = || Item::List(vec![empty()]);
        assert_eq!(read(&nested), Ok(Item::List(vec![empty(), one(), Item::List(vec![empty(), one()])])));
    }

    #[test]
    fn another_way_to_write_the_same_is_refused() {
        for (bytes, why) in [
            (vec![], "ends early"),
            (vec![0x83, b'd'], "ends early"),
            (vec![0xf8], "ends early"),
            (vec![0xc2, 0x83, b'd'], "ends early"),
            (vec![0xff; 9], "ends early"),
            (vec![0x80, 0x00], "has bytes after its end"),
            (vec![0x81, 0x7f], "has a single byte written as two"),
            (vec![0xb8, 0x37], "has a short length written as a long one"),
            (vec![0xb9, 0x00, 0x80], "has a length that begins with zero"),
        ] {
            assert_eq!(read(&bytes), Err(why), "{bytes:02x?}");
        }
        let deep: Vec<u8> = (0..50).rev().map(|more| 0xc0 + more).collect();
        assert_eq!(read(&deep), Err("has lists nested too deeply"));
    }

    proptest! {
        /// Each item has exactly one encoding.
        #[test]
        fn what_is_read_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(item) = read(&bytes) {
                prop_assert_eq!(written(&item), bytes);
            }
        }

        #[test]
        fn what_is_written_is_read(long in proptest::collection::vec(any::<u8>(), 0..400), list in any::<bool>()) {
            let bytes = Item::Bytes(&long);
            let item = if list { Item::List(vec![bytes.clone(), Item::List(vec![]), bytes]) } else { bytes };
            let written = written(&item);
            prop_assert_eq!(read(&written), Ok(item));
        }
    }
}
