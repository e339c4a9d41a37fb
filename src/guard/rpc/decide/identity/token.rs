//! Parser of tokens: JWS in compact form, RFC 7515 section 7.1. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::denied::Denied;
use super::json;

/// Maximum length of a token in bytes.
pub const MOST: usize = 8 * 1024;

/// A token that can be read in one way only. Nothing of it is verified yet.
pub(super) struct Token<'a> {
    /// Header and claims, as they were signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: String,
    /// The `kid` of the header.
    pub(super) key: String,
    pub(super) claims: Map<String, Value>,
}

impl<'a> Token<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, Denied> {
        if token.len() > MOST {
            return Err(Denied::Malformed("at most 8192 bytes"));
        }
        let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, claims) = signed.split_once('.')?;
            (!claims.contains('.')).then_some((signed, header, claims, signature))
        });
        let (signed, header, claims, signature) =
            parts.ok_or(Denied::Malformed("three parts with a dot between them"))?;
        // strict: no padding, no space, no trailing bits
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part);
        let (Ok(header), Ok(claims), Ok(signature)) = (decode(header), decode(claims), decode(signature))
        else {
            return Err(Denied::Malformed("base64url without padding in each part"));
        };
        let mut header = json::object(&header)
            .ok_or(Denied::Malformed("a header that is a JSON object with each name once"))?;
        let claims = json::object(&claims)
            .ok_or(Denied::Malformed("claims that are a JSON object with each name once"))?;
        if header.contains_key("crit") {
            return Err(Denied::Malformed("a header without crit: no extension is understood"));
        }
        let is_type = |of: &Value| {
            of.as_str().is_some_and(|of| ["jwt", "at+jwt"].iter().any(|known| of.eq_ignore_ascii_case(known)))
        };
        if !header.get("typ").is_none_or(is_type) {
            return Err(Denied::Malformed("a typ that is JWT or at+jwt"));
        }
        let mut text = |name: &str| match header.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        match (text("alg"), text("kid")) {
            (Some(algorithm), Some(key)) => Ok(Self { signed, signature, algorithm, key, claims }),
            // without kid the guard would have to try every key
            _ => Err(Denied::Malformed("alg and kid in its header")),
        }
    }

    /// The issuer that the token claims.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}
