//! A decoder as the client has it: names of members in any case, folded as Unicode folds them, and of two
//! members the last. What it makes of a text that was written anew has to be what was authorised.

use serde_json::value::RawValue;

use crate::members::Members;

/// A call as such a decoder understands it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Understood<'a> {
    /// `jsonrpc`, without its quotes and escapes.
    pub version: Option<String>,
    /// The method, without its quotes and escapes.
    pub method: Option<String>,
    /// The id, as the bytes that came.
    pub id: Option<&'a str>,
    /// The parameters, as the bytes that came.
    pub params: Option<&'a str>,
    /// Whether it would be taken for an answer.
    pub is_answer: bool,
}

/// Reads one call.
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

/// Both letters outside ASCII that fold into it are among what `to_lowercase` and `to_uppercase` know.
fn fold(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}
