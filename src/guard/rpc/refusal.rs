//! Why something is not passed on, and how that is answered. Pure.
//!
//! What is not granted and what does not exist have one answer: it helps who has a right to ask, and tells nobody
//! what there is.

use std::borrow::Cow;

use hyper::StatusCode;

use super::identity::Denied;
use super::json::Syntax;
use super::message::{Invalid, given_back};

/// Why something is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the whole request; within a batch it has no meaning.
    pub status: StatusCode,
    /// Of the error object: JSON-RPC 2.0 section 5.1, and -32000 to -32099 as EIP-1474 has them where it does.
    pub code: i32,
    /// One of a closed list, for audit records and metrics.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: Cow<'static, str>,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u32>,
    /// Whether the connection ends with the answer.
    pub closes: bool,
}

const PARSE: i32 = -32700;
const INVALID: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const FAILED: i32 = -32603;
const UNAUTHORIZED: i32 = -32001;
const LIMIT: i32 = -32005;

/// Every reason there is.
pub const REASONS: [&str; 42] = [
    "answer_too_large",
    "answer_too_slow",
    "audit_blocked",
    "batch_empty",
    "batch_too_long",
    "body_too_large",
    "body_too_slow",
    "certificate_expired",
    "certificate_untrusted",
    "client_busy",
    "client_failed",
    "client_unreachable",
    "connections",
    "content_type",
    "cut",
    "encoding",
    "filters",
    "header_malformed",
    "header_too_large",
    "host",
    "invalid_request",
    "memory",
    "no_caller",
    "no_credentials",
    "not_granted",
    "origin",
    "path",
    "rate",
    "revoked",
    "subscriptions",
    "syntax",
    "token_algorithm",
    "token_audience",
    "token_expired",
    "token_issuer",
    "token_key",
    "token_lifetime",
    "token_malformed",
    "token_not_yet_valid",
    "token_signature",
    "token_without_pod",
    "verb",
];

