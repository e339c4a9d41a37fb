//! Naive filters, as many exist: they parse the body with a library or search its text, compare the method and forward
//! the body unchanged. They show that the generated payloads can do harm.

use quorum_operator::protocol::policy::grants::Grants;
use serde::Deserialize as _;
use serde_json::Value;

/// Whether one of the filters would forward a body.
pub(crate) fn passes(body: &[u8], grants: &Grants) -> bool {
    parsed(body, grants) || searched(body, grants)
}

/// Filter that parses. The library takes the last of duplicate members.
fn parsed(body: &[u8], grants: &Grants) -> bool {
    let mut values = serde_json::Deserializer::from_slice(body);
    let is_granted = |call: &Value| call["method"].as_str().is_none_or(|method| grants.allow(method));
    match Value::deserialize(&mut values) {
        Ok(Value::Array(calls)) => calls.iter().all(is_granted),
        Ok(call) => is_granted(&call),
        Err(_) => false,
    }
}

/// Filter that searches the text. It finds the first method of each call.
fn searched(body: &[u8], grants: &Grants) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut calls = text.split('{').filter_map(|call| call.split_once("\"method\":\"")).peekable();
    let is_granted =
        |(_, rest): (&str, &str)| rest.split('"').next().is_some_and(|method| grants.allow(method));
    calls.peek().is_some() && calls.all(is_granted)
}

/// Whether one of the filters would forward a request. They let other verbs than POST through, for browsers and health
/// checks.
pub(crate) fn passes_request(request: &[u8], grants: &Grants) -> bool {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    !request.starts_with(b"POST ") || passes(&request[end..], grants)
}
