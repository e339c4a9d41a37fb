//! Audit record as a line of JSON: who called which method, and the result. Never contains params or answers. Pure.
//!
//! Every call has a line, so it is built in pieces without `fmt`. [`most`] returns its maximum length in advance.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;

use crate::guard::rpc::decide::rejection::REASONS;

/// How a call arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A request over HTTP/1.1.
    Http1,
    /// A request over HTTP/2.
    Http2,
    /// A message on a WebSocket.
    WebSocket,
}

impl Transport {
    /// The text in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::WebSocket => "websocket",
        }
    }
}

/// Connection and transport of a call.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Number of the connection since the process began.
    pub connection: u64,
    /// Address of the peer.
    pub from: IpAddr,
    /// How the call arrived.
    pub transport: Transport,
}

/// Result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guard forwarded the call, and it has ended.
    Allowed,
    /// The guard is forwarding the call, which may change state.
    Begun,
    /// A WebSocket was opened; no call.
    Opened,
    /// The guard rejected the call.
    Refused,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Begun, Self::Opened, Self::Refused];

    /// The text in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Begun => "begun",
            Self::Opened => "opened",
            Self::Refused => "refused",
        }
    }
}

/// Content of a record, except time and connection.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The caller's name, if it is known.
    pub caller: Option<&'a str>,
    /// How the caller is known: JSON members as in [`Known::who`](crate::guard::rpc::decide::identity::Known).
    pub who: Option<&'a str>,
    /// The method, if it could be read: letters, digits, `_` and `@`.
    pub method: Option<&'a str>,
    /// Whether the call was forwarded.
    pub verdict: Verdict,
    /// Why the call was rejected, or how its answer ended early.
    pub reason: Option<&'static str>,
    /// Number of the call since the process began, if it has two records.
    pub call: Option<u64>,
    /// Bytes of the call and of its answer.
    pub bytes: (u64, u64),
    /// Time from the request's header to the end of its answer.
    pub took: Duration,
}

/// Records that share one line.
#[derive(Clone, Debug)]
pub struct Sum {
    /// Their verdict.
    pub verdict: Verdict,
    /// Their reason.
    pub reason: Option<&'static str>,
    /// Number of records.
    pub count: u64,
    /// Sum of the bytes of their calls.
    pub bytes: u64,
    /// Time of the first record since 1970.
    pub since: Duration,
    /// The caller. This and the following members are `None` unless equal in all records.
    pub caller: Option<Box<str>>,
    /// As [`Fact::who`].
    pub who: Option<Box<str>>,
    /// As [`Fact::method`].
    pub method: Option<Box<str>>,
    /// As [`Way::connection`].
    pub connection: Option<u64>,
    /// As [`Way::from`].
    pub from: Option<IpAddr>,
    /// As [`Way::transport`].
    pub transport: Option<Transport>,
}

/// Formats times. Caches the text of the current second, because many records share it.
#[derive(Debug, Default)]
pub struct Clock {
    second: u64,
    text: [u8; SECOND],
}

/// Length of a date and time to the second.
const SECOND: usize = "2025-11-25T17:05:05".len();
/// The last second whose year has four digits.
const LAST: u64 = 253_402_300_799;

impl Clock {
    /// Returns the text of the second that contains a time since 1970.
    fn second(&mut self, at: Duration) -> &[u8; SECOND] {
        let second = at.as_secs().min(LAST);
        if second != self.second || self.text[0] == 0 {
            (self.second, self.text) = (second, text(second));
        }
        &self.text
    }

    fn write(&mut self, at: Duration, to: &mut Vec<u8>) {
        to.extend_from_slice(self.second(at));
        let millis = at.subsec_millis();
        let digit = |of: u32| b'0' + (millis / of % 10) as u8;
        to.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z']);
    }
}

fn text(second: u64) -> [u8; SECOND] {
    let at = i64::try_from(second).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = at.to_hms();
    let (year, month, day) = at.to_calendar_date();
    let year = year.unsigned_abs();
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [(0, year / 100), (2, year % 100), (5, u8::from(month).into()), (8, day.into())];
    let parts = parts.into_iter().chain([(11, hour.into()), (14, minute.into()), (17, second.into())]);
    for (at, number) in parts {
        text[at] += (number / 10 % 10) as u8;
        text[at + 1] += (number % 10) as u8;
    }
    text
}

