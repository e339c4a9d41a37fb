//! Lenient JSON-RPC decoder like the client's: it matches member names in any case, with Unicode folding, and takes the
//! last of duplicate members. It must understand a rewritten call as the guard authorized it.

use serde_json::value::RawValue;

use crate::members::Members;

/// A call as the lenient decoder understands it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Understood<'a> {
    /// Decoded `jsonrpc` string.
    pub version: Option<String>,
    /// Decoded `method` string.
    pub method: Option<String>,
    /// Raw JSON of the id.
    pub id: Option<&'a str>,
    /// Raw JSON of the parameters.
    pub params: Option<&'a str>,
    /// Whether it has a `result` or `error` member, as an answer has.
    pub is_answer: bool,
}

/// Decodes one call.
pub fn call<'a>(value: &'a RawValue) -> Understood<'a> {
    let Members(members) = serde_json::from_str(value.get()).expect("what was written is an object");
    let mut understood = Understood::default();
    for (name, value) in members {
        let text = || serde_json::from_str(value.get()).expect("what was written there is a string");
        match fold(&name).as_str() {
            "jsonrpc" => understood.version = Some(text()),
            "method" => understood.method = Some(text()),
            "id" => understood.id = Some(value.get()),
            "params" => understood.params = Some(value.get()),
            "error" | "result" => understood.is_answer = true,
            _ => {}
        }
    }
    understood
}

/// Folds case. Both letters outside ASCII that fold to ASCII letters are covered.
fn fold(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}
