//! Quotes messages of containers, registries and the API server: bounded in length, printable, and without anything
//! that may be a key. Many users who may read a status must not read Secrets.

use serde_json::Value;

/// Maximum length of a quote, in characters.
const MAX_QUOTE: usize = 300;

/// Maximum length of the text that is examined, in characters.
const MAX_INPUT: usize = 8 * 1024;

/// Bytes of a container's log that a kubelet copies into the termination message. A message of this length may begin in
/// the middle of a word.
const KUBELET_LIMIT: usize = 2048;

/// A run of letters and digits of at least this length that is not made of words may be a key, or a large part of one.
const KEY_LENGTH: usize = 20;

/// At least this many numbers in a row may be the bytes of a key.
const KEY_BYTES: usize = 9;

/// Replaces redacted text.
const HIDDEN: &str = "[hidden]";

/// Names of secrets. The value after one is redacted, also where the name is part of a longer word.
const NAMES: [&str; 13] = [
    "authorization",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "mnemonic",
    "private key",
    "privatekey",
    "apikey",
    "api key",
    "api-key",
];

/// Names of secrets that other words contain: only whole words count.
const WHOLE_NAMES: [&str; 3] = ["pass", "pwd", "seed"];

/// Schemes of the header `Authorization`. The word after one is a credential.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// Minimum number of consecutive words of a recovery phrase, each of 3 to 8 lower-case letters.
const PHRASE: usize = 12;

/// A redacted quote of a text: one line of printable ASCII, at most 300 characters and `...`.
#[must_use]
pub fn quoted(text: &str) -> String {
    let text: String = text.chars().take(MAX_INPUT).collect();
    let text = without_phrases(&without_values(&printable(&text)));
    let text = without_keys(&without_bytes(&without_users(&text)));
    let mut shown: String = text.chars().take(MAX_QUOTE).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// A redacted quote of a container's termination message: the line that says why the container ended, or else the last
/// line. `None` where there is none.
#[must_use]
pub fn last_words(message: &str) -> Option<String> {
    let whole = match message.split_once(char::is_whitespace) {
        Some((_, rest)) if message.len() >= KUBELET_LIMIT => rest,
        _ => message,
    };
    let lines: Vec<String> =
        whole.lines().map(str::trim).filter(|line| is_informative(line)).filter_map(log_message).collect();
    let line = lines.iter().rev().find(|line| is_end(line)).or(lines.last())?;
    Some(quoted(line)).filter(|words| !words.is_empty())
}

/// Whether a line is neither empty nor a stack frame.
fn is_informative(line: &str) -> bool {
    let is_frame = ["at ", "... ", "goroutine "].iter().any(|begin| line.starts_with(begin));
    !line.is_empty() && !is_frame
}

/// Whether a line says why its program ended, in the formats of geth, the Go runtime, Java logs, Rust and PostgreSQL.
fn is_end(line: &str) -> bool {
    let begins = ["Fatal:", "panic:", "fatal error:", "CRIT", "FATAL"];
    begins.iter().any(|begin| line.starts_with(begin))
        || [" ERROR ", " FATAL", " panicked at "].iter().any(|in_| line.contains(in_))
}

/// The message of a log line. For JSON, its message and error fields; `None` for a JSON object without a message, which
/// is not a log line but an audit record.
fn log_message(line: &str) -> Option<String> {
    let fields = serde_json::from_str::<Value>(line).ok();
    let field = |names: [&str; 2]| {
        let fields = fields.as_ref()?.as_object()?;
        names.iter().find_map(|name| fields.get(*name)?.as_str())
    };
    let Some(message) = field(["message", "msg"]) else {
        return (!fields.as_ref().is_some_and(Value::is_object)).then(|| line.to_owned());
    };
    let is_fatal = field(["level", "lvl"]).is_some_and(|level| ["ERROR", "crit"].contains(&level));
    let level = if is_fatal { "Fatal: " } else { "" };
    let error = field(["error", "err"]).map(|error| format!(": {error}")).unwrap_or_default();
    Some(format!("{level}{message}{error}"))
}

/// Removes terminal escapes, and replaces each run of unprintable characters with a space or a question mark.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.next_if_eq(&'[').is_some() {
            while rest.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            rest.next();
            continue;
        }
        let c = match c {
            '"' => '\'',
            ' '..='~' => c,
            c if c.is_whitespace() || c.is_control() => ' ',
            _ => '?',
        };
        if !(matches!(c, ' ' | '?') && shown.ends_with(c)) {
            shown.push(c);
        }
    }
    shown.trim().to_owned()
}

/// Redacts the values of secrets: after a name and `=` or `:`, after a flag, and after a scheme.
fn without_values(text: &str) -> String {
    let mut text = text.to_owned();
    for name in NAMES.iter().chain(&WHOLE_NAMES) {
        let is_whole = WHOLE_NAMES.contains(name);
        hide(&mut text, name, |before, after| match is_whole && !stands_alone(before, after) {
            true => None,
            false => value(after).or_else(|| value_of_flag(before, after)),
        });
    }
    for scheme in SCHEMES {
        hide(&mut text, scheme, |before, after| {
            // "basic auth" and "bearer token" are words
            let is_credential = |(begin, end): &(usize, usize)| {
                !after[*begin..*end].bytes().all(|byte| byte.is_ascii_lowercase())
            };
            stands_alone(before, after).then(|| next_word(after)).flatten().filter(is_credential)
        });
    }
    text
}

