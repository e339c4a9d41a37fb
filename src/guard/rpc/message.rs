//! JSON-RPC 2.0 as it is asked: a body to calls, strictly, and calls to the body that is sent on. Pure.
//!
//! The client folds the case of names, takes the last of two members and goes on after errors. So nothing that
//! was not understood is passed on: a body is written anew from the calls that were read.

use super::json::{Reader, Syntax};
use crate::policy::grants::is_method;

/// Bytes that a caller's id may have, with its quotes.
const ID: usize = 256;

/// A call as it was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// A string, a number or null, as the bytes that came; a notification has none.
    pub id: Option<&'a str>,
    /// Letters, digits, `_` and `@`.
    pub method: &'a str,
    /// An array or an object, as the bytes that came.
    pub params: Option<&'a str>,
}

/// JSON that is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid<'a> {
    /// The id, where it could be read.
    pub id: Option<&'a str>,
    /// What would have been right.
    pub wanted: &'static str,
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
    let mut wanted = None;
    if !reader.passes(b'{') {
        reader.value()?;
        return Ok(Err(Invalid { id: None, wanted: "an object" }));
    }
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
                wanted =
                    wanted.or(Some("no other members than jsonrpc, id, method and params, in lower case"));
                continue;
            }
        };
        if member.replace(value).is_some() {
            wanted = wanted.or(Some("each member once"));
        }
    }
    Ok(members.understood(wanted))
}

impl<'a> Members<'a> {
    /// `wanted` is what was wrong with them already.
    fn understood(self, wanted: Option<&'static str>) -> Asked<'a> {
        let id = self.id.filter(|id| is_id(id));
        let fault = |wanted| Err(Invalid { id, wanted });
        if let Some(wanted) = wanted {
            return fault(wanted);
        }
        if self.version != Some("\"2.0\"") {
            return fault("\"jsonrpc\": \"2.0\"");
        }
        if self.id != id {
            return fault("an id that is a string of at most 254 bytes, a number, or null");
        }
        if self.params.is_some_and(|params| !params.starts_with(['[', '{'])) {
            return fault("params that are an array or an object");
        }
        match self.method.and_then(name) {
            Some(method) => Ok(Call { id, method, params: self.params }),
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

/// Writes a call, from nothing but what was understood.
pub fn write(call: &Call<'_>, to: &mut Vec<u8>) {
    let mut put = |text: &str| to.extend_from_slice(text.as_bytes());
    put("{\"jsonrpc\":\"2.0\",\"method\":\"");
    put(call.method);
    put("\"");
    for (name, value) in [("id", call.id), ("params", call.params)] {
        if let Some(value) = value {
            put(",\"");
            put(name);
            put("\":");
            put(value);
        }
    }
    put("}");
}

/// Writes several calls as one batch.
pub fn write_batch<'a>(calls: impl IntoIterator<Item = &'a Call<'a>>, to: &mut Vec<u8>) {
    to.push(b'[');
    for (index, call) in calls.into_iter().enumerate() {
        if index > 0 {
            to.push(b',');
        }
        write(call, to);
    }
    to.push(b']');
}

#[cfg(test)]
mod tests;
