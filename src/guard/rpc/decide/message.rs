//! JSON-RPC 2.0 messages: parses a body strictly into calls, and writes the body to send to the client. Pure.
//!
//! The client ignores the case of names, takes the last of two equal members and continues after errors. So the guard
//! never forwards a body as it came: it writes a new one from the calls that it parsed.

use std::borrow::Cow;

use super::json::{Reader, Syntax};
use crate::protocol::policy::grants::is_method;

/// Maximum length of a caller's id with its quotes.
const ID: usize = 256;

/// Maximum length of a member's name in an error message.
const MEMBER: usize = 64;
const OTHER: &str = "no other members than jsonrpc, id, method and params, in lower case";

/// A parsed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// A string, number or null as in the body; `None` for a notification.
    pub id: Option<&'a str>,
    /// The method: letters, digits, `_` and `@`.
    pub method: &'a str,
    /// An array or object as in the body.
    pub params: Option<&'a str>,
    /// Length of the call's own text, from the first brace to the last.
    pub bytes: usize,
}

/// JSON that is not a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid<'a> {
    /// The id, if it could be read.
    pub id: Option<&'a str>,
    /// What was expected.
    pub wanted: &'static str,
    /// The superfluous member, as between its quotes.
    pub member: Option<&'a str>,
    /// Length of the text without the space around it.
    pub bytes: usize,
}

/// A call, or why it is not one.
pub type Asked<'a> = Result<Call<'a>, Invalid<'a>>;

/// The calls of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// One call.
    Single(Asked<'a>),
    /// A batch in its order. An invalid call does not affect the others.
    Batch(Vec<Asked<'a>>),
}

/// Why a body is rejected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not JSON.
    Syntax(Syntax),
    /// A batch without calls.
    Empty,
    /// A batch with too many calls.
    TooMany,
}

impl From<Syntax> for Refused {
    fn from(fault: Syntax) -> Self {
        Self::Syntax(fault)
    }
}

/// Parses a body with at most `most` calls in a batch.
///
/// # Errors
/// If the body is rejected as a whole.
pub fn read(body: &[u8], most: usize) -> Result<Body<'_>, Refused> {
    let mut reader = Reader::new(body)?;
    let asked = if reader.passes(b'[') {
        Body::Batch(batch(&mut reader, most)?)
    } else {
        Body::Single(call(&mut reader)?)
    };
    reader.end()?;
    Ok(asked)
}

fn batch<'a>(reader: &mut Reader<'a>, most: usize) -> Result<Vec<Asked<'a>>, Refused> {
    let mut calls = Vec::new();
    if reader.passes(b']') {
        return Err(Refused::Empty);
    }
    loop {
        if calls.len() == most {
            return Err(Refused::TooMany);
        }
        calls.push(call(reader)?);
        if reader.passes(b']') {
            return Ok(calls);
        }
        reader.pass(b',', "a comma or the end of the batch")?;
    }
}

/// The members of a call.
#[derive(Default)]
struct Members<'a> {
    version: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
}

fn call<'a>(reader: &mut Reader<'a>) -> Result<Asked<'a>, Syntax> {
    let mut members = Members::default();
    let mut wrong = None;
    if !reader.passes(b'{') {
        let bytes = reader.value()?.len();
        return Ok(Err(Invalid { id: None, wanted: "an object", member: None, bytes }));
    }
    let begin = reader.at() - 1;
    let mut is_first = true;
    while !reader.passes(b'}') {
        if !is_first {
            reader.pass(b',', "a comma or the end of the object")?;
        }
        is_first = false;
        let key = reader.key()?;
        let value = reader.value()?;
        let member = match key {
            "jsonrpc" => &mut members.version,
            "id" => &mut members.id,
            "method" => &mut members.method,
            "params" => &mut members.params,
            _ => {
                wrong = wrong.or(Some((OTHER, key)));
                continue;
            }
        };
        if member.replace(value).is_some() {
            wrong = wrong.or(Some(("each member once", key)));
        }
    }
    Ok(members.understood(wrong, reader.at() - begin))
}

impl<'a> Members<'a> {
    /// Checks the members. `wrong` is an error found earlier and the member's name.
    fn understood(self, wrong: Option<(&'static str, &'a str)>, bytes: usize) -> Asked<'a> {
        let id = self.id.filter(|id| is_id(id));
        if let Some((wanted, member)) = wrong {
            let member = Some(member).filter(|name| name.len() <= MEMBER);
            return Err(Invalid { id, wanted, member, bytes });
        }
        let fault = |wanted| Err(Invalid { id, wanted, member: None, bytes });
        // the client treats null as absent
        let params = self.params.filter(|params| *params != "null");
        if self.version != Some("\"2.0\"") {
            return fault("\"jsonrpc\": \"2.0\"");
        }
        if self.id != id {
            return fault("an id that is a string of at most 254 bytes, a number, or null");
        }
        if params.is_some_and(|params| !params.starts_with(['[', '{'])) {
            return fault("params that are an array or an object");
        }
        match self.method.and_then(name) {
            Some(method) => Ok(Call { id, method, params, bytes }),
            None => fault("a method of at most 128 letters, digits, _ and @"),
        }
    }
}

fn is_id(value: &str) -> bool {
    value.len() <= ID
        && (value == "null"
            || value.starts_with(['"', '-'])
            || value.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns the name in a quoted string. A name with escapes is not accepted.
fn name(quoted: &str) -> Option<&str> {
    quoted.strip_prefix('"')?.strip_suffix('"').filter(|name| is_method(name))
}

/// Returns an id as the client would return it: characters that HTML could take for markup are escaped.
#[must_use]
pub fn given_back(id: &str) -> Cow<'_, str> {
    if !id.contains(MARKUP) {
        return Cow::Borrowed(id);
    }
    let mut escaped = String::with_capacity(id.len() + 8);
    for letter in id.chars() {
        match letter {
            letter if MARKUP.contains(&letter) => escaped.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

/// Characters that the client's encoder escapes although JSON does not require it.
const MARKUP: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];

/// Text before the id of an answer.
pub const BEFORE_ID: &[u8] = br#"{"jsonrpc":"2.0","id":"#;

/// Start of the client's answer to a call, up to the id.
pub const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":1"#;

/// Writes the request to the client from the parsed parts only, with the guard's own id.
pub fn write(call: &Call<'_>, to: &mut Vec<u8>) {
    begin(call.method, call.params.is_some(), to);
    to.extend_from_slice(call.params.unwrap_or_default().as_bytes());
    to.extend_from_slice(END);
}

/// Text after the params of a call.
pub const END: &[u8] = b"}";

/// Writes a call up to its params.
pub fn begin(method: &str, has_params: bool, to: &mut Vec<u8>) {
    to.extend_from_slice(br#"{"jsonrpc":"2.0","id":1,"method":""#);
    to.extend_from_slice(method.as_bytes());
    to.extend_from_slice(if has_params { br#"","params":"# } else { b"\"" });
}

#[cfg(test)]
mod tests;
