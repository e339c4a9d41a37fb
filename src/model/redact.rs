//! Quotes what containers, registries and the API server say: bounded, printable, and without anything that may be
//! a key. A status is read by many who may read no Secret.

use serde_json::Value;

/// Of what others say no more is repeated than this many characters.
const WORDS: usize = 300;

/// And no more than so many are read.
const READ: usize = 8 * 1024;

/// A kubelet keeps so many bytes of a container's log, so a longer message may begin in the middle of a word.
const KEPT: usize = 2048;

/// From this length on a run of letters and digits that is no word may be a key, or a large part of one.
const LONG: usize = 20;

/// So many numbers in a row may be the bytes of a key.
const MANY: usize = 9;

/// What stands for what was left out.
const HIDDEN: &str = "[hidden]";

/// What the value behind it is never shown of.
const NAMES: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "mnemonic",
    "private key",
    "privatekey",
];

/// What somebody said, fit to be shown: one line of printable ASCII of at most 300 characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let text: String = text.chars().take(READ).collect();
    let text = without_values(&printable(&text));
    let text = without_keys(&without_bytes(&without_users(&text)));
    let mut shown: String = text.chars().take(WORDS).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// What a container said last, from its termination message or the end of its log: the line that tells why it
/// ended, or else the last one. `None` where there is none.
#[must_use]
pub fn last_words(message: &str) -> Option<String> {
    let whole = match message.split_once(char::is_whitespace) {
        Some((_, rest)) if message.len() >= KEPT => rest,
        _ => message,
    };
    let lines: Vec<String> =
        whole.lines().map(str::trim).filter(|line| is_told(line)).filter_map(said).collect();
    let line = lines.iter().rev().find(|line| is_end(line)).or(lines.last())?;
    Some(quoted(line)).filter(|words| !words.is_empty())
}

/// A frame of a stack says nothing to whoever has no sources.
fn is_told(line: &str) -> bool {
    let is_frame = ["at ", "... ", "goroutine "].iter().any(|begin| line.starts_with(begin));
    !line.is_empty() && !is_frame
}

/// Whether a line says why its program ended: as geth and Go's runtime write it, Java's logs, PostgreSQL.
fn is_end(line: &str) -> bool {
    let begins = ["Fatal:", "panic:", "fatal error:", "CRIT", "FATAL"];
    begins.iter().any(|begin| line.starts_with(begin))
        || [" ERROR ", " FATAL", " panicked at "].iter().any(|in_| line.contains(in_))
}

/// A line of a log; of one that is JSON the message, and the error where it has one. An object without a message is no line of
/// a log, but a record of what somebody did.
fn said(line: &str) -> Option<String> {
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

/// Without colours of a terminal, and with a space or a question mark for each run of what cannot be printed.
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

/// Without what stands behind the name of a secret.
fn without_values(text: &str) -> String {
    let mut text = text.to_owned();
    for name in NAMES {
        let mut from = 0;
        while let Some(found) = text[from..].to_ascii_lowercase().find(name) {
            let after = from + found + name.len();
            from = after;
            let Some((begin, end)) = value(&text[after..]) else { continue };
            text.replace_range(after + begin..after + end, HIDDEN);
            from = after + begin + HIDDEN.len();
        }
    }
    text
}

/// Where the value is of a name that ends here, if one does: behind `=`, or `:`, which takes the rest of the line.
fn value(rest: &str) -> Option<(usize, usize)> {
    let sign = rest.find(|c: char| !matches!(c, ' ' | '\''))?;
    let to_the_end = match rest.as_bytes()[sign] {
        b'=' => false,
        b':' => true,
        _ => return None,
    };
    let begin = sign + 1 + rest[sign + 1..].find(|c: char| !matches!(c, ' ' | '\''))?;
    let quoted = rest[..begin].ends_with('\'');
    // a comma, a quote or any other sign but a space may be part of it
    let end = match quoted {
        true => rest[begin..].rfind('\''),
        false => rest[begin..].find(|c| c == ' ' && !to_the_end),
    };
    Some((begin, end.map_or(rest.len(), |end| begin + end)))
}

/// Without who a URL is called as: of an enode that is its key.
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

/// Without long lists of small numbers, decimal or hexadecimal.
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
        if count >= MANY {
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

/// Without long runs of letters and digits that are no words, such as hexadecimal digits and base64.
fn without_keys(text: &str) -> String {
    let is_in = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_' | '%');
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_in(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        let hides = word.len() >= LONG && !word.split(['/', '-', '_']).all(is_word);
        shown.push_str(if hides { HIDDEN } else { word });
        let other = after.find(is_in).unwrap_or(after.len());
        shown.push_str(&after[..other]);
        rest = &after[other..];
    }
    shown
}

/// A short number, or letters that change their case as words do.
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
