//! Rejections: why the guard does not forward a call, and what it answers. Pure.
//!
//! A method that is not granted and one that does not exist get the same answer. It tells entitled users what to ask
//! for, and reveals to no caller which methods exist.

use std::borrow::Cow;

use hyper::StatusCode;

use super::identity::Denied;
use super::json::Syntax;
use super::message::{Invalid, given_back};

/// Why the guard rejects a call or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// HTTP status of the whole request. Without meaning within a batch.
    pub status: StatusCode,
    /// Code of the error object: JSON-RPC 2.0 section 5.1, or -32000 to -32099, as in EIP-1474 where it defines the
    /// case.
    pub code: i32,
    /// One of [`REASONS`], for audit records and metrics.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: Cow<'static, str>,
    /// Seconds after which a retry may succeed.
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

/// All reasons.
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

impl Rejection {
    fn new(
        status: StatusCode,
        code: i32,
        reason: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, reason, message: message.into(), retry_after: None, closes: false }
    }

    /// Also closes the connection.
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

    /// No `Host`, more than one, or one that is not served.
    #[must_use]
    pub fn host() -> Self {
        let message = "no such host here: call the node by the name of its Service, or have the name listed in spec.rpc.hostnames";
        Self::new(StatusCode::MISDIRECTED_REQUEST, INVALID, "host", message).and_closes()
    }

    /// An origin that the caller's entry does not list.
    #[must_use]
    pub fn origin() -> Self {
        let message =
            "this origin may not call in this caller's name: have it listed in the caller's origins";
        Self::new(StatusCode::FORBIDDEN, UNAUTHORIZED, "origin", message)
    }

    /// The caller could not be authenticated.
    #[must_use]
    pub fn identity(denied: &Denied) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, UNAUTHORIZED, denied.reason(), denied.to_string()).and_closes()
    }

    /// Another content type than JSON.
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

    /// A body over the size limit.
    #[must_use]
    pub fn body_too_large(most: u32) -> Self {
        let message =
            format!("the body has more than {most} bytes (spec.rpc.limits.bodyBytes): ask in smaller pieces");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, LIMIT, "body_too_large", message).and_closes()
    }

    /// A body that did not arrive in time.
    #[must_use]
    pub fn body_too_slow() -> Self {
        let message = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, LIMIT, "body_too_slow", message).and_closes()
    }

    /// The budget of bytes in flight is exhausted.
    #[must_use]
    pub fn memory() -> Self {
        let message = "too much is being asked at once: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, LIMIT, "memory", message).and_closes().and_later(1)
    }

    /// A body that is not JSON.
    #[must_use]
    pub fn syntax(fault: Syntax) -> Self {
        Self::new(StatusCode::BAD_REQUEST, PARSE, "syntax", format!("not JSON at {fault}"))
    }

    /// A batch without calls.
    #[must_use]
    pub fn batch_empty() -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, "batch_empty", "the batch holds no call")
    }

    /// A batch with too many calls.
    #[must_use]
    pub fn batch_too_long(most: u32) -> Self {
        let message = format!(
            "the batch holds more than {most} calls (spec.rpc.limits.batchCalls): ask in smaller pieces"
        );
        Self::new(StatusCode::BAD_REQUEST, LIMIT, "batch_too_long", message)
    }

    /// JSON that is not a call.
    #[must_use]
    pub fn invalid(invalid: &Invalid<'_>) -> Self {
        let message = match invalid.member {
            Some(member) => format!("not a call: give {}; \"{member}\" is too many", invalid.wanted),
            None => format!("not a call: give {}", invalid.wanted),
        };
        Self::new(StatusCode::OK, INVALID, "invalid_request", message)
    }

    /// A method that is not granted, whether it exists or not. The code means that the method does not exist, so that
    /// programs that probe for a method continue without it.
    #[must_use]
    pub fn not_granted() -> Self {
        let message = "not granted: have the method listed for this caller";
        Self::new(StatusCode::OK, METHOD_NOT_FOUND, "not_granted", message)
    }

    /// The caller's rate is used up.
    #[must_use]
    pub fn rate(seconds: u32) -> Self {
        let message = "this caller's rate is used up: slow down";
        Self::new(StatusCode::TOO_MANY_REQUESTS, LIMIT, "rate", message).and_later(seconds)
    }

    /// More calls at once than the caller's burst allows.
    #[must_use]
    pub fn over_burst(burst: u32) -> Self {
        let message =
            format!("more calls at once than this caller's burst of {burst}: ask in smaller pieces");
        Self::new(StatusCode::BAD_REQUEST, LIMIT, "rate", message)
    }

    /// The caller has as many connections as it may have.
    #[must_use]
    pub fn connections(most: u32) -> Self {
        let message = format!("this caller has {most} connections already: close some, or use them again");
        let rejection = Self::new(StatusCode::TOO_MANY_REQUESTS, LIMIT, "connections", message);
        rejection.and_closes().and_later(1)
    }

    /// No concurrency slot, or no place in the queue.
    #[must_use]
    pub fn client_busy() -> Self {
        let message = "the client has as much to do as it is given: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, LIMIT, "client_busy", message).and_later(1)
    }

    /// No space for the audit record.
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

    /// The client's answer is not valid.
    #[must_use]
    pub fn client_failed() -> Self {
        let message = "the client gave no proper answer";
        Self::new(StatusCode::BAD_GATEWAY, FAILED, "client_failed", message)
    }

    /// The client did not answer in time.
    #[must_use]
    pub fn answer_too_slow(seconds: u32) -> Self {
        let message =
            format!("the client has not answered within {seconds} s (spec.rpc.limits.answerSeconds)");
        Self::new(StatusCode::GATEWAY_TIMEOUT, LIMIT, "answer_too_slow", message)
    }

    /// The client's answer is over the size limit.
    #[must_use]
    pub fn answer_too_large(most: u32) -> Self {
        let message = format!(
            "the answer has more than {most} bytes (spec.rpc.limits.answerBytes): ask for less at once"
        );
        Self::new(StatusCode::BAD_GATEWAY, LIMIT, "answer_too_large", message)
    }

    /// The WebSocket has as many subscriptions as it may have.
    #[must_use]
    pub fn subscriptions(most: u32) -> Self {
        let message = format!(
            "this WebSocket has {most} subscriptions (spec.rpc.limits.subscriptions): end some, or open another"
        );
        Self::new(StatusCode::OK, LIMIT, "subscriptions", message)
    }

    /// The caller has as many filters as it may have.
    #[must_use]
    pub fn filters(most: u32) -> Self {
        let message = format!(
            "this caller has {most} filters (spec.rpc.limits.filters): uninstall some, or wait until they end"
        );
        Self::new(StatusCode::OK, LIMIT, "filters", message)
    }

    /// The caller's rights changed after the call was read.
    #[must_use]
    pub fn revoked() -> Self {
        let message = "what this caller may do has changed: call again";
        Self::new(StatusCode::FORBIDDEN, UNAUTHORIZED, "revoked", message).and_closes()
    }

    /// Renders the error object, as an answer of its own (without the line end) or as an element of a batch's answer.
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
        for (rejection, name) in [
            (Rejection::host(), "spec.rpc.hostnames"),
            (Rejection::batch_too_long(3), "spec.rpc.limits.batchCalls"),
            (Rejection::body_too_large(3), "spec.rpc.limits.bodyBytes"),
            (Rejection::answer_too_large(3), "spec.rpc.limits.answerBytes"),
            (Rejection::answer_too_slow(3), "spec.rpc.limits.answerSeconds"),
            (Rejection::subscriptions(3), "spec.rpc.limits.subscriptions"),
            (Rejection::filters(3), "spec.rpc.limits.filters"),
        ] {
            assert!(rejection.message.contains(name), "{}", rejection.message);
        }
    }

    #[test]
    fn an_error_object_is_one_of_the_standard_with_the_callers_id() {
        let text = Rejection::not_granted().text(Some("\"a\\\"b\""));
        let object: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(object["id"], "a\"b");
        assert_eq!((&object["jsonrpc"], &object["error"]["code"]), (&"2.0".into(), &(-32601).into()));
        let text = Rejection::syntax(Syntax { at: 3, wanted: "a \"quoted\" word" }).text(None);
        let object: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(object["id"].is_null());
        assert_eq!(object["error"]["message"], "not JSON at byte 3: a \"quoted\" word");
    }

    #[test]
    fn every_reason_is_of_the_list() {
        let all = [
            Rejection::path(),
            Rejection::verb(),
            Rejection::host(),
            Rejection::origin(),
            Rejection::identity(&Denied::Nothing),
            Rejection::content_type(),
            Rejection::encoding(),
            Rejection::body_too_large(1),
            Rejection::body_too_slow(),
            Rejection::memory(),
            Rejection::syntax(Syntax { at: 0, wanted: "" }),
            Rejection::batch_empty(),
            Rejection::batch_too_long(1),
            Rejection::invalid(&Invalid { id: None, wanted: "", member: None, bytes: 0 }),
            Rejection::not_granted(),
            Rejection::rate(1),
            Rejection::over_burst(1),
            Rejection::connections(1),
            Rejection::client_busy(),
            Rejection::audit_blocked(),
            Rejection::client_unreachable(),
            Rejection::client_failed(),
            Rejection::answer_too_slow(1),
            Rejection::answer_too_large(1),
            Rejection::subscriptions(1),
            Rejection::filters(1),
            Rejection::revoked(),
        ];
        assert!(all.iter().all(|rejection| REASONS.contains(&rejection.reason)));
        assert!(Denied::REASONS.iter().all(|reason| REASONS.contains(reason)));
        assert!(REASONS.is_sorted());
    }
}
