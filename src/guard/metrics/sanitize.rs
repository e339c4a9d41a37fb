//! Reduces the client's metrics page to lines that every Prometheus parser accepts.
//!
//! geth builds metric names from its input: a call to a method with an odd name creates a metric with an illegal name,
//! and one such line makes the whole scrape fail.

/// A sanitized page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The legal lines, each with its line end.
    pub text: String,
    /// Number of dropped lines.
    pub dropped: u64,
    /// Number of samples among the legal lines.
    pub samples: u64,
    /// `chain_head_block`.
    pub head: Option<f64>,
    /// `p2p_peers`.
    pub peers: Option<f64>,
}

/// Prefixes of the guard's own series. The client must not provide series with these names.
const OURS: [&str; 3] = ["quorum_node_", "quorum_certificate_", "quorum_guard_"];

/// Retains the legal lines and counts the others.
pub fn page(bytes: &[u8]) -> Page {
    let mut page = Page::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match std::str::from_utf8(line).ok().and_then(parsed) {
            Some(Line::Comment) => {}
            Some(Line::Type(text)) => push(&mut page.text, &[text]),
            Some(Line::Sample { name, labels, rest, value }) => {
                page.samples += 1;
                match (name, labels) {
                    ("chain_head_block", "") => page.head = Some(value),
                    ("p2p_peers", "") => page.peers = Some(value),
                    _ => {}
                }
                push(&mut page.text, &[name, labels, " ", rest]);
            }
            None => page.dropped += 1,
        }
    }
    page
}

fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
    text.push('\n');
}

enum Line<'a> {
    /// A comment without meaning for a parser.
    Comment,
    /// `# TYPE` or `# HELP` of a legal name.
    Type(&'a str),
    Sample {
        name: &'a str,
        labels: &'a str,
        rest: &'a str,
        value: f64,
    },
}

fn parsed(line: &str) -> Option<Line<'_>> {
    let line = line.trim_matches([' ', '\t']);
    if line.chars().any(|one| one.is_control() && one != '\t') {
        return None;
    }
    if let Some(comment) = line.strip_prefix('#') {
        let mut words = comment.split_ascii_whitespace();
        return match (words.next(), words.next()) {
            (Some("TYPE"), Some(name)) => {
                let kinds = ["counter", "gauge", "histogram", "summary", "untyped"];
                let legal = words.next().is_some_and(|kind| kinds.contains(&kind)) && words.next().is_none();
                (legal && foreign(name)).then_some(Line::Type(line))
            }
            (Some("HELP"), Some(name)) => foreign(name).then_some(Line::Type(line)),
            (Some("TYPE" | "HELP"), None) => None,
            _ => Some(Line::Comment),
        };
    }
    let end = line.find(|one: char| !name_char(one)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if !foreign(name) {
        return None;
    }
    // geth writes a blank between name and brace. It is legal, but stricter parsers reject it.
    let unspaced = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match unspaced.starts_with('{') {
        true => unspaced.split_at(labels(unspaced)?),
        false => ("", rest),
    };
    if labels.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next()?.parse::<f64>().ok()?;
    if let Some(time) = words.next() {
        time.parse::<i64>().ok()?;
    }
    if words.next().is_some() {
        return None;
    }
    Some(Line::Sample { name, labels, rest, value })
}

