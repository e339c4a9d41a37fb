//! By what a caller is known, as members of its audit records: written once, and told in each of them. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

/// Bytes that a value may have, escaped.
pub const MOST: usize = 256;
/// How a value ends that has more.
const CUT: &str = "...";

/// Members of a JSON object, each with a comma before it: names of our own, and values of theirs.
pub(super) fn members(values: &[(&str, &str)]) -> Arc<str> {
    let mut text = String::new();
    for (name, value) in values {
        let _ = write!(text, ",\"{name}\":\"");
        escape(value, &mut text);
        text.push('"');
    }
    text.into()
}

/// A value in a string of JSON, cut where it is too long: never within a character or an escape.
fn escape(value: &str, to: &mut String) {
    let begin = to.len();
    // where it is cut if it turns out to be too long
    let mut cut = begin;
    for letter in value.chars() {
        match letter {
            '"' | '\\' => to.extend(['\\', letter]),
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => {
                let _ = write!(to, "\\u{:04x}", u32::from(letter));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> String {
        let members = members(&[("subject", value)]);
        assert!(members.len() <= MOST + ",\"subject\":\"\"".len(), "{} bytes", members.len());
        assert!(!members.contains(char::is_control), "{members}");
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
            "Zürich 🏦",
        ] {
            assert_eq!(read(value), value);
        }
    }

    #[test]
    fn a_long_one_is_cut_between_letters() {
        assert_eq!(read(&"x".repeat(MOST)), "x".repeat(MOST));
        assert_eq!(read(&"x".repeat(MOST + 1)), "x".repeat(MOST - 3) + "...");
        for letter in ["\"", "ü", "🏦", "\n"] {
            for before in 0..8 {
                let value = "x".repeat(before) + &letter.repeat(MOST);
                let told = read(&value);
                assert!(value.starts_with(told.strip_suffix("...").unwrap()), "{told}");
            }
        }
    }

    #[test]
    fn each_member_is_there() {
        assert_eq!(&*members(&[("subject", "a"), ("pod", "b-0")]), ",\"subject\":\"a\",\"pod\":\"b-0\"");
    }
}
