//! Filters as many are: they read the body with a library or search its text, compare the method's name and pass
//! the body on. They are here to show that what is generated has teeth.

use quorum_operator::policy::grants::Grants;
use serde::Deserialize as _;
use serde_json::Value;

/// Whether one of them would pass a body on.
pub(crate) fn passes(body: &[u8], grants: &Grants) -> bool {
    parsed(body, grants) || searched(body, grants)
}

/// Of two members with one name the library takes the last.
fn parsed(body: &[u8], grants: &Grants) -> bool {
    let mut values = serde_json::Deserializer::from_slice(body);
    let is_granted = |call: &Value| call["method"].as_str().is_none_or(|method| grants.allow(method));
    match Value::deserialize(&mut values) {
        Ok(Value::Array(calls)) => calls.iter().all(is_granted),
        Ok(call) => is_granted(&call),
        Err(_) => false,
    }
}

/// A search finds the first, and in a batch one for each call.
fn searched(body: &[u8], grants: &Grants) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut calls = text.split('{').filter_map(|call| call.split_once("\"method\":\"")).peekable();
    let is_granted =
        |(_, rest): (&str, &str)| rest.split('"').next().is_some_and(|method| grants.allow(method));
    calls.peek().is_some() && calls.all(is_granted)
}

/// Whether a request would be: verbs but POST are for browsers and health checks.
pub(crate) fn passes_request(request: &[u8], grants: &Grants) -> bool {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    !request.starts_with(b"POST ") || passes(&request[end..], grants)
}
