//! JSON-RPC 2.0 as it is asked: a body to calls, strictly, and calls to the body that is sent on. Pure.
//!
//! The client folds the case of names, takes the last of two members and goes on after errors. So nothing that
//! was not understood is passed on: a body is written anew from the calls that were read.

use std::borrow::Cow;

use super::json::{Reader, Syntax};
use crate::policy::grants::is_method;

/// Bytes that a caller's id may have, with its quotes.
const ID: usize = 256;

/// Bytes that the name of a member may have to be told.
const MEMBER: usize = 64;
const OTHER: &str = "no other members than jsonrpc, id, method and params, in lower case";

/// A call as it was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// A string, a number or null, as the bytes that came; a notification has none.
    pub id: Option<&'a str>,
    /// Letters, digits, `_` and `@`.
    pub method: &'a str,
    /// An array or an object, as the bytes that came.
    pub params: Option<&'a str>,
    /// Of its own text, from the first brace to the last.
    pub bytes: usize,
}

/// JSON that is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid<'a> {
    /// The id, where it could be read.
    pub id: Option<&'a str>,
    /// What would have been right.
    pub wanted: &'static str,
    /// The member that is too many, as it stands between its quotes.
    pub member: Option<&'a str>,
    /// Of its own text, without the space around it.
    pub bytes: usize,
}

/// A call, or why it is none.
pub type Asked<'a> = Result<Call<'a>, Invalid<'a>>;

/// What a body asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// One call.
    Single(Asked<'a>),
    /// Several, in their order; one that is none keeps no other from being one.
    Batch(Vec<Asked<'a>>),
}

/// A body of which nothing is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no JSON.
    Syntax(Syntax),
    /// A batch without calls.
    Empty,
    /// A batch of more calls than may be asked at once.
    TooMany,
}

impl From<Syntax> for Refused {
    fn from(fault: Syntax) -> Self {
        Self::Syntax(fault)
    }
}

/// Reads a body, with at most so many calls in a batch.
///
/// # Errors
/// Where nothing of it may be asked.
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

/// What of an object is a member of a call.
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
    /// `wrong` is what was wrong with a member already.
    fn understood(self, wrong: Option<(&'static str, &'a str)>, bytes: usize) -> Asked<'a> {
        let id = self.id.filter(|id| is_id(id));
        if let Some((wanted, member)) = wrong {
            let member = Some(member).filter(|name| name.len() <= MEMBER);
            return Err(Invalid { id, wanted, member, bytes });
        }
        let fault = |wanted| Err(Invalid { id, wanted, member: None, bytes });
        // the client takes it as none
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

/// The name in a quoted string. One that is written with escapes is none.
fn name(quoted: &str) -> Option<&str> {
    quoted.strip_prefix('"')?.strip_suffix('"').filter(|name| is_method(name))
}

/// An id as the client gives it back: letters that a page could take for markup are escaped, everything else stays.
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

/// What the client's encoder escapes besides what JSON wants escaped.
const MARKUP: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];

/// What stands before the id of an answer.
pub const BEFORE_ID: &[u8] = br#"{"jsonrpc":"2.0","id":"#;

/// How the client's answer to a call begins, before the rest of its members.
pub const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":1"#;

/// Writes a call as the client is asked: from nothing but what was understood, with an id of our own.
pub fn write(call: &Call<'_>, to: &mut Vec<u8>) {
    begin(call.method, call.params.is_some(), to);
    to.extend_from_slice(call.params.unwrap_or_default().as_bytes());
    to.extend_from_slice(END);
}

/// Behind a call's params.
pub const END: &[u8] = b"}";

/// Writes a call up to its params.
pub fn begin(method: &str, has_params: bool, to: &mut Vec<u8>) {
    to.extend_from_slice(br#"{"jsonrpc":"2.0","id":1,"method":""#);
    to.extend_from_slice(method.as_bytes());
    to.extend_from_slice(if has_params { br#"","params":"# } else { b"\"" });
}

#[cfg(test)]
mod tests;
