//! Series that `quorum-guard metrics` adds to the client's.

use std::fmt::Write;

/// Values of these series.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Labels of `quorum_node_info`, in order.
    pub identity: Vec<(&'static str, String)>,
    /// Purpose, and expiry in seconds since 1970; `None` if the file could not be read.
    pub certificates: Vec<(String, Option<i64>)>,
    /// Lines dropped from this scrape.
    pub dropped: u64,
    /// Handshakes that failed since the start.
    pub failed_handshakes: u64,
    /// Whether the certificates on disk cannot be used.
    pub reload_failed: bool,
}

/// Renders the series as Prometheus text.
pub fn render(facts: &Facts) -> String {
    let mut out = String::new();
    let labels: Vec<(&str, &str)> =
        facts.identity.iter().map(|(key, value)| (*key, value.as_str())).collect();
    family(&mut out, ["quorum_node_info", "gauge", "Identifies the node; always 1."], &[(&labels, 1)]);

    let ends: Vec<_> =
        facts.certificates.iter().map(|(purpose, end)| ([("purpose", purpose.as_str())], *end)).collect();
    let read: Vec<(&[(&str, &str)], i64)> =
        ends.iter().filter_map(|(labels, end)| Some((&labels[..], (*end)?))).collect();
    let unread: Vec<(&[(&str, &str)], i64)> =
        ends.iter().map(|(labels, end)| (&labels[..], i64::from(end.is_none()))).collect();
    let name = "quorum_certificate_not_after_timestamp_seconds";
    family(&mut out, [name, "gauge", "When the certificate on disk expires, in seconds since 1970."], &read);
    let name = "quorum_certificate_undecodable";
    family(&mut out, [name, "gauge", "1 if the certificate on disk cannot be read."], &unread);

    let name = "quorum_guard_scrape_lines_dropped";
    let help = "Lines of the client's page that this scrape leaves out.";
    family(&mut out, [name, "gauge", help], &[(&[], facts.dropped)]);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    family(
        &mut out,
        ["quorum_guard_build_info", "gauge", "Version of quorum-guard; always 1."],
        &[(&version, 1)],
    );
    let name = "quorum_guard_tls_handshake_failures_total";
    family(
        &mut out,
        [name, "counter", "TLS handshakes that failed, and scrapes without a required certificate."],
        &[(&[], facts.failed_handshakes)],
    );
    let name = "quorum_guard_reload_failed";
    let help = "1 if the certificates on disk cannot be used and older ones are served.";
    family(&mut out, [name, "gauge", help], &[(&[], u8::from(facts.reload_failed))]);
    out
}

/// Labels and value of one series.
pub type Sample<'a, V> = (&'a [(&'a str, &'a str)], V);

/// Renders one family: name, type, help and its series. Renders nothing if there are no series.
pub fn family<V: std::fmt::Display>(out: &mut String, head: [&str; 3], samples: &[Sample<'_, V>]) {
    let [name, kind, help] = head;
    if samples.is_empty() {
        return;
    }
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in samples {
        let pairs: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_and_labels_are_escaped() {
        let text = render(&Facts {
            identity: vec![("name", "ali\"ce".into()), ("role", "a\\b".into())],
            certificates: vec![("metrics".into(), Some(1_800_000_000)), ("tm".into(), None)],
            dropped: 3,
            failed_handshakes: 5,
            reload_failed: true,
        });
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "quorum_node_info{name=\"ali\\\"ce\",role=\"a\\\\b\"} 1",
                "quorum_certificate_not_after_timestamp_seconds{purpose=\"metrics\"} 1800000000",
                "quorum_certificate_undecodable{purpose=\"metrics\"} 0",
                "quorum_certificate_undecodable{purpose=\"tm\"} 1",
                "quorum_guard_scrape_lines_dropped 3",
                concat!("quorum_guard_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
                "quorum_guard_tls_handshake_failures_total 5",
                "quorum_guard_reload_failed 1",
            ]
        );
    }

    #[test]
    fn a_family_without_series_has_no_header() {
        assert!(!render(&Facts::default()).contains("quorum_certificate"));
    }
}