/// Length of everything in a line except caller, identity and method, with all members present: the fixed text, and the
/// longest address, numbers and reason.
const FIXED: usize = {
    let longest = [
        "{\"time\":\"2025-11-25T17:05:05.007Z\",\"connection\":,\"from\":\"\",\"transport\":\"",
        Transport::WebSocket.as_str(),
        "\",\"caller\":\"\",\"method\":\"\",\"verdict\":\"",
        Verdict::Allowed.as_str(),
        "\",\"reason\":\"\",\"call\":,\"bytesIn\":,\"bytesOut\":,\"micros\":}\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    let (mut bytes, mut at) = (5 * NUMBER + REASON, 0);
    while at < longest.len() {
        bytes += longest[at].len();
        at += 1;
    }
    bytes
};
/// Digits of the largest number.
const NUMBER: usize = 20;
/// Length of the longest reason.
const REASON: usize = {
    let (mut longest, mut at) = (0, 0);
    while at < REASONS.len() {
        if REASONS[at].len() > longest {
            longest = REASONS[at].len();
        }
        at += 1;
    }
    longest
};

/// Maximum length of a line for this caller and method, for any result of the call.
#[must_use]
pub fn most(fact: &Fact<'_>) -> usize {
    let own = [fact.caller, fact.who, fact.method];
    FIXED + own.iter().flatten().map(|text| text.len()).sum::<usize>()
}

/// Writes the line of a record made at a time since 1970.
pub fn line(clock: &mut Clock, at: Duration, way: &Way, fact: &Fact<'_>, to: &mut Vec<u8>) {
    to.reserve(most(fact));
    to.extend_from_slice(b"{\"time\":\"");
    clock.write(at, to);
    number(b"\",\"connection\":", way.connection, to);
    address(way.from, to);
    text_member(b",\"transport\":\"", Some(way.transport.as_str()), to);
    text_member(b",\"caller\":\"", fact.caller, to);
    to.extend_from_slice(fact.who.unwrap_or_default().as_bytes());
    text_member(b",\"method\":\"", fact.method, to);
    text_member(b",\"verdict\":\"", Some(fact.verdict.as_str()), to);
    text_member(b",\"reason\":\"", fact.reason, to);
    if let Some(call) = fact.call {
        number(b",\"call\":", call, to);
    }
    number(b",\"bytesIn\":", fact.bytes.0, to);
    number(b",\"bytesOut\":", fact.bytes.1, to);
    number(b",\"micros\":", u64::try_from(fact.took.as_micros()).unwrap_or(u64::MAX), to);
    to.extend_from_slice(b"}\n");
}

/// Writes the line of several records.
pub fn sum(clock: &mut Clock, at: Duration, sum: &Sum, to: &mut Vec<u8>) {
    to.extend_from_slice(b"{\"time\":\"");
    clock.write(at, to);
    to.push(b'"');
    if let Some(connection) = sum.connection {
        number(b",\"connection\":", connection, to);
    }
    if let Some(from) = sum.from {
        address(from, to);
    }
    text_member(b",\"transport\":\"", sum.transport.map(Transport::as_str), to);
    text_member(b",\"caller\":\"", sum.caller.as_deref(), to);
    to.extend_from_slice(sum.who.as_deref().unwrap_or_default().as_bytes());
    text_member(b",\"method\":\"", sum.method.as_deref(), to);
    text_member(b",\"verdict\":\"", Some(sum.verdict.as_str()), to);
    text_member(b",\"reason\":\"", sum.reason, to);
    number(b",\"count\":", sum.count, to);
    to.extend_from_slice(b",\"since\":\"");
    Clock::default().write(sum.since, to);
    number(b"\",\"bytesIn\":", sum.bytes, to);
    to.extend_from_slice(b"}\n");
}

/// Writes a member whose value needs no escapes.
fn text_member(name: &[u8], value: Option<&str>, to: &mut Vec<u8>) {
    if let Some(value) = value {
        to.extend_from_slice(name);
        to.extend_from_slice(value.as_bytes());
        to.push(b'"');
    }
}

fn number(name: &[u8], mut number: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(name);
    let mut text = [b'0'; NUMBER];
    let mut begin = NUMBER;
    loop {
        begin -= 1;
        text[begin] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(&text[begin..]);
}

fn address(from: IpAddr, to: &mut Vec<u8>) {
    match from {
        IpAddr::V4(from) => {
            let [a, b, c, d] = from.octets();
            number(b",\"from\":\"", a.into(), to);
            for part in [b, c, d] {
                number(b".", part.into(), to);
            }
        }
        IpAddr::V6(from) => {
            let mut text = String::with_capacity(48);
            let _ = write!(text, ",\"from\":\"{from}");
            to.extend_from_slice(text.as_bytes());
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests;
