//! Decoder of chunked bodies, RFC 9112 section 7.1. Pure.

use super::exchange::Fault;

/// Position of the next byte in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the line with a chunk's size.
    Size,
    /// In a chunk with this many bytes left.
    Data(u64),
    /// In the line end after a chunk.
    DataEnd,
    /// In the lines after the last chunk.
    Trailer,
    /// After the end.
    Ended,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Drop this many bytes.
    Skip(usize),
    /// This many bytes belong to the body.
    Take(usize),
    /// Read more bytes.
    More,
    /// The body has ended.
    End,
}

/// Maximum length of a line.
const LINE: usize = 256;

impl Chunks {
    /// Decides what to do with the bytes read so far. The caller must not pass bytes again that were dropped or taken.
    pub(super) fn step(&mut self, there: &[u8]) -> Result<Step, Fault> {
        match *self {
            Self::Ended => Ok(Step::End),
            Self::Data(left) if there.is_empty() && left > 0 => Ok(Step::More),
            Self::Data(left) => {
                let size = usize::try_from(left).unwrap_or(usize::MAX).min(there.len());
                *self = if size as u64 == left { Self::DataEnd } else { Self::Data(left - size as u64) };
                Ok(Step::Take(size))
            }
            Self::Size | Self::DataEnd | Self::Trailer => {
                let Some(end) = there.iter().take(LINE).position(|byte| *byte == b'\n') else {
                    return if there.len() < LINE { Ok(Step::More) } else { Err(Fault::Broken) };
                };
                let line = there[..end].strip_suffix(b"\r").ok_or(Fault::Broken)?;
                *self = match *self {
                    Self::Size => match size(line)? {
                        0 => Self::Trailer,
                        size => Self::Data(size),
                    },
                    Self::DataEnd if line.is_empty() => Self::Size,
                    Self::DataEnd => return Err(Fault::Broken),
                    _ if line.is_empty() => Self::Ended,
                    _ => Self::Trailer,
                };
                Ok(Step::Skip(end + 1))
            }
        }
    }
}

fn size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).map_err(|_| Fault::Broken)?.trim_end();
    let is_plain = digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_plain).ok_or(Fault::Broken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes a text that arrives in pieces of a size. Returns the body and the number of bytes after it.
    fn read(text: &[u8], piece: usize) -> Result<(Vec<u8>, usize), Fault> {
        let (mut chunks, mut body, mut there) = (Chunks::Size, Vec::new(), 0..0);
        loop {
            match chunks.step(&text[there.clone()])? {
                Step::Skip(size) => there.start += size,
                Step::Take(size) => {
                    body.extend_from_slice(&text[there.start..there.start + size]);
                    there.start += size;
                }
                Step::More if there.end == text.len() => return Err(Fault::Broken),
                Step::More => there.end = (there.end + piece).min(text.len()),
                Step::End => return Ok((body, text.len() - there.start)),
            }
        }
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_however_it_comes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6), piece in 1_usize..700,
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(read(&text, piece), Ok((chunks.concat(), 0)));
            text.pop();
            prop_assert_eq!(read(&text, piece), Err(Fault::Broken), "it ends too early");
        }

        #[test]
        fn whatever_comes_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..600), piece in 1_usize..50) {
            let _ = read(&text, piece);
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for text in [
            "x\r\n",
            "\r\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\na\r\n0\r\n\r\n",
            "-1\r\n",
            "+1\r\na\r\n0\r\n\r\n",
            "ffffffffffffffff\r\n",
        ] {
            assert_eq!(read(text.as_bytes(), 7), Err(Fault::Broken), "{text:?}");
        }
        assert_eq!(read(&[b'1'; 300], 7), Err(Fault::Broken), "a line without an end");
        assert_eq!(read(b"2;name=value\r\nok\r\n0\r\nx: y\r\n\r\nHTTP", 7), Ok((b"ok".to_vec(), 4)));
    }
}