/// Redacts the range that `value` finds after each `name`. `value` gets the text before and after the name, and returns
/// a range within the text after it.
fn hide(text: &mut String, name: &str, value: impl Fn(&str, &str) -> Option<(usize, usize)>) {
    let mut from = 0;
    while let Some(found) = text[from..].to_ascii_lowercase().find(name) {
        let after = from + found + name.len();
        let range = value(&text[..from + found], &text[after..]);
        from = after;
        let Some((begin, end)) = range else { continue };
        text.replace_range(after + begin..after + end, HIDDEN);
        from = after + begin + HIDDEN.len();
    }
}

/// Whether a name between these two texts is a whole word.
fn stands_alone(before: &str, after: &str) -> bool {
    !before.ends_with(|c: char| c.is_ascii_alphanumeric())
        && !after.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The range of the next word, between spaces or quotes.
fn next_word(after: &str) -> Option<(usize, usize)> {
    let is_between = |c: char| matches!(c, ' ' | '\'');
    let begin = after.find(|c| !is_between(c)).filter(|begin| *begin > 0)?;
    let end = after[begin..].find(is_between).map_or(after.len(), |end| begin + end);
    Some((begin, end))
}

/// The range of a flag's value, such as `--db-password VALUE`, where the flag's name ends between these two texts.
fn value_of_flag(before: &str, after: &str) -> Option<(usize, usize)> {
    let word = before.rsplit([' ', '\'']).next().unwrap_or_default();
    (word.starts_with('-') && after.starts_with(' ')).then(|| next_word(after)).flatten()
}

/// Redacts recovery phrases.
fn without_phrases(text: &str) -> String {
    let is_part = |word: &&str| {
        let letters = word.trim_matches(|c: char| c.is_ascii_punctuation());
        (3..=8).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    let words: Vec<&str> = text.split(' ').collect();
    let mut shown = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let run = words[at..].iter().take_while(|word| is_part(word)).count();
        if run >= PHRASE {
            shown.push(HIDDEN);
            at += run;
        } else {
            shown.extend(&words[at..(at + run + 1).min(words.len())]);
            at += run + 1;
        }
    }
    shown.join(" ")
}

/// The range of the value after a name: after `=` one word, after `:` the rest of the line.
fn value(rest: &str) -> Option<(usize, usize)> {
    let sign = rest.find(|c: char| !matches!(c, ' ' | '\''))?;
    let to_the_end = match rest.as_bytes()[sign] {
        b'=' => false,
        b':' => true,
        _ => return None,
    };
    let begin = sign + 1 + rest[sign + 1..].find(|c: char| !matches!(c, ' ' | '\''))?;
    let quoted = rest[..begin].ends_with('\'');
    // any character except a space may be part of the value
    let end = match quoted {
        true => rest[begin..].rfind('\''),
        false => rest[begin..].find(|c| c == ' ' && !to_the_end),
    };
    Some((begin, end.map_or(rest.len(), |end| begin + end)))
}

/// Redacts the user part of URLs, which is the key of an enode URL.
fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let authority = part.find(['/', ' ', '\'']).unwrap_or(part.len());
        let user = part[..authority].rfind('@').unwrap_or(0);
        shown.push_str("://");
        shown.push_str(if user > 0 { HIDDEN } else { "" });
        shown.push_str(&part[user..]);
    }
    shown
}

/// Redacts long lists of small numbers, decimal or hexadecimal.
fn without_bytes(text: &str) -> String {
    let is_between = |c: char| matches!(c, ' ' | ',' | ':');
    let is_number = |word: &str| {
        let digits = word.trim_matches(['[', ']']);
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let words: Vec<&str> = text.split_inclusive(is_between).collect();
    let mut shown = String::new();
    let mut at = 0;
    while at < words.len() {
        // between `, ` there is an empty word
        let numbers = words[at..].iter().take_while(|word| {
            let word = word.trim_end_matches(is_between);
            word.is_empty() || is_number(word)
        });
        let run = numbers.count();
        let count =
            words[at..at + run].iter().filter(|word| !word.trim_end_matches(is_between).is_empty()).count();
        if count >= KEY_BYTES {
            shown.push_str(HIDDEN);
            shown.push(' ');
        } else {
            shown.extend(words[at..at + run].iter().copied());
        }
        at += run;
        if let Some(word) = words.get(at) {
            shown.push_str(word);
            at += 1;
        }
    }
    shown.trim_end().to_owned()
}

/// Redacts long runs of letters and digits that are not words, such as hexadecimal digits and base64.
fn without_keys(text: &str) -> String {
    let is_in = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '%');
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        let hides = word.len() >= KEY_LENGTH && !word.split(['/', '-', '_']).all(is_word);
        shown.push_str(if hides { HIDDEN } else { word });
        let other = after.find(is_in).unwrap_or(after.len());
        shown.push_str(&after[..other]);
        rest = &after[other..];
    }
    shown
}

/// Whether a part is a short number, or letters with the upper and lower case of words.
fn is_word(part: &str) -> bool {
    let bytes = part.as_bytes();
    if bytes.iter().all(u8::is_ascii_digit) {
        return part.len() <= 8;
    }
    let is_capitals = bytes.iter().all(u8::is_ascii_uppercase);
    let is_shouted = bytes.windows(2).any(|two| two.iter().all(u8::is_ascii_uppercase));
    bytes.iter().all(u8::is_ascii_alphabetic) && part.len() <= 32 && (is_capitals || !is_shouted)
}

#[cfg(test)]
mod tests;