impl Refusal {
    fn new(
        status: StatusCode,
        code: i32,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, reason, message: message.into(), retry_after: None, closes: false }
    }

    /// The same, and the connection ends.
    #[must_use]
    pub fn and_closes(self) -> Self {
        Self { closes: true, ..self }
    }

    fn and_later(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Another path than `/`.
    #[must_use]
    pub fn path() -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID, "path", "JSON-RPC is served at / alone, without a query")
    }

    /// Another verb than POST, OPTIONS and the GET of a WebSocket.
    #[must_use]
    pub fn verb() -> Self {
        let message = "send calls with POST, or open a WebSocket with HTTP/1.1";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, INVALID, "verb", message)
    }

    /// No `Host`, two of them, or one that is not served.
    #[must_use]
    pub fn host() -> Self {
        let message = "no such host here: call the node by the name of its Service, or have the name listed in spec.rpc.hostnames";
        Self::new(StatusCode::MISDIRECTED_REQUEST, INVALID, "host", message).and_closes()
    }

    /// A browser on a page that the caller does not name.
    #[must_use]
    pub fn origin() -> Self {
        let message =
            "this origin may not call in this caller's name: have it listed in the caller's origins";
        Self::new(StatusCode::FORBIDDEN, UNAUTHORIZED, "origin", message)
    }

    /// Nobody is known.
    #[must_use]
    pub fn identity(denied: &Denied) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, UNAUTHORIZED, denied.reason(), denied.to_string()).and_closes()
    }

    /// Another type than JSON.
    #[must_use]
    pub fn content_type() -> Self {
        let message = "send content-type: application/json, once";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "content_type", message)
    }

    /// A compressed body.
    #[must_use]
    pub fn encoding() -> Self {
        let message = "send the body without content-encoding";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID, "encoding", message)
    }

    /// More bytes than may be asked.
    #[must_use]
    pub fn body_too_large(most: u32) -> Self {
        let message =
            format!("the body has more than {most} bytes (spec.rpc.limits.bodyBytes): ask in smaller pieces");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, LIMIT, "body_too_large", message).and_closes()
    }

    /// A body that did not arrive.
    #[must_use]
    pub fn body_too_slow() -> Self {
        let message = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, LIMIT, "body_too_slow", message).and_closes()
    }

    /// Too many bytes of bodies are held already.
    #[must_use]
    pub fn memory() -> Self {
        let message = "too much is being asked at once: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, LIMIT, "memory", message).and_closes().and_later(1)
    }

    /// No JSON.
    #[must_use]
    pub fn syntax(fault: Syntax) -> Self {
        Self::new(StatusCode::BAD_REQUEST, PARSE, "syntax", format!("not JSON at {fault}"))
    }

    /// A batch without calls.
    #[must_use]
    pub fn batch_empty() -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, "batch_empty", "the batch holds no call")
    }

    /// A batch of too many calls.
    #[must_use]
    pub fn batch_too_long(most: u32) -> Self {
        let message = format!(
            "the batch holds more than {most} calls (spec.rpc.limits.batchCalls): ask in smaller pieces"
        );
        Self::new(StatusCode::BAD_REQUEST, LIMIT, "batch_too_long", message)
    }

    /// JSON that is no call.
    #[must_use]
    pub fn invalid(invalid: &Invalid<'_>) -> Self {
        let message = match invalid.member {
            Some(member) => format!("not a call: give {}; \"{member}\" is too many", invalid.wanted),
            None => format!("not a call: give {}", invalid.wanted),
        };
        Self::new(StatusCode::OK, INVALID, "invalid_request", message)
    }

    /// A method that the caller may not call, whether it exists or not. The code is that of a method that does not exist:
    /// programs that look for a method go on without it.
    #[must_use]
    pub fn not_granted() -> Self {
        let message = "not granted: have the method listed for this caller";
        Self::new(StatusCode::OK, METHOD_NOT_FOUND, "not_granted", message)
    }

    /// More calls than the caller may make.
    #[must_use]
    pub fn rate(seconds: u32) -> Self {
        let message = "this caller's rate is used up: slow down";
        Self::new(StatusCode::TOO_MANY_REQUESTS, LIMIT, "rate", message).and_later(seconds)
    }

    /// More calls at once than the caller's burst can ever hold.
    #[must_use]
    pub fn over_burst(burst: u32) -> Self {
        let message =
            format!("more calls at once than this caller's burst of {burst}: ask in smaller pieces");
        Self::new(StatusCode::BAD_REQUEST, LIMIT, "rate", message)
    }

    /// More connections than the caller may have.
    #[must_use]
    pub fn connections(most: u32) -> Self {
        let message = format!("this caller has {most} connections already: close some, or use them again");
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, LIMIT, "connections", message);
        refusal.and_closes().and_later(1)
    }

    /// The client has enough to do.
    #[must_use]
    pub fn client_busy() -> Self {
        let message = "the client has as much to do as it is given: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, LIMIT, "client_busy", message).and_later(1)
    }

    /// What cannot be recorded is not passed on.
    #[must_use]
    pub fn audit_blocked() -> Self {
        let message = "the call cannot be recorded, so it is not made: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, LIMIT, "audit_blocked", message).and_later(1)
    }

    /// No connection to the client.
    #[must_use]
    pub fn client_unreachable() -> Self {
        let message = "the client does not answer: try again";
        Self::new(StatusCode::BAD_GATEWAY, FAILED, "client_unreachable", message).and_later(1)
    }

    /// The client answered, and not as it should.
    #[must_use]
    pub fn client_failed() -> Self {
        let message = "the client gave no proper answer";
        Self::new(StatusCode::BAD_GATEWAY, FAILED, "client_failed", message)
    }

    /// The client was given all the time there is.
    #[must_use]
    pub fn answer_too_slow(seconds: u32) -> Self {
        let message =
            format!("the client has not answered within {seconds} s (spec.rpc.limits.answerSeconds)");
        Self::new(StatusCode::GATEWAY_TIMEOUT, LIMIT, "answer_too_slow", message)
    }

    /// The client answers more than may be passed on.
    #[must_use]
    pub fn answer_too_large(most: u32) -> Self {
        let message = format!(
            "the answer has more than {most} bytes (spec.rpc.limits.answerBytes): ask for less at once"
        );
        Self::new(StatusCode::BAD_GATEWAY, LIMIT, "answer_too_large", message)
    }

    /// A WebSocket is told enough.
    #[must_use]
    pub fn subscriptions(most: u32) -> Self {
        let message = format!(
            "this WebSocket has {most} subscriptions (spec.rpc.limits.subscriptions): end some, or open another"
        );
        Self::new(StatusCode::OK, LIMIT, "subscriptions", message)
    }

    /// A caller has filters enough.
    #[must_use]
    pub fn filters(most: u32) -> Self {
        let message = format!(
            "this caller has {most} filters (spec.rpc.limits.filters): uninstall some, or wait until they end"
        );
        Self::new(StatusCode::OK, LIMIT, "filters", message)
    }

    /// What the caller may do has changed since the call was read.
    #[must_use]
    pub fn revoked() -> Self {
        let message = "what this caller may do has changed: call again";
        Self::new(StatusCode::FORBIDDEN, UNAUTHORIZED, "revoked", message).and_closes()
    }

    /// As a part of a batch's answer, or before the line's end as an answer of its own.
    #[must_use]
    pub fn text(&self, id: Option<&str>) -> Vec<u8> {
        let message = serde_json::Value::from(self.message.as_ref());
        let (id, code) = (id.map_or(Cow::Borrowed("null"), given_back), self.code);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_over_a_limit_of_the_spec_is_told_its_name() {
        for (refusal, name) in [
            (Refusal::host(), "spec.rpc.hostnames"),
            (Refusal::batch_too_long(3), "spec.rpc.limits.batchCalls"),
            (Refusal::body_too_large(3), "spec.rpc.limits.bodyBytes"),
            (Refusal::answer_too_large(3), "spec.rpc.limits.answerBytes"),
            (Refusal::answer_too_slow(3), "spec.rpc.limits.answerSeconds"),
            (Refusal::subscriptions(3), "spec.rpc.limits.subscriptions"),
            (Refusal::filters(3), "spec.rpc.limits.filters"),
        ] {
            assert!(refusal.message.contains(name), "{}", refusal.message);
        }
    }

    #[test]
    fn an_error_object_is_one_of_the_standard_with_the_callers_id() {
        let text = Refusal::not_granted().text(Some("\"a\\\"b\""));
        let object: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(object["id"], "a\"b");
        assert_eq!((&object["jsonrpc"], &object["error"]["code"]), (&"2.0".into(), &(-32601).into()));
        let text = Refusal::syntax(Syntax { at: 3, wanted: "a \"quoted\" word" }).text(None);
        let object: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(object["id"].is_null());
        assert_eq!(object["error"]["message"], "not JSON at byte 3: a \"quoted\" word");
    }

    #[test]
    fn every_reason_is_of_the_list() {
        let all = [
            Refusal::path(),
            Refusal::verb(),
            Refusal::host(),
            Refusal::origin(),
            Refusal::identity(&Denied::Nothing),
            Refusal::content_type(),
            Refusal::encoding(),
            Refusal::body_too_large(1),
            Refusal::body_too_slow(),
            Refusal::memory(),
            Refusal::syntax(Syntax { at: 0, wanted: "" }),
            Refusal::batch_empty(),
            Refusal::batch_too_long(1),
            Refusal::invalid(&Invalid { id: None, wanted: "", member: None, bytes: 0 }),
            Refusal::not_granted(),
            Refusal::rate(1),
            Refusal::over_burst(1),
            Refusal::connections(1),
            Refusal::client_busy(),
            Refusal::audit_blocked(),
            Refusal::client_unreachable(),
            Refusal::client_failed(),
            Refusal::answer_too_slow(1),
            Refusal::answer_too_large(1),
            Refusal::subscriptions(1),
            Refusal::filters(1),
            Refusal::revoked(),
        ];
        assert!(all.iter().all(|refusal| REASONS.contains(&refusal.reason)));
        assert!(Denied::REASONS.iter().all(|reason| REASONS.contains(reason)));
        assert!(REASONS.is_sorted());
    }
}
