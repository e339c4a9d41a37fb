//! How a caller is known, as members of its audit records: built once and copied into each record. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

/// Maximum length of an escaped value in bytes.
pub const MOST: usize = 256;
/// End of a value that was cut.
const CUT: &str = "...";

/// Returns JSON members with a comma before each. The names are the guard's, the values come from callers.
pub(super) fn members(values: &[(&str, &str)]) -> Arc<str> {
    let mut text = String::new();
    for (name, value) in values {
        let _ = write!(text, ",\"{name}\":\"");
        escape(value, &mut text);
        text.push('"');
    }
    text.into()
}

/// Escapes a value for a JSON string. Cuts it if it is too long, never within a character or an escape.
fn escape(value: &str, to: &mut String) {
    let begin = to.len();
    // length to cut to if the value turns out to be too long
    let mut cut = begin;
    for letter in value.chars() {
        match letter {
            '"' | '\\' => to.extend(['\\', letter]),
            letter if is_hidden(letter) => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    let _ = write!(to, "\\u{unit:04x}");
                }
            }
            letter => to.push(letter),
        }
        let bytes = to.len() - begin;
        if bytes > MOST {
            to.truncate(cut);
            to.push_str(CUT);
            return;
        }
        if bytes + CUT.len() <= MOST {
            cut = to.len();
        }
    }
}

/// Whether a terminal would hide, move, reorder or join the character: Unicode categories Cc, Cf, Zl and Zp, and the
/// complete blocks of tags and similar characters.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> String {
        let members = members(&[("subject", value)]);
        assert!(members.len() <= MOST + ",\"subject\":\"\"".len(), "{} bytes", members.len());
        assert!(!members.contains(is_hidden), "{members}");
        let object: serde_json::Value = serde_json::from_str(&format!("{{\"a\":1{members}}}")).unwrap();
        assert_eq!(object.as_object().unwrap().len(), 2, "{members}");
        object["subject"].as_str().unwrap().to_owned()
    }

    #[test]
    fn whatever_a_subject_holds_it_is_one_value_of_one_line() {
        for value in [
            "",
            "system:serviceaccount:apps:wallet",
            "a\"b\\c/d",
            "\",\"verdict\":\"allowed",
            "line\nfeed\r\t\0\u{1b}[2J\u{7f}\u{85}\u{2028}",
            "a\u{202e}b\u{2066}c\u{feff}d\u{e0041}e",
            "Zürich 🏦",
        ] {
            assert_eq!(read(value), value);
        }
    }

    #[test]
    fn a_long_one_is_cut_between_letters() {
        assert_eq!(read(&"x".repeat(MOST)), "x".repeat(MOST));
        assert_eq!(read(&"x".repeat(MOST + 1)), "x".repeat(MOST - 3) + "...");
        for letter in ["\"", "ü", "🏦", "\n", "\u{202e}", "\u{e0041}"] {
            for before in 0..8 {
                let value = "x".repeat(before) + &letter.repeat(MOST);
                let told = read(&value);
                assert!(value.starts_with(told.strip_suffix("...").unwrap()), "{told}");
            }
        }
    }

    #[test]
    fn what_would_fool_a_terminal_is_told_as_its_number() {
        let bidirectional =
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let others = "\u{0}\u{1b}\u{7f}\u{80}\u{9b}\u{9f}\u{ad}\u{180e}\u{200b}\u{200d}\u{2028}\u{2029}\u{2060}\u{feff}\u{fff9}\u{e0001}\u{e007f}";
        for letter in bidirectional.chars().chain(others.chars()) {
            let told = members(&[("subject", &format!("a{letter}b"))]);
            assert!(told.starts_with(",\"subject\":\"a\\u") && told.is_ascii(), "{:x}", u32::from(letter));
        }
        for letter in [' ', '~', '\u{a0}', 'é', 'ش', 'ה', '中', '€', '\u{fffc}', '🏦'] {
            assert!(members(&[("subject", &format!("a{letter}b"))]).contains(letter), "{letter}");
        }
        assert_eq!(&*members(&[("cn", "\u{202e}\u{e0041}")]), r#","cn":"\u202e\udb40\udc41""#);
    }

    #[test]
    fn each_member_is_there() {
        assert_eq!(&*members(&[("subject", "a"), ("pod", "b-0")]), ",\"subject\":\"a\",\"pod\":\"b-0\"");
    }
}
