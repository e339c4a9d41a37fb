//! Identity of the PostgreSQL with a node's private state: the report of `quorum-guard`, and the identifier that
//! the operator makes it expect. Pure.
//!
//! The guard writes a [`Report`] as the termination message of its init container, and the operator reads it in the
//! pod's status. The operator writes the expected identifier into a ConfigMap that the init container mounts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Key in the ConfigMap, and name of the file, with the expected identifier of an external database.
pub const FILE: &str = "system-identifier";

/// Prefix of the comment in `passwd` that names the expected identifier of a managed database.
const COMMENT: &str = "system-identifier=";

/// PostgreSQL's system identifier. `initdb` chooses one for each new cluster; replicas and restored volumes have
/// the same.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(try_from = "String", into = "String")]
pub struct SystemIdentifier(pub u64);

impl fmt::Display for SystemIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for SystemIdentifier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| {
            "not a system identifier; it is a decimal number, as pg_controldata prints it".to_owned()
        })
    }
}

impl TryFrom<String> for SystemIdentifier {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SystemIdentifier> for String {
    fn from(identifier: SystemIdentifier) -> Self {
        identifier.to_string()
    }
}

/// Result of the guard's check before a database or its transaction manager starts.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The database can be used.
    InUse,
    /// Another database was expected. The guard changes nothing.
    Replaced,
    /// The major version of PostgreSQL in the image is not the one that created the data directory.
    OtherMajor,
}

/// The guard's report about the database that it found.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the database can be used.
    pub verdict: Verdict,
    /// Identifier of the database; `None` if the volume is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<SystemIdentifier>,
    /// Major version of PostgreSQL that created the data directory, such as 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_version: Option<u32>,
    /// Major version of PostgreSQL in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_major_version: Option<u32>,
}

impl Report {
    /// A report without versions.
    #[must_use]
    pub fn new(verdict: Verdict, system_identifier: Option<SystemIdentifier>) -> Self {
        Self { verdict, system_identifier, major_version: None, image_major_version: None }
    }

    /// Parses a termination message; `None` if it is not a report.
    #[must_use]
    pub fn read(message: &str) -> Option<Self> {
        serde_json::from_str(message.trim()).ok()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Comment of an account in `passwd` that names the expected database; empty if any database is accepted.
#[must_use]
pub fn comment(expected: Option<SystemIdentifier>) -> String {
    expected.map(|identifier| format!("{COMMENT}{identifier}")).unwrap_or_default()
}

/// Parses the expected database from the comments of a `passwd` file; `None` if no comment names one.
///
/// # Errors
/// If a comment names something other than a system identifier.
pub fn expected_in_accounts(passwd: &str) -> Result<Option<SystemIdentifier>, String> {
    let comments = passwd.lines().filter_map(|line| line.split(':').nth(4));
    comments.filter_map(|comment| comment.strip_prefix(COMMENT)).map(str::parse).next().transpose()
}

/// Parses the expected database from the file [`FILE`]; `None` if the file is empty.
///
/// # Errors
/// If the file contains something other than a system identifier.
pub fn expected_in_file(text: &str) -> Result<Option<SystemIdentifier>, String> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: SystemIdentifier = SystemIdentifier(u64::MAX);

    #[test]
    fn a_report_is_read_as_it_was_written_and_nothing_else_is_a_report() {
        let report = Report {
            verdict: Verdict::OtherMajor,
            system_identifier: Some(LATE),
            major_version: Some(15),
            image_major_version: Some(16),
        };
        let text = report.to_string();
        assert!(text.contains(r#""systemIdentifier":"18446744073709551615""#), "{text}");
        assert_eq!(Report::read(&format!("{text}\n")), Some(report));
        let empty = Report::new(Verdict::Replaced, None);
        assert_eq!(Report::read(&empty.to_string()), Some(empty));
        for other in
            ["", "Error", "{}", r#"{"verdict":"inUse","systemIdentifier":"-1"}"#, r#"{"verdict":"x"}"#]
        {
            assert_eq!(Report::read(other), None, "{other}");
        }
    }

    #[test]
    fn an_identifier_is_a_decimal_number_and_nothing_else() {
        assert_eq!("7713822710339601900".parse(), Ok(SystemIdentifier(7_713_822_710_339_601_900)));
        for other in ["", "-1", "+1", " 1", "0x1", "18446744073709551616", "1\n"] {
            assert!(other.parse::<SystemIdentifier>().is_err(), "{other:?}");
        }
    }

    #[test]
    fn the_expected_database_is_found_where_it_was_written() {
        let passwd = |comment: String| {
            format!("root:x:0:0::/:/bin/false\npostgres:x:1:1:{comment}:/data:/bin/false\n")
        };
        for expected in [None, Some(LATE)] {
            assert_eq!(expected_in_accounts(&passwd(comment(expected))), Ok(expected));
            let file = expected.map(|identifier| format!("{identifier}\n")).unwrap_or_default();
            assert_eq!(expected_in_file(&file), Ok(expected));
        }
        assert!(expected_in_accounts(&passwd("system-identifier=x".into())).is_err());
        assert!(expected_in_file("x").is_err());
        assert_eq!(expected_in_accounts("daemon:x:1:1:system daemon:/:/bin/false\n\n"), Ok(None));
    }
}
