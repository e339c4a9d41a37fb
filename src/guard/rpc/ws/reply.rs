//! What the client says over a WebSocket: which call it answers, if any. Pure.

use serde_json::Value;

use super::super::json::{Reader, Syntax};

/// What a message of the client is.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// An answer to the call with this id, or to the batch in which it is the first that has one.
    Answer(Value, Outcome),
    /// A subscription has something to tell.
    Told,
}

/// How a call went, as far as it is of interest here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its result is `true`.
    True,
    /// There is another result, or it was a batch.
    Other,
    /// There is an error.
    Failed,
}

/// Reads what a message is.
///
/// # Errors
/// Where it is neither.
pub fn read(message: &str) -> Result<Reply, Syntax> {
    let mut reader = Reader::new(message.as_bytes())?;
    let is_batch = reader.passes(b'[');
    reader.pass(b'{', "an object")?;
    let mut id = None;
    let mut is_told = false;
    let mut outcome = Outcome::Other;
    while !reader.passes(b'}') {
        if reader.passes(b',') {
            continue;
        }
        let key = reader.key()?;
        let value = reader.value()?;
        match key {
            "id" => id = Some(value),
            "method" => is_told = true,
            "result" if value == "true" && !is_batch => outcome = Outcome::True,
            "error" if !is_batch => outcome = Outcome::Failed,
            _ => {}
        }
    }
    match id {
        Some(id) => Ok(Reply::Answer(value(id), outcome)),
        None if is_told && !is_batch => Ok(Reply::Told),
        None => reader.fault("an id or a method"),
    }
}

/// An id by its value: the client writes strings in its own way.
pub fn value(id: &str) -> Value {
    serde_json::from_str(id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_the_value_of_its_id() {
        use Outcome::{Failed, Other, True};
        for (message, id, outcome) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"id":8}}"#, "7", Other),
            (r#"{"jsonrpc":"2.0","id":7,"result":true}"#, "7", True),
            (r#"{"jsonrpc":"2.0","id":"a\u003cb","result":null}"#, r#""a<b""#, Other),
            (
                r#"[{"jsonrpc":"2.0","id":"x","result":true},{"jsonrpc":"2.0","id":"y","result":1}]"#,
                r#""x""#,
                Other,
            ),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#, "null", Failed),
        ] {
            assert_eq!(read(message), Ok(Reply::Answer(value(id), outcome)), "{message}");
        }
        let told = r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"id":1}}}"#;
        assert_eq!(read(told), Ok(Reply::Told));
        for message in ["", "null", "{}", "[]", r#"[{"method":"x"}]"#, r#"{"id":1"#] {
            assert!(read(message).is_err(), "{message}");
        }
    }
}
