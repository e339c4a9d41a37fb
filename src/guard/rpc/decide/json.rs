//! Strict JSON reader that finds where values begin and end without interpreting them. Pure.
//!
//! Accepts RFC 8259 only. It rejects what a lenient decoder would repair, drop or guess.

mod plain;

use std::fmt;

use plain::plain;

/// Maximum nesting of arrays and objects, the value itself included.
pub const DEPTH: u32 = 64;

/// Text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Offset of the offending byte, from 0.
    pub at: usize,
    /// What was expected there.
    pub wanted: &'static str,
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.wanted)
    }
}

/// A position in a text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of a text.
    ///
    /// # Errors
    /// If the text is not UTF-8.
    pub fn new(text: &'a [u8]) -> Result<Self, Syntax> {
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Self { text, at: 0 }),
            Err(error) => Err(Syntax { at: error.valid_up_to(), wanted: "UTF-8" }),
        }
    }

    /// Offset of this position in bytes.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns an error at this position.
    pub fn fault<T>(&self, wanted: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, wanted })
    }

    /// Skips space and returns the next byte without consuming it; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Skips space, and consumes this byte if it is next. Returns whether it was.
    pub fn passes(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    /// Skips space and consumes this byte. Fails if it is not next.
    pub fn pass(&mut self, byte: u8, wanted: &'static str) -> Result<(), Syntax> {
        if self.passes(byte) { Ok(()) } else { self.fault(wanted) }
    }

    /// Fails unless only space is left.
    pub fn end(&mut self) -> Result<(), Syntax> {
        if self.peek().is_none() { Ok(()) } else { self.fault("nothing after the value") }
    }

    /// Consumes a value and returns its text.
    pub fn value(&mut self) -> Result<&'a str, Syntax> {
        self.peek();
        let begin = self.at;
        // one bit per open level: whether it is an object
        let (mut objects, mut depth) = (0_u64, 0);
        loop {
            let opened = match self.peek() {
                Some(open @ (b'{' | b'[')) if depth < DEPTH => {
                    self.at += 1;
                    (objects, depth) = (objects << 1 | u64::from(open == b'{'), depth + 1);
                    true
                }
                Some(b'{' | b'[') => return self.fault("at most 64 levels"),
                first => {
                    self.scalar(first)?;
                    false
                }
            };
            let mut is_first = opened;
            loop {
                if depth == 0 {
                    return Ok(&self.text[begin..self.at]);
                }
                let is_object = objects & 1 == 1;
                match self.peek() {
                    Some(byte) if byte == if is_object { b'}' } else { b']' } => {
                        self.at += 1;
                        (objects, depth) = (objects >> 1, depth - 1);
                        is_first = false;
                        continue;
                    }
                    _ if is_first => {}
                    Some(b',') => self.at += 1,
                    _ => return self.fault("a comma or the end of what is open"),
                }
                if is_object {
                    self.key()?;
                }
                break;
            }
        }
    }

    /// Consumes the name of a member and its colon. Returns the text between the quotes without decoding it.
    pub fn key(&mut self) -> Result<&'a str, Syntax> {
        if self.peek() != Some(b'"') {
            return self.fault("a name in quotes");
        }
        let begin = self.at + 1;
        self.string()?;
        let name = &self.text[begin..self.at - 1];
        self.pass(b':', "a colon")?;
        Ok(name)
    }

    /// Consumes a value that begins with this byte and is neither an array nor an object.
    fn scalar(&mut self, first: Option<u8>) -> Result<(), Syntax> {
        match first {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let rest = &self.text[self.at..];
                match ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word)) {
                    Some(word) => self.at += word.len(),
                    None => return self.fault("a value"),
                }
                Ok(())
            }
        }
    }

    /// Consumes a string with its quotes.
    fn string(&mut self) -> Result<(), Syntax> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            self.at += plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.fault("control characters escaped"),
                None => return self.fault("the end of a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.unit(self.at)? {
                0xd800..=0xdbff => match self.unit(self.at + 6)? {
                    0xdc00..=0xdfff => self.at += 12,
                    _ => return self.fault("both halves of a surrogate pair"),
                },
                0xdc00..=0xdfff => return self.fault("both halves of a surrogate pair"),
                _ => self.at += 6,
            },
            _ => return self.fault("an escape that JSON has"),
        }
        Ok(())
    }

    /// Returns the code unit of the `\u1234` that begins at an offset.
    fn unit(&self, at: usize) -> Result<u16, Syntax> {
        let digits = self.text.as_bytes().get(at..at + 6).and_then(|unit| unit.strip_prefix(b"\\u"));
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => Ok(unit),
            None => self.fault("\\u with four hexadecimal digits, and both halves of a surrogate pair"),
        }
    }

    fn number(&mut self) -> Result<(), Syntax> {
        self.passes_here(b"-");
        if !self.passes_here(b"0") {
            self.digits()?;
        }
        if self.passes_here(b".") {
            self.digits()?;
        }
        if self.passes_here(b"eE") {
            self.passes_here(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Syntax> {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { self.fault("a digit") }
    }

    fn passes_here(&mut self, any: &[u8]) -> bool {
        let is_here = self.text.as_bytes().get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(is_here);
        is_here
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn whole(text: &[u8]) -> Result<&str, Syntax> {
        let mut reader = Reader::new(text)?;
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn what_a_lenient_decoder_would_mend_is_refused_where_it_is() {
        for (text, at) in [
            ("", 0),
            ("[1,]", 3),
            ("[,1]", 1),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("{'a':1}", 1),
            ("{\"a\" 1}", 5),
            ("[1 2]", 3),
            ("[1}", 2),
            ("[1]]", 3),
            ("\u{feff}[]", 0),
            ("[]\0", 2),
            ("01", 1),
            ("1.", 2),
            (".5", 0),
            ("+1", 0),
            ("1e", 2),
            ("-", 1),
            ("NaN", 0),
            ("nul", 0),
            ("tru e", 0),
            ("\"\u{1}\"", 1),
            ("\"a", 2),
            ("\"\\x\"", 1),
            ("\"\\u12\"", 1),
            ("\"\\u+123\"", 1),
            ("\"\\ud800\"", 1),
            ("\"\\ud800\\u0041\"", 1),
            ("\"\\udc00\\ud800\"", 1),
            ("[]\u{a0}", 2),
            ("// []", 0),
        ] {
            assert_eq!(whole(text.as_bytes()).map_err(|fault| fault.at), Err(at), "{text:?}");
        }
        assert_eq!(whole(b"[\"\xff\"]").map_err(|fault| fault.at), Err(2), "not UTF-8");
        assert_eq!(whole(b"[\"\xed\xa0\x80\"]").map_err(|fault| fault.at), Err(2), "a surrogate as UTF-8");
    }

    #[test]
    fn a_value_has_so_many_levels_and_no_more() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(whole(nested(64).as_bytes()).is_ok());
        assert_eq!(whole(nested(65).as_bytes()), Err(Syntax { at: 64, wanted: "at most 64 levels" }));
        let many = format!("[{}[]]", "[[]],".repeat(1000));
        assert!(whole(many.as_bytes()).is_ok(), "levels that have ended do not count");
    }

    #[test]
    fn a_long_string_ends_where_it_ends() {
        for length in 0..200 {
            let text = "é".repeat(length / 3) + &"x".repeat(length);
            for end in ["\"", "\\n\"", "\\u00e9\""] {
                let quoted = format!("\"{text}{end}");
                assert_eq!(whole(quoted.as_bytes()), Ok(quoted.as_str()));
            }
            let broken = format!("\"{text}\u{1f}\"");
            assert_eq!(whole(broken.as_bytes()).map_err(|fault| fault.at), Err(1 + text.len()));
            assert!(whole(format!("\"{text}").as_bytes()).is_err());
        }
    }

    #[test]
    fn space_around_a_value_is_not_part_of_it() {
        assert_eq!(whole(b" \t\r\n[ 1 , {\"a\" : null} ] \n"), Ok("[ 1 , {\"a\" : null} ]"));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_json_is_read_whole(value in any_value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("text");
            prop_assert_eq!(whole(text.as_bytes()), Ok(text.as_str()));
        }

        /// Another parser agrees about every text that the reader accepts.
        #[test]
        fn what_is_read_is_json(
            value in any_value(), at: prop::sample::Index, other in prop::sample::select(b"\"\\{}[],:0-9eE.+tfnu \0\x80\xed".to_vec()),
            kind in 0..3,
        ) {
            let mut text = serde_json::to_vec(&value).expect("text");
            let at = at.index(text.len());
            match kind {
                0 => text[at] = other,
                1 => text.insert(at, other),
                _ => drop(text.remove(at)),
            }
            let theirs = serde_json::from_slice::<Value>(&text);
            // serde_json stops at a number that is out of range, whatever follows
            prop_assume!(!theirs.as_ref().err().is_some_and(|error| error.to_string().contains("out of range")));
            prop_assert_eq!(whole(&text).is_ok(), theirs.is_ok(), "{:?}", String::from_utf8_lossy(&text));
        }
    }
}
