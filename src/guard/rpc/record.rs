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

/// Writes the line of a call, piece by piece: it is written for each.
pub fn line(at: OffsetDateTime, way: Way, fact: &Fact<'_>, to: &mut String) {
    let (hour, minute, second) = at.to_hms();
    let (year, month, day) = at.to_calendar_date();
    to.push_str("{\"time\":\"");
    digits(year.unsigned_abs().into(), 4, to);
    for (before, part) in [('-', u8::from(month)), ('-', day), ('T', hour), (':', minute), (':', second)] {
        to.push(before);
        digits(part.into(), 2, to);
    }
    to.push('.');
    digits(at.millisecond().into(), 3, to);
    to.push_str("Z\",\"connection\":");
    digits(way.connection, 1, to);
    let _ = write!(to, ",\"from\":\"{}\"", way.from);
    member("transport", Some(way.transport.as_str()), to);
    member("caller", fact.caller, to);
    member("method", fact.method, to);
    member("verdict", Some(if fact.is_allowed { "allowed" } else { "refused" }), to);
    member("reason", fact.reason, to);
    let (asked, answered) = fact.bytes;
    let micros = u64::try_from(fact.took.as_micros()).unwrap_or(u64::MAX);
    for (name, number) in [("bytesIn", asked), ("bytesOut", answered), ("micros", micros)] {
        to.push_str(",\"");
        to.push_str(name);
        to.push_str("\":");
        digits(number, 1, to);
    }
    to.push_str("}\n");
}

/// A member whose value needs no escapes.
fn member(name: &str, value: Option<&str>, to: &mut String) {
    if let Some(value) = value {
        for part in [",\"", name, "\":\"", value, "\""] {
            to.push_str(part);
        }
    }
}

/// A number of so many digits at least.
fn digits(mut number: u64, least: usize, to: &mut String) {
    let mut text = [b'0'; 20];
    let mut begin = text.len();
    while number > 0 || text.len() - begin < least {
        begin -= 1;
        text[begin] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    to.extend(text[begin..].iter().map(|digit| char::from(*digit)));
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
        let most = written(&Fact { bytes: (u64::MAX, 10), took: Duration::MAX, ..fact });
        assert_eq!((&most["bytesIn"], &most["bytesOut"]), (&u64::MAX.into(), &10.into()));
        assert_eq!(most["micros"], u64::MAX);
    }
}
