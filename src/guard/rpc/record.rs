//! An audit record as a line of JSON: who called what, and what became of it; never what was asked with it or
//! answered. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

/// How a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A request of HTTP/1.1.
    Http1,
    /// A request of HTTP/2.
    Http2,
    /// A message of a WebSocket.
    WebSocket,
}

impl Transport {
    /// As it stands in a record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::WebSocket => "websocket",
        }
    }
}

/// Over what a call came.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Number of the connection since the process began.
    pub connection: u64,
    /// Who dialled.
    pub from: IpAddr,
    /// How.
    pub transport: Transport,
}

/// What is recorded of a call, besides when and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The caller's name, if it is known.
    pub caller: Option<&'a str>,
    /// Letters, digits, `_` and `@`, if it could be read.
    pub method: Option<&'a str>,
    /// Why it was refused, or how its answer ended early.
    pub reason: Option<&'static str>,
    /// Whether it was passed on.
    pub is_allowed: bool,
    /// Bytes that were asked, and answered; of a batch the answer is counted as a whole with each call.
    pub bytes: (u64, u64),
    /// From the request's header to the end of its answer.
    pub took: Duration,
}

/// Writes the line of a call.
pub fn line(at: OffsetDateTime, way: Way, fact: &Fact<'_>, to: &mut String) {
    let (hour, minute, second) = at.to_hms();
    let day = at.date();
    let (month, millis) = (u8::from(day.month()), at.millisecond());
    let _ = write!(
        to,
        r#"{{"time":"{}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z","connection":{},"from":"{}","transport":"{}""#,
        day.year(),
        day.day(),
        way.connection,
        way.from,
        way.transport.as_str(),
    );
    for (name, value) in [("caller", fact.caller), ("method", fact.method)] {
        if let Some(value) = value {
            let _ = write!(to, r#","{name}":"{value}""#);
        }
    }
    let verdict = if fact.is_allowed { "allowed" } else { "refused" };
    let _ = write!(to, r#","verdict":"{verdict}""#);
    if let Some(reason) = fact.reason {
        let _ = write!(to, r#","reason":"{reason}""#);
    }
    let (asked, answered) = fact.bytes;
    let micros = fact.took.as_micros();
    let _ = writeln!(to, r#","bytesIn":{asked},"bytesOut":{answered},"micros":{micros}}}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fact: &Fact<'_>) -> serde_json::Value {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_764_090_305_007_000_000).unwrap();
        let way = Way { connection: 7, from: "10.1.2.3".parse().unwrap(), transport: Transport::Http1 };
        let mut text = String::new();
        line(at, way, fact, &mut text);
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_line_says_who_what_and_how_it_ended() {
        let fact = Fact {
            caller: Some("wallet"),
            method: Some("eth_blockNumber"),
            reason: None,
            is_allowed: true,
            bytes: (63, 45),
            took: Duration::from_micros(812),
        };
        let wanted = serde_json::json!({
            "time": "2025-11-25T17:05:05.007Z", "connection": 7, "from": "10.1.2.3", "transport": "http/1.1",
            "caller": "wallet", "method": "eth_blockNumber", "verdict": "allowed",
            "bytesIn": 63, "bytesOut": 45, "micros": 812,
        });
        assert_eq!(written(&fact), wanted);
        let fact = Fact { caller: None, method: None, reason: Some("identity"), is_allowed: false, ..fact };
        let refused = written(&fact);
        assert_eq!((&refused["verdict"], &refused["reason"]), (&"refused".into(), &"identity".into()));
        assert!(refused.get("caller").is_none() && refused.get("method").is_none());
    }
}
