//! Finds the end of the plain part of a string. Pure.

/// Returns the number of bytes before the first quote, backslash or control character. Examines 32 bytes at a time
/// without branches, then eight.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while bytes[at..].first_chunk().is_some_and(|some| !has_special(some)) {
        at += 32;
    }
    while let Some(eight) = bytes[at..].first_chunk() {
        match special(u64::from_le_bytes(*eight)).trailing_zeros() / 8 {
            8 => at += 8,
            before => return at + before as usize,
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    let rest = &bytes[at..];
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

fn has_special(some: &[u8; 32]) -> bool {
    let (words, _) = some.as_chunks();
    words.iter().fold(0, |found, eight| found | special(u64::from_le_bytes(*eight))) != 0
}

/// Sets the high bit of the lowest special byte among eight, and of no byte below it. Bytes above it may be marked
/// wrongly because of the borrow.
fn special(eight: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let less = |bytes: u64, than: u64| bytes.wrapping_sub(LOW * than) & !bytes & HIGH;
    let is = |byte: u8| less(eight ^ (LOW * u64::from(byte)), 1);
    less(eight, b' '.into()) | is(b'"') | is(b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_special = |byte: u8| matches!(byte, b'"' | b'\\' | ..b' ');
            for at in 0..70 {
                // what follows must not change the result
                for after in [b'x', b'!', b'"', 0, 0xff] {
                    let mut bytes = [b'x'; 80];
                    bytes[at] = byte;
                    bytes[at + 1..].fill(after);
                    let first = if is_special(after) { at + 1 } else { 80 };
                    assert_eq!(plain(&bytes), if is_special(byte) { at } else { first }, "{byte} at {at}");
                }
            }
        }
    }
}
