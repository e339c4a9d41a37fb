//! JSON-RPC as the client answers it: order of the members, errors, and the newline at the end.

use super::scan;

/// Answer to a call.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A result, as JSON.
    Result(String),
    /// An error.
    Error {
        /// The code.
        code: i32,
        /// The message.
        message: String,
        /// The data, as JSON.
        data: Option<String>,
    },
}

impl Answer {
    /// An error without data.
    pub(crate) fn error(code: i32, message: impl Into<String>) -> Self {
        Self::Error { code, message: message.into(), data: None }
    }

    /// The error for an unknown method.
    pub(crate) fn unknown(method: &str) -> Self {
        Self::error(-32601, format!("the method {method} does not exist/is not available"))
    }
}

/// A message of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    id: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    params: Option<&'a [u8]>,
    is_answer: bool,
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: String,
    /// As in the body.
    pub(crate) params: Option<&'a [u8]>,
}

impl Call<'_> {
    /// Returns the first of its params if it is a string.
    pub(crate) fn first(&self) -> Option<String> {
        let params = self.params.filter(|params| params.starts_with(b"["))?;
        scan::string(scan::elements(params).first()?)
    }
}

/// A parsed body.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Empty, or white space only.
    Nothing,
    /// Not JSON.
    Broken {
        /// Whether the text ends too early.
        is_cut: bool,
    },
    Single(Message<'a>),
    Batch(Vec<Message<'a>>),
}

/// Parses a body as the client does: only the first value, names in any case, and the last of several equal members.
pub(crate) fn read(body: &[u8]) -> Body<'_> {
    match scan::first(body) {
        Err(_) if body.trim_ascii().is_empty() => Body::Nothing,
        Err(is_cut) => Body::Broken { is_cut },
        Ok(list) if list.starts_with(b"[") => {
            Body::Batch(scan::elements(list).into_iter().map(message).collect())
        }
        Ok(value) => Body::Single(message(value)),
    }
}

fn message(value: &[u8]) -> Message<'_> {
    let mut message = Message { id: None, method: None, params: None, is_answer: false };
    if !value.starts_with(b"{") {
        return message;
    }
    for (name, value) in scan::members(value) {
        match name.to_ascii_lowercase().as_str() {
            "id" => message.id = Some(value),
            "method" => message.method = Some(value),
            "params" => message.params = Some(value),
            "result" | "error" => message.is_answer = true,
            _ => {}
        }
    }
    message
}

impl<'a> Message<'a> {
    fn has_id(&self) -> bool {
        self.id.is_some_and(|id| !id.starts_with(b"{") && !id.starts_with(b"["))
    }

    /// Returns the answer; `None` if there is none.
    fn answer(&self, run: &mut dyn FnMut(&Call<'a>) -> Answer) -> Option<Vec<u8>> {
        let method = self.method.and_then(scan::string).filter(|method| !method.is_empty());
        let Some(method) = method else {
            let is_answer = self.is_answer && self.has_id() && self.params.is_none();
            let id = self.id.filter(|_| self.has_id()).unwrap_or(b"null");
            return (!is_answer).then(|| written(id, &Answer::error(-32600, "invalid request")));
        };
        let Some(id) = self.id else {
            run(&Call { method, params: self.params });
            return None;
        };
        if !self.has_id() {
            return Some(written(b"null", &Answer::error(-32600, "invalid request")));
        }
        Some(written(id, &run(&Call { method, params: self.params })))
    }
}

/// Returns the whole answer to a body with its newline. Over WebSocket the client does not answer a body that is not
/// JSON.
pub(crate) fn reply<'a>(body: &Body<'a>, run: &mut dyn FnMut(&Call<'a>) -> Answer) -> Option<Vec<u8>> {
    let mut text = match body {
        Body::Nothing => return None,
        Body::Broken { .. } => written(b"null", &Answer::error(-32700, "parse error")),
        Body::Single(message) => message.answer(run)?,
        Body::Batch(messages) if messages.is_empty() => {
            written(b"null", &Answer::error(-32600, "empty batch"))
        }
        Body::Batch(messages) => {
            let answers: Vec<_> = messages.iter().filter_map(|message| message.answer(run)).collect();
            if answers.is_empty() {
                return None;
            }
            [b"[", &answers.join(&b","[..])[..], b"]"].concat()
        }
    };
    text.push(b'\n');
    Some(text)
}

/// A notification of a subscription.
pub(crate) fn told(subscription: &str, result: &str) -> Vec<u8> {
    format!(
        r#"{{"jsonrpc":"2.0","method":"eth_subscription","params":{{"subscription":"{subscription}","result":{result}}}}}"#
    )
    .into_bytes()
    .into_iter()
    .chain(*b"\n")
    .collect()
}

fn written(id: &[u8], answer: &Answer) -> Vec<u8> {
    let rest = match answer {
        Answer::Result(result) => format!("\"result\":{result}"),
        Answer::Error { code, message, data } => {
            let message = serde_json::Value::from(message.as_str()).to_string();
            let data = data.as_ref().map(|data| format!(",\"data\":{data}")).unwrap_or_default();
            format!("\"error\":{{\"code\":{code},\"message\":{message}{data}}}")
        }
    };
    let id = scan::compact(id);
    let rest = scan::compact(rest.as_bytes());
    [b"{\"jsonrpc\":\"2.0\",\"id\":", &id[..], b",", &rest[..], b"}"].concat()
}
