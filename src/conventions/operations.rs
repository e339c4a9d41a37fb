//! Checks that `docs/operations.md` lists every metric and only reasons and conditions that exist.

use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/operations.md");
const CONDITIONS: &str = include_str!("../../docs/conditions.md");
const SOURCES: [&str; 2] = [include_str!("../serve/metrics.rs"), include_str!("../guard/metrics/series.rs")];

/// Identifiers (letters, digits, `_`) that stand between two marks, such as backticks or quotes.
fn words<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let plain = |word: &&str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    text.lines().flat_map(move |line| line.split(mark)).filter(plain)
}

fn metrics<'a>(texts: impl IntoIterator<Item = &'a str>, mark: &'a str) -> BTreeSet<&'a str> {
    // the encoder appends these suffixes to the names of counters and info metrics
    let bare = |name: &'a str| name.trim_end_matches("_total").trim_end_matches("_info");
    let words = texts.into_iter().flat_map(|text| words(text, mark));
    words.filter(|word| word.starts_with("quorum_") && *word != "quorum_operator").map(bare).collect()
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let programs = SOURCES.iter().filter_map(|text| text.split("#[cfg(test)]").next());
    let there = metrics(programs, "\"");
    assert!(there.len() > 12, "{there:?}");
    assert_eq!(metrics([PAGE], "`"), there);
}

#[test]
fn every_reason_and_condition_it_names_is_in_the_reference() {
    let camel = |word: &&str| {
        word.starts_with(|letter: char| letter.is_ascii_uppercase())
            && word.contains(|letter: char| letter.is_ascii_lowercase())
    };
    let named: BTreeSet<_> = words(PAGE, "`").filter(camel).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(CONDITIONS.contains(&format!("`{name}`")), "{name}");
    }
}