/// Whether the name is legal and not one of the guard's own.
fn foreign(name: &str) -> bool {
    legal(name) && !OURS.iter().any(|ours| name.starts_with(ours))
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn legal(name: &str) -> bool {
    name.starts_with(|first: char| name_char(first) && !first.is_ascii_digit()) && name.chars().all(name_char)
}

fn name_char(one: char) -> bool {
    one.is_ascii_alphanumeric() || one == '_' || one == ':'
}

/// Returns the length of `{label="value",…}` at the start of a text.
fn labels(text: &str) -> Option<usize> {
    let skip =
        |text: &str, at: usize| at + text[at..].len() - text[at..].trim_start_matches([' ', '\t']).len();
    let mut at = skip(text, 1);
    while !text[at..].starts_with('}') {
        let equals = at + text[at..].find('=')?;
        let name = text[at..equals].trim_end_matches([' ', '\t']);
        if !legal(name) || name.contains(':') {
            return None;
        }
        at = skip(text, equals + 1);
        at += quoted(&text[at..])?;
        at = skip(text, at);
        if text[at..].starts_with(',') {
            at = skip(text, at + 1);
        } else if !text[at..].starts_with('}') {
            return None;
        }
    }
    Some(at + 1)
}

/// Returns the length of a quoted string with its quotes. The only escapes are `\\`, `\"` and `\n`.
fn quoted(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    if bytes.next()?.1 != b'"' {
        return None;
    }
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => matches!(bytes.next()?.1, b'\\' | b'"' | b'n').then_some(())?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn legal_lines_stay_and_the_blank_before_a_brace_goes() {
        let text = "# TYPE chain_head_block gauge\nchain_head_block 0\n\n# TYPE x summary\nx {quantile=\"0.5\"} 1.5\n\
                    x_count 3\np2p_peers 4\ny{a=\"b}\\\" c\",d=\"\"} NaN 1700000000000\n# a comment";
        let page = page(text.as_bytes());
        assert_eq!((page.dropped, page.samples), (0, 5));
        assert_eq!((page.head, page.peers), (Some(0.0), Some(4.0)));
        assert_eq!(
            page.text,
            "# TYPE chain_head_block gauge\nchain_head_block 0\n# TYPE x summary\nx{quantile=\"0.5\"} 1.5\n\
             x_count 3\np2p_peers 4\ny{a=\"b}\\\" c\",d=\"\"} NaN 1700000000000\n"
        );
    }

    #[test]
    fn illegal_lines_go_and_are_counted() {
        for line in [
            "# TYPE rpc_duration_plugin@account_x counter",
            "rpc_duration_plugin@account_x 3",
            "rpc_duration_plugin@account_x {quantile=\"0.5\"} 3",
            "9lives 1",
            "<html>",
            "hello world",
            "x",
            "x ",
            "x{ 1",
            "x{a=b} 1",
            "x{a=\"b\"",
            "x{a=\"\\q\"} 1",
            "x{a:b=\"\"} 1",
            "x{a=\"b\" c=\"d\"} 1",
            "x 1 2 3",
            "x 1 soon",
            "x\r 1",
            "x 1\r",
            "# TYPE x gadget",
            "# TYPE",
            "quorum_node_info{name=\"mallory\"} 1",
            "# TYPE quorum_guard_build_info gauge",
            "quorum_certificate_not_after_timestamp_seconds{purpose=\"x\"} 9e9",
        ] {
            let page = page(line.as_bytes());
            assert_eq!((page.dropped, page.text.as_str()), (1, ""), "{line}");
        }
        assert_eq!(page(b"x\xff 1\nchain_head_block 7").dropped, 1);
    }

    #[test]
    fn a_labelled_namesake_is_not_the_head() {
        assert_eq!(page(b"chain_head_block{chain=\"other\"} 7").head, None);
    }

    proptest! {
        #[test]
        fn what_was_taken_over_is_taken_over_again_unchanged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let first = page(&bytes);
            let second = page(first.text.as_bytes());
            prop_assert_eq!(second.dropped, 0);
            prop_assert_eq!(second.text, first.text);
        }

        #[test]
        fn nothing_that_looks_like_a_sample_breaks_it(line in "[a-z:_@ ]{1,4}[ {]{0,2}[a-z=\"\\\\,} 0-9]{0,20}") {
            let first = page(line.as_bytes());
            prop_assert_eq!(page(first.text.as_bytes()).text, first.text);
        }
    }
}
